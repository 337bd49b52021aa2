// The few lines that a test needs: CHECK reports and counts, main() returns the count.
#pragma once

#include <cstdio>
#include <string>

namespace check {

inline int n_failed = 0;
inline int n_checked = 0;

inline void report(bool ok, const char * text, const char * file, int line) {
    n_checked++;
    if (!ok) {
        n_failed++;
        std::fprintf(stderr, "%s:%d: CHECK(%s) failed\n", file, line, text);
    }
}

inline int result() {
    std::fprintf(stderr, "%d passed, %d failed\n", n_checked - n_failed, n_failed);
    return n_failed == 0 ? 0 : 1;
}

}  // namespace check

#define CHECK(condition) check::report((condition), #condition, __FILE__, __LINE__)

// The expression must throw `type`.
#define CHECK_THROWS(type, expression)                              \
    do {                                                            \
        bool has_thrown = false;                                    \
        try {                                                       \
            (void)(expression);                                     \
        } catch (const type &) {                                    \
            has_thrown = true;                                      \
        }                                                           \
        check::report(has_thrown, #expression, __FILE__, __LINE__); \
    } while (false)
