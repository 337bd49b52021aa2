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

// Sees what llama.cpp logs while this thread works in it; for calls that report progress in no
// other way. One per thread at a time.
class LogWatch {
public:
    LogWatch();
    virtual ~LogWatch();
    LogWatch(const LogWatch &) = delete;
    LogWatch & operator=(const LogWatch &) = delete;

    // Gets one piece of text, which need not be a whole line, after the ring has kept it. An
    // exception passes through llama.cpp to the caller that logged: throw only where that is safe.
    virtual void on_piece(int level, const std::string & text) = 0;
};

}  // namespace luci
