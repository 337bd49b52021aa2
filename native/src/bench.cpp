// The bare core measured in process, in the way of llama-bench: random tokens, no sampling.
#include <random>

#include "luci/engine.h"
#include "luci/errors.h"

namespace luci {

namespace {

double rate(int64_t n_tokens, Clock::time_point begin) {
    const double seconds = ms_between(begin, Clock::now()) / 1000.0;
    return seconds > 0.0 ? n_tokens / seconds : 0.0;
}

}  // namespace

std::pair<double, double> Engine::bench(int32_t n_prompt, int32_t n_gen, int32_t n_streams) {
    if (scheduler_->has_work()) {
        throw RequestError(
            "slot_busy",
            "The core can only be measured while no request runs; wait for them to end.");
    }
    const int32_t n_needed = n_prompt > n_gen ? n_prompt : n_gen;
    if (n_streams < 1 || n_streams > params_.n_slots || n_needed > context_.n_ctx || n_prompt < 0 ||
        n_gen < 0) {
        throw RequestError(
            "invalid_request",
            "Measuring " + std::to_string(n_prompt) + " prompt and " + std::to_string(n_gen) +
                " generated tokens in " + std::to_string(n_streams) + " streams does not fit " +
                std::to_string(params_.n_slots) + " slots of " + std::to_string(context_.n_ctx) +
                " tokens; load the model with more.");
    }
    Memory & memory = scheduler_->memory();
    for (Slot & slot : scheduler_->slots()) {
        slot.keep_cache(0);
    }
    std::mt19937 random(42);
    const auto next_token = [&] { return static_cast<llama_token>(random() % model_.n_vocab()); };
    llama_batch batch = llama_batch_init(context_.n_batch, 0, 1);
    struct BatchGuard {
        llama_batch & batch;
        ~BatchGuard() { llama_batch_free(batch); }
    } guard{batch};
    const auto add = [&](int32_t pos, int32_t seq, bool has_logits) {
        const int32_t i = batch.n_tokens++;
        batch.token[i] = next_token();
        batch.pos[i] = pos;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = seq;
        batch.logits[i] = has_logits;
    };
    // An encoder reads the prompt of a model that has one, and the decoder comes after it.
    const bool has_encoder = model_.is_encoder_decoder();
    const auto compute = [&](bool is_prompt) {
        const bool encodes = has_encoder && is_prompt;
        const int32_t result =
            encodes ? llama_encode(context_.get(), batch) : llama_decode(context_.get(), batch);
        if (result != 0) {
            throw RequestError("decode_failed",
                               std::string(encodes ? "llama_encode" : "llama_decode") +
                                   " failed while measuring; try fewer tokens.");
        }
        llama_synchronize(context_.get());
    };

    double prefill = 0.0;
    if (n_prompt > 0) {
        memory.clear_all();
        const Clock::time_point begin = Clock::now();
        for (int32_t done = 0; done < n_prompt;) {
            batch.n_tokens = 0;
            while (done < n_prompt && batch.n_tokens < context_.n_batch) {
                add(done, 0, done + 1 == n_prompt);
                done++;
            }
            compute(true);
        }
        prefill = rate(n_prompt, begin);
    }
    double generate = 0.0;
    if (n_gen > 0) {
        memory.clear_all();
        if (has_encoder && n_prompt == 0) {
            batch.n_tokens = 0;
            add(0, 0, true);
            compute(true);
        }
        const Clock::time_point begin = Clock::now();
        for (int32_t pos = 0; pos < n_gen; pos++) {
            batch.n_tokens = 0;
            for (int32_t seq = 0; seq < n_streams; seq++) {
                add(pos, seq, true);
            }
            compute(false);
        }
        generate = rate(static_cast<int64_t>(n_gen) * n_streams, begin);
    }
    memory.clear_all();
    return {prefill, generate};
}

}  // namespace luci
