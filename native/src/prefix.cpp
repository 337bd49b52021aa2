#include "luci/prefix.h"

#include <algorithm>

namespace luci {

namespace {

// Below this, finding and copying costs more than computing.
constexpr int32_t MIN_COPY_TOKENS = 16;
// Bytes per millisecond that a KV buffer is copied with; a low value for one core of a small
// machine.
constexpr double COPY_BYTES_PER_MS = 4e6;

// True when the sequence can be cut after n tokens and continued as if nothing else had been there.
bool can_cut(const Slot & slot, int32_t n, const Context & context, const Memory & memory) {
    if (n == slot.n_cached()) {
        return true;
    }
    if (!context.can_rewind) {
        return false;
    }
    // The window of the last kept token must still be there. Source: the same test in
    // llama-server's slot reuse.
    const int32_t position = position_of(slot.cache_spans, n);
    return context.n_swa == 0 ||
           memory.oldest_position(slot.seq) <= std::max(0, position - context.n_swa);
}

int32_t matching(const std::vector<llama_token> & tokens, const std::vector<float> & scales,
                 const Task & task) {
    if (!task.cache_prompt || scales != task.lora_scales) {
        return 0;
    }
    const int32_t n =
        std::min(common_prefix(tokens, task.prompt), static_cast<int32_t>(task.prompt.size()) - 1);
    return without_cut_span(task.spans, n);
}

int32_t matching_cache(const Slot & slot, const Task & task) {
    return std::min(matching(slot.cache, slot.cache_scales, task), slot.n_exact);
}

// What a busy slot will hold: for prefill the whole prompt, for decode what it has.
int32_t promised_prefix(const Slot & slot, const Task & task) {
    if (slot.state == SlotState::PREFILL) {
        return matching(slot.task->prompt, slot.task->lora_scales, task);
    }
    return matching_cache(slot, task);
}

Slot * choose_target(std::vector<Slot> & slots, const Task & task, const Context & context,
                     const Memory & memory, int32_t & n_own) {
    Slot * best = nullptr;
    Slot * oldest = nullptr;
    for (Slot & slot : slots) {
        if (slot.state != SlotState::IDLE) {
            continue;
        }
        const int32_t n = reusable_prefix(slot, task, context, memory);
        if (best == nullptr || n > n_own || (n == n_own && slot.n_cached() < best->n_cached())) {
            best = &slot;
            n_own = n;
        }
        if (oldest == nullptr || slot.last_used < oldest->last_used) {
            oldest = &slot;
        }
    }
    // A conversation that shares only its beginning with this prompt keeps its cache while another
    // slot is idle.
    if (best != nullptr && n_own > 0 && 2 * n_own < best->n_cached() && oldest != best) {
        best = oldest;
        n_own = reusable_prefix(*oldest, task, context, memory);
    }
    return best;
}

}  // namespace

int32_t common_prefix(const std::vector<llama_token> & a, const std::vector<llama_token> & b) {
    const size_t most = std::min(a.size(), b.size());
    size_t n = 0;
    while (n < most && a[n] == b[n]) {
        n++;
    }
    return static_cast<int32_t>(n);
}

int32_t reusable_prefix(const Slot & slot, const Task & task, const Context & context,
                        const Memory & memory) {
    const int32_t n = matching_cache(slot, task);
    return n > 0 && can_cut(slot, n, context, memory) ? n : 0;
}

PrefixPlan plan_prefix(std::vector<Slot> & slots, const Task & task, const Context & context,
                       const Memory & memory, double ms_per_token) {
    PrefixPlan plan;
    plan.target = choose_target(slots, task, context, memory, plan.n_tokens);
    if (plan.target == nullptr) {
        return plan;
    }
    // Within one shared buffer a copy is a note in a table; otherwise the whole buffer of the
    // sequence is copied.
    const double copy_ms = context.is_unified ? 0.0 : context.kv_bytes_per_slot / COPY_BYTES_PER_MS;
    const int32_t worth =
        std::max(MIN_COPY_TOKENS, static_cast<int32_t>(copy_ms / std::max(ms_per_token, 1e-3)));
    const int32_t n_own = plan.n_tokens;
    for (Slot & slot : slots) {
        if (&slot == plan.target || slot.state == SlotState::WAITING) {
            continue;
        }
        const int32_t n = promised_prefix(slot, task);
        if (n <= plan.n_tokens || n - n_own < worth) {
            continue;
        }
        const bool is_ready = n <= slot.n_cached();
        if (is_ready && !can_cut(slot, n, context, memory)) {
            continue;
        }
        plan.source = &slot;
        plan.n_tokens = n;
        plan.must_wait = !is_ready;
    }
    return plan;
}

bool copy_prefix(Slot & from, Slot & to, int32_t n, const Context & context, Memory & memory) {
    const int32_t position = position_of(from.cache_spans, n);
    memory.clear_sequence(to.seq);
    memory.copy(from.seq, to.seq, position, context.is_unified);
    to.cache = from.cache;
    to.cache_spans = from.cache_spans;
    to.keep_cache(n);
    to.cache_scales = from.cache_scales;
    from.is_shared |= context.is_unified;
    to.is_shared |= context.is_unified;
    if (!context.is_unified && n < from.n_cached() && !memory.remove(to.seq, position, -1)) {
        memory.clear_sequence(to.seq);
        to.keep_cache(0);
        return false;
    }
    return true;
}

}  // namespace luci
