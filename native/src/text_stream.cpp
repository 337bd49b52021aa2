#include "luci/text_stream.h"

#include <algorithm>
#include <cstdint>

namespace luci {

namespace {

// Length of the UTF-8 sequence that this first byte announces; 0 = not a first byte.
// Source: RFC 3629 section 3; C0, C1 and F5..FF never occur.
size_t sequence_length(uint8_t first) {
    if (first < 0x80) {
        return 1;
    }
    if (first >= 0xC2 && first <= 0xDF) {
        return 2;
    }
    if (first >= 0xE0 && first <= 0xEF) {
        return 3;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        return 4;
    }
    return 0;
}

// How many bytes at `at` are a valid beginning of one sequence (all of it when equal to its
// length).
size_t valid_bytes(std::string_view text, size_t at) {
    const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
    const uint8_t first = byte(at);
    const size_t length = sequence_length(first);
    if (length <= 1) {
        return length;
    }
    size_t n = 1;
    while (n < length && at + n < text.size()) {
        const uint8_t b = byte(at + n);
        uint8_t low = 0x80;
        uint8_t high = 0xBF;
        if (n == 1) {
            // Overlong forms, surrogates and values beyond U+10FFFF are excluded by the second
            // byte.
            if (first == 0xE0) {
                low = 0xA0;
            } else if (first == 0xED) {
                high = 0x9F;
            } else if (first == 0xF0) {
                low = 0x90;
            } else if (first == 0xF4) {
                high = 0x8F;
            }
        }
        if (b < low || b > high) {
            break;
        }
        n++;
    }
    return n;
}

// Bytes at the end that may be the beginning of a character.
size_t incomplete_tail(std::string_view text) {
    for (size_t back = 1; back <= 3 && back <= text.size(); back++) {
        const size_t at = text.size() - back;
        const size_t length = sequence_length(static_cast<uint8_t>(text[at]));
        if (length > 0) {
            return length > back && valid_bytes(text, at) == back ? back : 0;
        }
    }
    return 0;
}

}  // namespace

std::string valid_utf8(std::string_view bytes) {
    std::string text;
    text.reserve(bytes.size());
    size_t at = 0;
    while (at < bytes.size()) {
        const size_t length = sequence_length(static_cast<uint8_t>(bytes[at]));
        const size_t n = valid_bytes(bytes, at);
        if (length > 0 && n == length) {
            text.append(bytes.substr(at, n));
        } else {
            text.append("\xEF\xBF\xBD");
        }
        at += std::max<size_t>(n, 1);
    }
    return text;
}

TextStream::TextStream(std::vector<std::string> stops) : stops_(std::move(stops)) {
    stops_.erase(std::remove(stops_.begin(), stops_.end(), std::string()), stops_.end());
    for (const std::string & stop : stops_) {
        max_stop_bytes_ = std::max(max_stop_bytes_, stop.size());
    }
}

bool TextStream::push(std::string_view bytes) {
    if (!stop_text_.empty()) {
        return true;
    }
    const size_t old_size = pending_.size();
    pending_.append(bytes);
    // A match must end inside the new bytes.
    const size_t from = old_size + 1 > max_stop_bytes_ ? old_size + 1 - max_stop_bytes_ : 0;
    size_t first = std::string::npos;
    for (const std::string & stop : stops_) {
        const size_t at = pending_.find(stop, from);
        if (at < first) {
            first = at;
            stop_text_ = stop;
        }
    }
    if (first == std::string::npos) {
        return false;
    }
    pending_.resize(first);
    return true;
}

size_t TextStream::held_back() const {
    size_t held = incomplete_tail(pending_);
    for (const std::string & stop : stops_) {
        const size_t most = std::min(stop.size() - 1, pending_.size());
        for (size_t n = most; n > held; n--) {
            if (pending_.compare(pending_.size() - n, n, stop, 0, n) == 0) {
                held = n;
                break;
            }
        }
    }
    return held;
}

std::string TextStream::take() {
    if (!stop_text_.empty()) {
        return finish();
    }
    size_t n = pending_.size() - held_back();
    // A held-back stop string may begin inside a character whose first bytes must then wait as
    // well.
    n -= incomplete_tail(std::string_view(pending_).substr(0, n));
    std::string text = valid_utf8(std::string_view(pending_).substr(0, n));
    pending_.erase(0, n);
    return text;
}

std::string TextStream::finish() {
    std::string text = valid_utf8(pending_);
    pending_.clear();
    return text;
}

}  // namespace luci
