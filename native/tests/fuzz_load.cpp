// Mutants that the validator accepts, loaded for real: `fuzz_load FOLDER COUNT SEED SCRATCH`. Each
// is loaded in a child process, which answers a prompt with it; it may fail with one of luci's
// errors, and must not end by a signal. A mutant that does is kept beside SCRATCH.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "luci/engine.h"
#include "luci/errors.h"
#include "luci/validate.h"
#include "mutator.h"
#include "run_requests.h"

namespace {

constexpr unsigned MAX_S = 20;
[[maybe_unused]] constexpr rlim_t MAX_ADDRESS_BYTES = 8ull << 30;
enum Ending { LOADED = 0, REFUSED = 10, NO_MEMORY = 11 };

[[noreturn]] void load_and_answer(const std::string & path) {
#ifndef __SANITIZE_ADDRESS__  // its shadow memory takes terabytes of addresses
    const rlimit limit{MAX_ADDRESS_BYTES, MAX_ADDRESS_BYTES};
    setrlimit(RLIMIT_AS, &limit);
#endif
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(MAX_S);
    try {
        luci::LoadParams params = load_params(path);
        params.n_ctx = 64;
        params.n_threads = 1;
        luci::LoadProgress progress;
        luci::Engine engine(params, progress);
        engine.tokenize("list the files", true, true);
        answer(engine, make_request(tokens(6, 1), 4));
    } catch (const luci::Error &) {
        _exit(REFUSED);
    } catch (const std::bad_alloc &) {
        _exit(NO_MEMORY);
    }
    _exit(LOADED);
}

}  // namespace

int main(int argc, char ** argv) {
    if (argc < 5) {
        std::fprintf(stderr, "usage: %s FOLDER COUNT SEED SCRATCH\n", argv[0]);
        return 2;
    }
    setenv("GGML_NO_BACKTRACE", "1", 1);
    const std::vector<Seed> seeds = read_seeds(argv[1]);
    const uint64_t count = std::strtoull(argv[2], nullptr, 10);
    Mutator mutator(std::strtoull(argv[3], nullptr, 10));
    const std::string path = std::string(argv[4]) + ".gguf";
    uint64_t n_loaded = 0;
    uint64_t n_refused = 0;
    uint64_t n_crashed = 0;
    while (n_loaded + n_refused + n_crashed < count) {
        const Seed & seed = seeds[mutator.below(seeds.size())];
        const std::string bytes = mutator.mutate(seed, seeds);
        if (luci::is_rejected(luci::validate_bytes(bytes, {}))) {
            continue;
        }
        std::ofstream(path, std::ios::binary) << bytes;
        std::fflush(stdout);
        const pid_t child = fork();
        if (child == 0) {
            if (!std::freopen((path + ".log").c_str(), "w", stderr)) {
                _exit(REFUSED);
            }
            std::setvbuf(stderr, nullptr, _IONBF, 0);  // an abort flushes nothing
            load_and_answer(path);
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == LOADED) {
            ++n_loaded;
        } else if (WIFEXITED(status) &&
                   (WEXITSTATUS(status) == REFUSED || WEXITSTATUS(status) == NO_MEMORY)) {
            ++n_refused;
        } else {
            const std::string kept = std::string(argv[4]) + "-" + std::to_string(n_crashed++);
            std::rename(path.c_str(), (kept + ".gguf").c_str());
            std::rename((path + ".log").c_str(), (kept + ".log").c_str());
            std::printf("%s: %s %d, kept as %s.gguf\n", seed.name.c_str(),
                        WIFSIGNALED(status) ? "signal" : "exit code",
                        WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), kept.c_str());
        }
    }
    std::remove(path.c_str());
    std::remove((path + ".log").c_str());
    std::printf("%llu accepted mutants: %llu loaded and answered, %llu refused, %llu crashed\n",
                static_cast<unsigned long long>(count), static_cast<unsigned long long>(n_loaded),
                static_cast<unsigned long long>(n_refused),
                static_cast<unsigned long long>(n_crashed));
    return n_crashed == 0 ? 0 : 1;
}
