// What the validator says about a file. luci_tui/gguf/rules.py lists every code with its reason.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace luci::gguf {

enum class Severity { ERROR, WARNING };

struct Finding {
    std::string code;  // stable name of the rule, such as "S21"
    Severity severity = Severity::ERROR;
    uint64_t offset = 0;  // byte of the file that it is about
    std::string message;  // one sentence; names from the file escaped by shown()
};

// Thrown after an error that makes the rest of a file unreadable; the error is in the findings.
struct Unreadable {};

// Gathers findings; a rule that is broken thousands of times is told a few times and counted.
class Findings {
public:
    void error(const char * code, uint64_t offset, const std::string & message);
    void warning(const char * code, uint64_t offset, const std::string & message);
    // Adds the error and throws Unreadable.
    [[noreturn]] void fatal(const char * code, uint64_t offset, const std::string & message);

    bool has_errors() const { return n_errors_ > 0; }
    // The findings, errors first, each kind in the order of adding.
    std::vector<Finding> sorted() const;

private:
    void add(const char * code, Severity severity, uint64_t offset, const std::string & message);

    std::vector<Finding> findings_;
    std::map<std::string, uint64_t> n_by_code_;
    uint64_t n_errors_ = 0;
};

// Text from a file for a message: control characters and bytes that are no UTF-8 as \xNN, cut to
// `max_bytes`, in single quotes.
std::string shown(std::string_view text, size_t max_bytes = 60);

// Whether the bytes are valid UTF-8 without overlong forms and surrogates.
bool is_utf8(std::string_view text);

}  // namespace luci::gguf
