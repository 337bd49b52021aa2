// llama.cpp's own reader on files: `read_gguf FILE…` prints "accepted", "rejected", "crashed" or
// "hung" for each. For the table in docs/validator-peers.md.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "gguf.h"

namespace {

constexpr rlim_t MAX_ADDRESS_BYTES = 4ull << 30;
constexpr unsigned MAX_S = 20;
constexpr int REJECTED = 10;

[[noreturn]] void read(const char * path) {
    const rlimit limit{MAX_ADDRESS_BYTES, MAX_ADDRESS_BYTES};
    setrlimit(RLIMIT_AS, &limit);
    alarm(MAX_S);
    const gguf_init_params params{/*no_alloc=*/true, /*ctx=*/nullptr};
    _exit(gguf_init_from_file(path, params) != nullptr ? 0 : REJECTED);
}

}  // namespace

int main(int argc, char ** argv) {
    setenv("GGML_NO_BACKTRACE", "1", 1);
    for (int i = 1; i < argc; ++i) {
        std::fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            read(argv[i]);
        }
        int status = 0;
        waitpid(child, &status, 0);
        const bool is_hung = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
        const bool is_rejected = WIFEXITED(status) && WEXITSTATUS(status) == REJECTED;
        const bool is_accepted = WIFEXITED(status) && WEXITSTATUS(status) == 0;
        std::puts(is_accepted   ? "accepted"
                  : is_rejected ? "rejected"
                  : is_hung     ? "hung"
                                : "crashed");
    }
    return 0;
}
