// From token bytes to text that may leave the engine: whole UTF-8 characters, nothing of a stop
// string.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace luci {

class TextStream {
public:
    // Empty stop strings are ignored.
    explicit TextStream(std::vector<std::string> stops = {});

    // Appends the bytes of one token. Returns true when a stop string is complete: the stop string
    // and what follows it are then dropped, and nothing more is taken in.
    bool push(std::string_view bytes);

    // The text that is safe to deliver now. Held back: a character whose bytes are not all here,
    // and an end that may become a stop string. Bytes that are no UTF-8 come out as U+FFFD.
    std::string take();

    // What is left when the answer ends.
    std::string finish();

    // The stop string that was met, or "".
    const std::string & stop_text() const { return stop_text_; }

private:
    size_t held_back() const;

    std::vector<std::string> stops_;
    size_t max_stop_bytes_ = 0;
    std::string pending_;
    std::string stop_text_;
};

// A copy of `bytes` in which every invalid sequence is one U+FFFD.
std::string valid_utf8(std::string_view bytes);

}  // namespace luci
