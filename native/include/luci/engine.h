// One model, one context, n slots: the whole core behind one class.
//
// Thread rule: one thread calls everything, except interrupt(), tokenize(), pieces() and
// detokenize(), which any thread may call. No method prints, exits or aborts by itself; ggml may
// abort the process on a broken model, which is why an Engine lives in a worker process.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "luci/memory.h"
#include "luci/scheduler.h"

namespace luci {

class Engine {
public:
    // Loads. Throws ModelLoadError, ContextError, RequestError.
    Engine(const LoadParams & params, LoadProgress & progress);

    ModelInfo info() const;
    // The buffers of the model and of its context; a draft model's are not in it.
    std::vector<BufferMemory> memory() const { return memory_of(context_.get(), params_); }
    EngineStatus status() const { return scheduler_->status(); }

    // Queues a request and returns its id. Throws RequestError for what can be seen at once.
    uint64_t submit(const Request & request);
    // The request ends before the next decode; its DONE event says "cancelled". Unknown ids are
    // ignored.
    void cancel(uint64_t id) { scheduler_->cancel(id); }
    bool has_work() const { return scheduler_->has_work(); }

    // Steps until events are due, max_ms have passed, interrupt() was called or nothing is left to
    // do.
    std::vector<Event> run(double max_ms);
    // Makes a running or the next run() return after the present step.
    void interrupt() { interrupted_.store(true, std::memory_order_release); }

    std::vector<llama_token> tokenize(const std::string & text, bool add_special,
                                      bool parse_special) const {
        return model_.tokenize(text, add_special, parse_special);
    }
    // The bytes of each token, not always valid UTF-8; those of control tokens only with `special`.
    // Throws RequestError for an id outside the vocabulary.
    std::vector<std::string> pieces(const std::vector<llama_token> & tokens, bool special) const;
    // The same in one piece.
    std::string detokenize(const std::vector<llama_token> & tokens, bool special) const;

    // One vector of n_embd floats per text, and the number of prompt tokens. Needs
    // LoadParams::embedding.
    std::pair<std::vector<std::vector<float>>, int32_t> embed(
        const std::vector<std::string> & texts, bool normalize);
    // The same for texts that are tokens already; nothing is put before or after them.
    std::pair<std::vector<std::vector<float>>, int32_t> embed_tokens(
        const std::vector<std::vector<llama_token>> & inputs, bool normalize);
    // One score per document. Needs pooling "rank" and a model with a classification head.
    std::pair<std::vector<float>, int32_t> rerank(const std::string & query,
                                                  const std::vector<std::string> & documents);

    // Writes an idle slot's cache under a temporary name and renames it; returns (tokens, bytes).
    std::pair<int32_t, uint64_t> save_state(int32_t slot, const std::string & path);
    // Reads it back into an idle slot; refuses a file of another model, KV type or with a wrong
    // checksum.
    std::pair<int32_t, uint64_t> restore_state(int32_t slot, const std::string & path);

    // One repetition as llama-bench does it, without sampling: (prefill tokens/s, decode tokens/s
    // over all streams).
    std::pair<double, double> bench(int32_t n_prompt, int32_t n_gen, int32_t n_streams);

private:
    Slot & idle_slot(int32_t slot);
    std::string fingerprint() const;
    std::vector<std::vector<float>> pooled_rows(
        const std::vector<std::vector<llama_token>> & inputs, int32_t width);

    Model model_;
    LoadParams params_;  // as the model can take them
    Context context_;
    std::unique_ptr<Projector> projector_;
    Chat chat_;
    std::unique_ptr<Scheduler> scheduler_;
    uint64_t next_id_ = 1;
    std::atomic<bool> interrupted_{false};
    Clock::time_point delivered_at_ = Clock::now();
};

}  // namespace luci
