// interrupt() and tokenize() from other threads while the engine runs; the one for the thread
// sanitizer.
#include <thread>

#include "check.h"
#include "luci/engine.h"
#include "run_requests.h"

int main(int, char ** argv) {
    luci::LoadParams params = load_params(std::string(argv[1]) + "/llama.gguf", 2);
    // One compute thread: the thread sanitizer does not know OpenMP's barriers.
    params.n_threads = 1;
    luci::LoadProgress progress;
    luci::Engine engine(params, progress);
    std::atomic<bool> is_over{false};
    std::thread interrupter([&] {
        while (!is_over) {
            engine.interrupt();
            std::this_thread::yield();
        }
    });
    std::thread tokenizer([&] {
        while (!is_over) {
            CHECK(!engine.tokenize("list the files", true, false).empty());
        }
    });
    for (int round = 0; round < 20; round++) {
        const uint64_t id = engine.submit(make_request(tokens(40, round), 30));
        if (round % 3 == 0) {
            engine.run(0.0);
            engine.cancel(id);
        }
        int n_ends = 0;
        while (engine.has_work()) {
            for (const luci::Event & event : engine.run(10.0)) {
                n_ends += event.kind == luci::EventKind::DONE;
            }
        }
        CHECK(n_ends == 1);
    }
    is_over = true;
    interrupter.join();
    tokenizer.join();
    return check::result();
}
