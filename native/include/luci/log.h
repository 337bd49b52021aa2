// llama.cpp's log lines, kept in memory: luci_core itself never prints.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace luci {

// Starts llama.cpp's back ends and routes its log into a ring of 2,000 lines. Called by every entry
// point; only the first call does something. Thread-safe.
void init_backend();

// Lines since the last call, oldest first: (ggml level 1 debug, 2 info, 3 warn, 4 error; text
// without newline).
std::vector<std::pair<int, std::string>> take_log();

// Collects error lines of this thread's calls while it lives; the reason of a failed load is only
// there.
class ErrorCapture {
public:
    ErrorCapture();
    ~ErrorCapture();
    ErrorCapture(const ErrorCapture &) = delete;
    ErrorCapture & operator=(const ErrorCapture &) = delete;

    // The captured lines in one line, or `fallback` when there were none.
    std::string text(const std::string & fallback) const;

private:
    std::vector<std::string> lines_;
};

}  // namespace luci
