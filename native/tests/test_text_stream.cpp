// TextStream: whole characters, stop strings across tokens, no invalid UTF-8 out.
#include "luci/text_stream.h"

#include <random>

#include "check.h"

using luci::TextStream;
using luci::valid_utf8;

static void test_character_in_pieces() {
    TextStream stream;
    const std::string euro = "\xE2\x82\xAC";
    stream.push(euro.substr(0, 1));
    CHECK(stream.take().empty());
    stream.push(euro.substr(1, 1));
    CHECK(stream.take().empty());
    stream.push(euro.substr(2) + "x");
    CHECK(stream.take() == euro + "x");
}

static void test_stop_across_tokens() {
    TextStream stream({"", "END", "STOP"});
    CHECK(!stream.push("one EN"));
    CHECK(stream.take() == "one ");
    CHECK(!stream.push("X two ST"));
    CHECK(stream.take() == "ENX two ");
    CHECK(stream.push("OP three"));
    CHECK(stream.take().empty());
    CHECK(stream.finish().empty());
    CHECK(stream.stop_text() == "STOP");
}

static void test_earliest_stop_wins() {
    TextStream stream({"b", "ab"});
    CHECK(stream.push("xab"));
    CHECK(stream.finish() == "x");
    CHECK(stream.stop_text() == "ab");
}

static void test_held_back_text_is_not_lost() {
    TextStream stream({"###"});
    stream.push("a##");
    CHECK(stream.take() == "a");
    CHECK(stream.finish() == "##");
}

static void test_invalid_bytes() {
    CHECK(valid_utf8("a\xFF"
                     "b") ==
          "a\xEF\xBF\xBD"
          "b");
    CHECK(valid_utf8("\xED\xA0\x80") == "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
    CHECK(valid_utf8("\xC0\xAF").find('/') == std::string::npos);             // an overlong slash
    CHECK(valid_utf8("\xF4\x90\x80\x80").find("\xF4") == std::string::npos);  // beyond U+10FFFF
}

// However bytes are cut into tokens, the text is the same, and no stop string ever leaves.
static void test_random_cuts() {
    std::mt19937 random(7);
    const std::string alphabet[] = {"a",    "b",    "\xC3\xA4", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                                    "\xFF", "\xE2", "STOP"};
    for (int round = 0; round < 3000; round++) {
        std::string bytes;
        for (int i = 0; i < 12; i++) {
            bytes += alphabet[random() % 8];
        }
        const size_t stop_at = bytes.find("STOP");
        const std::string expected = valid_utf8(bytes.substr(0, stop_at));
        TextStream stream({"STOP"});
        std::string text;
        for (size_t at = 0; at < bytes.size();) {
            const size_t n = 1 + random() % 4;
            stream.push(bytes.substr(at, n));
            at += n;
            if (random() % 2 == 0) {
                text += stream.take();
            }
        }
        text += stream.finish();
        CHECK(text == expected);
        CHECK((stop_at != std::string::npos) == !stream.stop_text().empty());
    }
}

int main() {
    test_character_in_pieces();
    test_stop_across_tokens();
    test_earliest_stop_wins();
    test_held_back_text_is_not_lost();
    test_invalid_bytes();
    test_random_cuts();
    return check::result();
}
