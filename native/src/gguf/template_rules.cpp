// Chat templates, read as text: T01 to T03. A template is a program that comes with a model; what
// it may do is bounded here before any engine parses it. Source of the syntax: the Jinja
// documentation, jinja.palletsprojects.com/templates.
#include <algorithm>
#include <cctype>
#include <string_view>
#include <vector>

#include "luci/gguf/rules.h"

namespace luci::gguf {

namespace {

constexpr size_t MAX_BYTES = 1 << 20;
constexpr size_t MAX_TOKENS = 4096;   // in one {{ }} or {% %}
constexpr size_t MAX_DEPTH = 64;      // of brackets, and of blocks in blocks
constexpr size_t MAX_BRANCHES = 256;  // elif in one if
constexpr size_t MAX_OPERATORS = 16;  // prefix operators in a row
constexpr double MAX_RANGE = 100'000;
constexpr double MAX_ROUNDS = 1'000'000;  // of loops in loops over constant ranges

enum class Kind { NAME, NUMBER, STRING, SIGN };

struct Token {
    Kind kind;
    std::string_view text;  // of strings without quotes
    size_t at;
};

class Scanner {
public:
    Scanner(const std::string & key, std::string_view text, uint64_t offset, Findings & findings)
        : key_(key), text_(text), offset_(offset), findings_(findings) {}

    // Walks through the template; stops at the first thing that cannot be read.
    void run() {
        size_t at = 0;
        while (is_good_ && (at = text_.find('{', at)) != std::string_view::npos) {
            const std::string_view two = text_.substr(at, 2);
            if (two == "{#") {
                const size_t end = text_.find("#}", at + 2);
                if (end == std::string_view::npos) {
                    broken(at, "a comment that does not end");
                    return;
                }
                at = end + 2;
            } else if (two == "{{" || two == "{%") {
                at = scan_tag(at, two == "{%");
            } else {
                ++at;
            }
        }
        if (is_good_ && !blocks_.empty()) {
            broken(text_.size(),
                   "a block '" + std::string(blocks_.back().name) + "' that does not end");
        }
    }

private:
    struct Block {
        std::string_view name;
        size_t n_branches = 0;
        double rounds = 1;  // of this loop and those around it
    };

    void broken(size_t at, const std::string & what) {
        findings_.error("T02", offset_ + at, key_ + " cannot be used: it has " + what + ".");
        is_good_ = false;
    }
    void hostile(size_t at, const std::string & what) {
        findings_.error("T03", offset_ + at,
                        key_ + " tries what no chat template needs: " + what + ".");
    }

    // Reads one {{ }} or {% %} that starts at `start`; returns the place behind it.
    size_t scan_tag(size_t start, bool is_statement) {
        const std::string_view end = is_statement ? "%}" : "}}";
        tokens_.clear();
        std::vector<char> open;
        size_t at = start + 2;
        if (at < text_.size() && (text_[at] == '-' || text_[at] == '+')) {
            ++at;
        }
        while (at < text_.size()) {
            if (open.empty() && text_.substr(at, 2) == end) {
                check_tag(start, is_statement);
                return at + 2;
            }
            if (open.empty() && (text_[at] == '-' || text_[at] == '+') &&
                text_.substr(at + 1, 2) == end) {
                check_tag(start, is_statement);
                return at + 3;
            }
            at = scan_token(at, open);
            if (!is_good_) {
                return text_.size();
            }
        }
        broken(start, "a tag that does not end");
        return text_.size();
    }

    size_t scan_token(size_t at, std::vector<char> & open) {
        const char c = text_[at];
        const auto is_word = [&](size_t i) {
            return i < text_.size() &&
                   (std::isalnum(static_cast<unsigned char>(text_[i])) || text_[i] == '_' ||
                    static_cast<unsigned char>(text_[i]) >= 0x80);
        };
        if (std::isspace(static_cast<unsigned char>(c))) {
            return at + 1;
        }
        if (tokens_.size() >= MAX_TOKENS) {
            broken(at, "a tag of more than " + std::to_string(MAX_TOKENS) + " words");
            return at;
        }
        if (c == '\'' || c == '"') {
            size_t end = at + 1;
            while (end < text_.size() && text_[end] != c) {
                end += text_[end] == '\\' ? 2 : 1;
            }
            if (end >= text_.size()) {
                broken(at, "a string that does not end");
                return at;
            }
            tokens_.push_back({Kind::STRING, text_.substr(at + 1, end - at - 1), at});
            return end + 1;
        }
        if (is_word(at)) {
            size_t end = at;
            const bool is_digit = std::isdigit(static_cast<unsigned char>(c)) != 0;
            while (is_word(end) || (is_digit && end < text_.size() && text_[end] == '.' &&
                                    end + 1 < text_.size() && is_word(end + 1))) {
                ++end;
            }
            tokens_.push_back(
                {is_digit ? Kind::NUMBER : Kind::NAME, text_.substr(at, end - at), at});
            return end;
        }
        track_bracket(c, at, open);
        const bool is_power = text_.substr(at, 2) == "**";
        tokens_.push_back({Kind::SIGN, text_.substr(at, is_power ? 2 : 1), at});
        return at + (is_power ? 2 : 1);
    }

    void track_bracket(char c, size_t at, std::vector<char> & open) {
        if (c == '(' || c == '[' || c == '{') {
            open.push_back(c);
            if (open.size() > MAX_DEPTH) {
                broken(at, "brackets nested deeper than " + std::to_string(MAX_DEPTH));
            }
        } else if (c == ')' || c == ']' || c == '}') {
            const char wanted = c == ')' ? '(' : c == ']' ? '[' : '{';
            if (open.empty() || open.back() != wanted) {
                broken(at, std::string("a '") + c + "' without its opening bracket");
            } else {
                open.pop_back();
            }
        }
    }

    bool is(size_t i, Kind kind, std::string_view text) const {
        return i < tokens_.size() && tokens_[i].kind == kind && tokens_[i].text == text;
    }

    void check_tag(size_t start, bool is_statement) {
        for (size_t i = 0; i < tokens_.size(); ++i) {
            check_token(i);
        }
        if (is_statement && !tokens_.empty()) {
            check_statement(start);
        }
    }

    void check_token(size_t i) {
        const Token & token = tokens_[i];
        if (token.kind == Kind::STRING && token.text.substr(0, 2) == "__") {
            hostile(token.at, "it names the inner attribute " + shown(token.text));
        }
        if (token.kind == Kind::NAME) {
            const bool is_attribute = i > 0 && is(i - 1, Kind::SIGN, ".");
            if (is_attribute && token.text.front() == '_') {
                hostile(token.at, "it reads the inner attribute " + shown(token.text));
            }
            if (!is_attribute && is(i + 1, Kind::SIGN, "(") &&
                (token.text == "lipsum" || token.text == "cycler" || token.text == "joiner")) {
                hostile(token.at, "it calls " + shown(token.text));
            }
            if (!is_attribute && (token.text == "lipsum" || token.text == "cycler") &&
                is(i + 1, Kind::SIGN, ".")) {
                hostile(token.at, "it looks into " + shown(token.text));
            }
            if (token.text == "attr" && i > 0 && is(i - 1, Kind::SIGN, "|")) {
                hostile(token.at, "it reads attributes by their name as text");
            }
            if (token.text == "range" && is(i + 1, Kind::SIGN, "(")) {
                check_range(i);
            }
        }
        check_repetition(i);
        check_prefixes(i);
    }

    static double value_of(std::string_view digits) {
        double value = 0;
        for (const char c : digits) {
            if (std::isdigit(static_cast<unsigned char>(c))) {
                value = value * 10 + (c - '0');
            } else if (c != '_') {
                break;
            }
        }
        return value;
    }

    // The largest number inside the brackets that open behind token `i`.
    double check_range(size_t i) {
        double largest = 0;
        size_t depth = 0;
        for (size_t j = i + 1; j < tokens_.size(); ++j) {
            depth += is(j, Kind::SIGN, "(") ? 1 : 0;
            if (is(j, Kind::SIGN, ")") && --depth == 0) {
                break;
            }
            if (tokens_[j].kind == Kind::NUMBER) {
                largest = std::max(largest, value_of(tokens_[j].text));
            }
            if (is(j, Kind::SIGN, "**") ||
                (is(j, Kind::SIGN, "*") && j + 1 < tokens_.size() &&
                 tokens_[j - 1].kind == Kind::NUMBER && tokens_[j + 1].kind == Kind::NUMBER)) {
                largest = MAX_RANGE + 1;
            }
        }
        if (largest > MAX_RANGE) {
            hostile(tokens_[i].at, "it counts beyond 100000");
        }
        return largest;
    }

    // "x" * 1000000 and the like.
    void check_repetition(size_t i) {
        if (!is(i, Kind::SIGN, "*") && !is(i, Kind::SIGN, "**")) {
            return;
        }
        const auto is_large = [&](size_t j) {
            return j < tokens_.size() && tokens_[j].kind == Kind::NUMBER &&
                   value_of(tokens_[j].text) > MAX_RANGE;
        };
        if (is_large(i + 1) || (i > 0 && is_large(i - 1))) {
            hostile(tokens_[i].at, "it repeats something more than 100000 times");
        }
    }

    // not not not …, - - - …: each is one more call in a parser that calls itself.
    void check_prefixes(size_t i) {
        const auto is_prefix = [&](size_t j) {
            return is(j, Kind::NAME, "not") || is(j, Kind::SIGN, "-") || is(j, Kind::SIGN, "+") ||
                   is(j, Kind::SIGN, "!");
        };
        if (is_prefix(i)) {
            ++n_prefixes_;
            if (n_prefixes_ > MAX_OPERATORS) {
                broken(tokens_[i].at, "more than 16 operators in a row");
            }
        } else {
            n_prefixes_ = 0;
        }
    }

    void check_statement(size_t start) {
        const std::string_view name = tokens_[0].text;
        if (name == "include" || name == "import" || name == "from" || name == "extends") {
            hostile(start, "it reads another file with '" + std::string(name) + "'");
        } else if (name == "elif") {
            if (blocks_.empty() || ++blocks_.back().n_branches > MAX_BRANCHES) {
                broken(start, "an 'elif' outside of an 'if', or more than 256 of them in one");
            }
        } else if (name.substr(0, 3) == "end") {
            if (blocks_.empty() || blocks_.back().name != name.substr(3)) {
                broken(start, "an '" + std::string(name.substr(0, 24)) + "' that ends nothing");
            } else {
                blocks_.pop_back();
            }
        } else if (opens_block(name)) {
            const double outer = blocks_.empty() ? 1 : blocks_.back().rounds;
            const double rounds = name == "for" ? outer * rounds_of_loop() : outer;
            blocks_.push_back({name, 0, rounds});
            if (blocks_.size() > MAX_DEPTH) {
                broken(start, "blocks nested deeper than " + std::to_string(MAX_DEPTH));
            }
            if (rounds > MAX_ROUNDS) {
                hostile(start, "its loops in loops run more than 1000000 rounds");
            }
        }
    }

    bool opens_block(std::string_view name) const {
        if (name == "set") {  // {% set x %}…{% endset %} has no '='
            return std::none_of(tokens_.begin(), tokens_.end(), [](const Token & token) {
                return token.kind == Kind::SIGN && token.text == "=";
            });
        }
        return name == "if" || name == "for" || name == "macro" || name == "call" ||
               name == "filter" || name == "generation" || name == "block" || name == "raw" ||
               name == "with" || name == "autoescape";
    }

    double rounds_of_loop() {
        for (size_t i = 0; i + 1 < tokens_.size(); ++i) {
            if (is(i, Kind::NAME, "range") && is(i + 1, Kind::SIGN, "(")) {
                double largest = 1;
                for (size_t j = i + 2; j < tokens_.size() && !is(j, Kind::SIGN, ")"); ++j) {
                    if (tokens_[j].kind == Kind::NUMBER) {
                        largest = std::max(largest, value_of(tokens_[j].text));
                    }
                }
                return largest;
            }
        }
        return 1;
    }

    const std::string & key_;
    std::string_view text_;
    uint64_t offset_;
    Findings & findings_;
    std::vector<Token> tokens_;  // of the tag at hand
    std::vector<Block> blocks_;
    size_t n_prefixes_ = 0;
    bool is_good_ = true;
};

}  // namespace

void check_template(const std::string & key, const std::string & text, uint64_t offset,
                    Findings & findings) {
    if (text.size() > MAX_BYTES) {
        findings.error("T01", offset,
                       key + " has " + std::to_string(text.size()) +
                           " bytes; templates have at most 1048576.");
        return;
    }
    Scanner(key, text, offset, findings).run();
}

}  // namespace luci::gguf
