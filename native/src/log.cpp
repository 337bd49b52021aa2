#include "luci/log.h"

#include <deque>
#include <mutex>

#include "ggml.h"
#include "llama.h"
#include "log.h"
#include "mtmd-helper.h"

namespace luci {

namespace {

constexpr size_t MAX_LINES = 2000;

struct LogRing {
    std::mutex mutex;
    std::deque<std::pair<int, std::string>> lines;
    bool line_is_open = false;  // the last piece did not end in a newline
};

LogRing & ring() {
    static LogRing instance;
    return instance;
}

thread_local std::vector<std::string> * captured_errors = nullptr;
thread_local LogWatch * log_watch = nullptr;

void keep_piece(ggml_log_level level, std::string piece) {
    const bool ends_line = !piece.empty() && piece.back() == '\n';
    while (!piece.empty() && (piece.back() == '\n' || piece.back() == '\r')) {
        piece.pop_back();
    }
    if (level == GGML_LOG_LEVEL_ERROR && captured_errors != nullptr && !piece.empty()) {
        captured_errors->push_back(piece);
    }
    LogRing & log = ring();
    std::lock_guard<std::mutex> lock(log.mutex);
    if ((level == GGML_LOG_LEVEL_CONT || log.line_is_open) && !log.lines.empty()) {
        log.lines.back().second += piece;
    } else if (!piece.empty()) {
        log.lines.emplace_back(static_cast<int>(level), piece);
    }
    log.line_is_open = !ends_line;
    while (log.lines.size() > MAX_LINES) {
        log.lines.pop_front();
    }
}

void on_log(ggml_log_level level, const char * text, void *) {
    keep_piece(level, text);
    if (log_watch != nullptr) {
        log_watch->on_piece(static_cast<int>(level), text);
    }
}

}  // namespace

void init_backend() {
    static std::once_flag once;
    std::call_once(once, [] {
        llama_log_set(on_log, nullptr);
        mtmd_helper_log_set(on_log, nullptr);
        // llama-common has a log of its own that prints from a thread; what matters there comes
        // back as return values.
        common_log_pause(common_log_main());
        llama_backend_init();
    });
}

std::vector<std::pair<int, std::string>> take_log() {
    LogRing & log = ring();
    std::lock_guard<std::mutex> lock(log.mutex);
    std::vector<std::pair<int, std::string>> lines(log.lines.begin(), log.lines.end());
    log.lines.clear();
    log.line_is_open = false;
    return lines;
}

ErrorCapture::ErrorCapture() {
    captured_errors = &lines_;
}

ErrorCapture::~ErrorCapture() {
    captured_errors = nullptr;
}

std::string ErrorCapture::text(const std::string & fallback) const {
    std::string joined;
    for (const std::string & line : lines_) {
        joined += joined.empty() ? line : "; " + line;
    }
    return joined.empty() ? fallback : joined;
}

LogWatch::LogWatch() {
    log_watch = this;
}

LogWatch::~LogWatch() {
    log_watch = nullptr;
}

}  // namespace luci
