// One sequence of the context: what its cache holds and which request it serves.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "luci/task.h"

namespace luci {

enum class SlotState {
    IDLE,     // no request; the cache keeps what the last one left, for reuse
    WAITING,  // another slot is computing a prefix that this one will copy
    PREFILL,  // prompt tokens are missing in the cache
    DECODE,   // `task->sampled` goes into the next batch
};

const char * slot_state_name(SlotState state);

struct Slot {
    int32_t seq = 0;
    SlotState state = SlotState::IDLE;
    std::vector<llama_token> cache;      // what the sequence holds, from its beginning
    std::vector<MediaSpan> cache_spans;  // where embeddings stand in it
    std::vector<float> cache_scales;     // LoRA scales the cache was computed with
    // Tokens at the beginning whose entries are what computing the cache's tokens would give; those
    // behind a context shift have seen tokens that are gone.
    int32_t n_exact = INT32_MAX;
    bool is_shared = false;  // another sequence may stand in the same cells of a shared buffer
    std::unique_ptr<Task> task;

    // WAITING: copy `n_awaited` tokens from `source` once it holds them.
    Slot * source = nullptr;
    int32_t n_awaited = 0;

    // This step's batch.
    int32_t batch_begin = 0;     // of its first prompt token
    int32_t batch_index = -1;    // of the token whose logits choose the next one; -1 = none
    int32_t n_prompt_added = 0;  // prompt tokens in the batch

    uint64_t last_step = 0;  // step in which it was served last
    Clock::time_point last_used;

    int32_t n_cached() const { return static_cast<int32_t>(cache.size()); }
    // Position of the next entry of the cache.
    int32_t next_position() const { return position_of(cache_spans, n_cached()); }
    // Forgets what follows the first n entries; the memory of the context is the caller's.
    void keep_cache(int32_t n) {
        cache.resize(n);
        while (!cache_spans.empty() && cache_spans.back().end() > n) {
            cache_spans.pop_back();
        }
    }
};

}  // namespace luci
