// Mutants through the validator: `fuzz_validate FOLDER COUNT SEED [DEEP]`. Any crash is the
// sanitizer's to report; a mutant that takes longer than a second of CPU time (what others do on
// the machine does not count) or memory beyond 256 MiB ends the run. Prints how often each rule
// rejected, and one line of totals.
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <map>

#include "luci/validate.h"
#include "mutator.h"

namespace {

constexpr double MAX_S = 1.0;
constexpr long MAX_MEMORY_KIB = 256 * 1024;

void keep(const std::string & bytes, const char * why) {
    std::ofstream("mutant.gguf", std::ios::binary) << bytes;
    std::fprintf(stderr, "%s; the mutant is in mutant.gguf\n", why);
    std::exit(1);
}

}  // namespace

int main(int argc, char ** argv) {
    if (argc < 4) {
        std::fprintf(stderr, "usage: %s FOLDER COUNT SEED [deep]\n", argv[0]);
        return 2;
    }
    const std::vector<Seed> seeds = read_seeds(argv[1]);
    const uint64_t count = std::strtoull(argv[2], nullptr, 10);
    Mutator mutator(std::strtoull(argv[3], nullptr, 10));
    const luci::ValidateOptions options{argc > 4, 1};
    std::map<std::string, uint64_t> n_by_code;
    uint64_t n_accepted = 0;
    double slowest_s = 0;
    for (uint64_t i = 0; i < count; ++i) {
        const std::string bytes = mutator.mutate(seeds[mutator.below(seeds.size())], seeds);
        const std::clock_t started = std::clock();
        const auto findings = luci::validate_bytes(bytes, options);
        const double elapsed_s = static_cast<double>(std::clock() - started) / CLOCKS_PER_SEC;
        slowest_s = std::max(slowest_s, elapsed_s);
        if (elapsed_s > MAX_S) {
            keep(bytes, "a mutant took longer than a second");
        }
        if (luci::is_rejected(findings)) {
            ++n_by_code[findings.front().code];
        } else {
            ++n_accepted;
        }
    }
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    for (const auto & [code, n] : n_by_code) {
        std::printf("%s %llu\n", code.c_str(), static_cast<unsigned long long>(n));
    }
    std::printf("%llu mutants of %zu files, %llu accepted, slowest %.1f ms, memory %ld MiB\n",
                static_cast<unsigned long long>(count), seeds.size(),
                static_cast<unsigned long long>(n_accepted), slowest_s * 1000,
                usage.ru_maxrss / 1024);
    return n_accepted > 0 && usage.ru_maxrss < MAX_MEMORY_KIB ? 0 : 1;
}
