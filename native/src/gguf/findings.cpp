#include "luci/gguf/findings.h"

#include <algorithm>
#include <cstdio>

namespace luci::gguf {

namespace {

constexpr uint64_t MAX_PER_CODE = 8;

// Length of the UTF-8 character at `at`, 0 = there is none.
// Source: RFC 3629, section 4.
size_t utf8_length(std::string_view text, size_t at) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
    const uint8_t first = byte(at);
    if (first < 0x80) {
        return 1;
    }
    const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || at + length > text.size()) {
        return 0;
    }
    for (size_t i = 1; i < length; ++i) {
        if ((byte(at + i) & 0xC0) != 0x80) {
            return 0;
        }
    }
    const uint8_t second = byte(at + 1);
    const bool is_overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
    const bool is_beyond = (first == 0xED && second > 0x9F) || (first == 0xF4 && second > 0x8F);
    return is_overlong || is_beyond ? 0 : length;
}

}  // namespace

void Findings::error(const char * code, uint64_t offset, const std::string & message) {
    ++n_errors_;
    add(code, Severity::ERROR, offset, message);
}

void Findings::warning(const char * code, uint64_t offset, const std::string & message) {
    add(code, Severity::WARNING, offset, message);
}

void Findings::fatal(const char * code, uint64_t offset, const std::string & message) {
    error(code, offset, message);
    throw Unreadable{};
}

void Findings::add(const char * code, Severity severity, uint64_t offset,
                   const std::string & message) {
    const uint64_t n_known = n_by_code_[code]++;
    if (n_known < MAX_PER_CODE) {
        findings_.push_back({code, severity, offset, message});
    }
}

std::vector<Finding> Findings::sorted() const {
    std::vector<Finding> result = findings_;
    for (const auto & [code, n_all] : n_by_code_) {
        if (n_all > MAX_PER_CODE) {
            const auto last = std::find_if(result.rbegin(), result.rend(),
                                           [&](const Finding & f) { return f.code == code; });
            last->message += " (" + std::to_string(n_all - MAX_PER_CODE) + " more like it)";
        }
    }
    std::stable_partition(result.begin(), result.end(),
                          [](const Finding & f) { return f.severity == Severity::ERROR; });
    return result;
}

std::string shown(std::string_view text, size_t max_bytes) {
    std::string result = "'";
    size_t at = 0;
    while (at < text.size() && at < max_bytes) {
        const size_t length = utf8_length(text, at);
        const auto first = static_cast<uint8_t>(text[at]);
        // C1 controls are two bytes in UTF-8; U+200E to U+202E and U+2066 to U+2069 turn text
        // around.
        const bool is_c1 =
            length == 2 && first == 0xC2 && static_cast<uint8_t>(text[at + 1]) < 0xA0;
        const bool is_bidi =
            length == 3 && first == 0xE2 &&
            ((text[at + 1] == '\x80' && static_cast<uint8_t>(text[at + 2]) >= 0x8B) ||
             (text[at + 1] == '\x81' && static_cast<uint8_t>(text[at + 2]) >= 0xA0));
        if (length == 0 || first < 0x20 || first == 0x7F || is_c1 || is_bidi) {
            for (size_t i = 0; i < std::max<size_t>(length, 1); ++i) {
                char escaped[8];
                std::snprintf(escaped, sizeof(escaped), "\\x%02x",
                              static_cast<uint8_t>(text[at + i]));
                result += escaped;
            }
        } else {
            result += text.substr(at, length);
        }
        at += std::max<size_t>(length, 1);
    }
    return result + (at < text.size() ? "…'" : "'");
}

bool is_utf8(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
        const size_t length = utf8_length(text, at);
        if (length == 0) {
            return false;
        }
        at += length;
    }
    return true;
}

}  // namespace luci::gguf
