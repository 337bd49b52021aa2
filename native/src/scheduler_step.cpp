// One step of the scheduler: fill a batch, decode it, sample.
#include <algorithm>
#include <cmath>

#include "luci/errors.h"
#include "luci/prompt_logprobs.h"
#include "luci/scheduler.h"

namespace luci {

namespace {

// While others decode, prompt chunks are cut so that one step takes about this long.
constexpr double MAX_STALL_MS = 80.0;
constexpr int32_t MIN_CHUNK_TOKENS = 16;
// A prompt of which no more is left is never cut: it holds others up once, while its client would
// wait for a step for each of those who asked before.
constexpr int32_t SHORT_TOKENS = 32;
// A prompt that takes longer than this reports how far it is.
constexpr double PROGRESS_INTERVAL_MS = 250.0;
// From this many rows on, sampling is spread over the compute threads.
constexpr int32_t MIN_PARALLEL_ROWS = 4;

}  // namespace

void Scheduler::step(std::vector<Event> & events) {
    for (const uint64_t id : cancelled_) {
        const auto queued = std::find_if(queue_.begin(), queue_.end(),
                                         [id](const auto & task) { return task->id == id; });
        if (queued != queue_.end()) {
            events.push_back((*queued)->done("cancelled"));
            queue_.erase(queued);
        }
        for (Slot & slot : slots_) {
            if (slot.task && slot.task->id == id) {
                finish(slot, "cancelled", events);
            }
        }
    }
    cancelled_.clear();
    wake_waiting();
    admit(events);
    make_room(events);
    if (model_.is_encoder_decoder()) {
        encode_prompts(events);
    }
    guess();
    fill_batch();
    if (batch_.n_tokens > 0) {
        step_tokens(events);
    }
    if (projector_ != nullptr) {
        step_media(events);
    }
}

void Scheduler::step_tokens(std::vector<Event> & events) {
    const Clock::time_point begin = Clock::now();
    if (!decode(events)) {
        return;
    }
    n_steps_++;
    score_prompts(events);
    after_decode(ms_between(begin, Clock::now()), events);
    sample_all(events);
}

// A slot whose next token does not fit shifts its context or ends.
void Scheduler::make_room(std::vector<Event> & events) {
    for (Slot & slot : slots_) {
        if (slot.state != SlotState::DECODE || slot.n_cached() + 1 <= context_.n_ctx) {
            continue;
        }
        // The answer of an encoder-decoder model ends where its context does.
        if (slot.task->shift_context && slot.cache_spans.empty() && !slot.task->is_encoded) {
            shift_context(slot);
        } else {
            finish(slot, "length", events);
        }
    }
}

// Drops the older half of what follows the first n_keep tokens. Source: the context shift of
// llama-server.
void Scheduler::shift_context(Slot & slot) {
    const int32_t n_keep = std::min(slot.task->n_keep, slot.n_cached() - 2);
    const int32_t n_drop = std::max((slot.n_cached() - n_keep) / 2, 1);
    // Moving a cell moves it for every sequence that stands in it.
    const bool is_moved =
        memory_.can_shift() && !slot.is_shared && memory_.remove(slot.seq, n_keep, n_keep + n_drop);
    if (is_moved) {
        memory_.shift(slot.seq, n_keep + n_drop, slot.n_cached(), -n_drop);
        slot.n_exact = std::min(slot.n_exact, n_keep);
    }
    slot.cache.erase(slot.cache.begin() + n_keep, slot.cache.begin() + n_keep + n_drop);
    slot.task->dropped_tokens += n_drop;
    if (!is_moved) {
        compute_again(slot);
    }
}

// Makes a prompt of what the slot's cache is to hold, and of the token that follows.
void Scheduler::compute_again(Slot & slot) {
    memory_.clear_sequence(slot.seq);
    slot.task->prompt = std::move(slot.cache);
    slot.task->prompt.push_back(slot.task->sampled);
    slot.cache.clear();
    slot.n_exact = INT32_MAX;
    slot.is_shared = false;
    slot.state = SlotState::PREFILL;
}

void Scheduler::guess() {
    if (!speculation_) {
        return;
    }
    std::vector<Speculation::Wish> wishes;
    for (Slot & slot : slots_) {
        if (slot.state != SlotState::DECODE) {
            continue;
        }
        Task & task = *slot.task;
        task.draft.clear();
        int32_t n_max = std::min(speculation_->n_max(), context_.n_ctx - slot.n_cached() - 1);
        if (task.max_tokens >= 0) {
            n_max = std::min(n_max, task.max_tokens - task.completion_tokens - 1);
        }
        if (n_max > 0) {
            wishes.push_back({slot.seq, n_max, task.sampled, &slot.cache, &task.draft});
        }
    }
    if (!wishes.empty()) {
        speculation_->draft(wishes);
    }
}

void Scheduler::add(llama_token token, int32_t pos, int32_t seq, bool has_logits) {
    const int32_t i = batch_.n_tokens++;
    batch_.token[i] = token;
    batch_.pos[i] = pos;
    batch_.n_seq_id[i] = 1;
    batch_.seq_id[i][0] = seq;
    batch_.logits[i] = has_logits;
}

// Slots with other LoRA scales cannot share a batch: the slot that was served longest ago decides.
// Null = nobody.
const std::vector<float> * Scheduler::choose_scales() {
    const Slot * first = nullptr;
    for (Slot & slot : slots_) {
        if (is_ready(slot) && (first == nullptr || slot.last_step < first->last_step)) {
            first = &slot;
        }
    }
    return first != nullptr ? &first->task->lora_scales : nullptr;
}

// Prompt tokens, or embeddings, that this step takes beside those who decode; `room` is what its
// batch can hold.
int32_t Scheduler::prompt_budget(int32_t room) const {
    if (batch_.n_tokens == 0) {
        return room;
    }
    const int32_t quick = static_cast<int32_t>(MAX_STALL_MS / std::max(ms_per_prompt_token_, 1e-3));
    return std::min(room, std::max(quick, MIN_CHUNK_TOKENS));
}

void Scheduler::use_scales(const std::vector<float> & scales) {
    if (scales == active_scales_) {
        return;
    }
    std::vector<llama_adapter_lora *> adapters;
    std::vector<float> used;
    for (size_t i = 0; i < scales.size(); i++) {
        if (scales[i] != 0.0f) {
            adapters.push_back(model_.loras()[i].get());
            used.push_back(scales[i]);
        }
    }
    llama_set_adapters_lora(context_.get(), adapters.data(), adapters.size(), used.data());
    active_scales_ = scales;
}

void Scheduler::fill_batch() {
    batch_.n_tokens = 0;
    const std::vector<float> * scales = choose_scales();
    if (scales == nullptr) {
        return;
    }
    use_scales(*scales);
    for (Slot & slot : slots_) {
        if (slot.state == SlotState::DECODE && slot.task->lora_scales == active_scales_) {
            add_decode_tokens(slot);
        }
    }
    int32_t budget = prompt_budget(context_.n_batch - batch_.n_tokens);
    int32_t n_rows = MAX_PROMPT_ROWS;
    // Oldest request first, so that a stream of short prompts cannot hold up a long one.
    std::vector<Slot *> waiting;
    for (Slot & slot : slots_) {
        if (slot.state == SlotState::PREFILL && slot.task->lora_scales == active_scales_) {
            waiting.push_back(&slot);
        }
    }
    std::sort(waiting.begin(), waiting.end(),
              [](const Slot * a, const Slot * b) { return a->task->id < b->task->id; });
    for (Slot * slot : waiting) {
        add_prompt_chunk(*slot, budget, n_rows);
    }
}

void Scheduler::add_decode_tokens(Slot & slot) {
    Task & task = *slot.task;
    slot.last_step = n_steps_ + 1;
    slot.batch_index = batch_.n_tokens;
    const int32_t position = slot.next_position();
    add(task.sampled, position, slot.seq, true);
    for (size_t i = 0; i < task.draft.size(); i++) {
        add(task.draft[i], position + 1 + static_cast<int32_t>(i), slot.seq, true);
    }
}

// `n_rows` is how many rows of logits are left for tokens of prompts.
void Scheduler::add_prompt_chunk(Slot & slot, int32_t & budget, int32_t & n_rows) {
    Task & task = *slot.task;
    const int32_t n_prompt = static_cast<int32_t>(task.prompt.size());
    const int32_t n_left = n_prompt - slot.n_cached();
    const int32_t most = n_left <= SHORT_TOKENS ? context_.n_batch - batch_.n_tokens : budget;
    int32_t n = std::min(most, n_left);
    // Stop exactly where another slot wants to copy: a recurrent state can only be copied there.
    for (const Slot & other : slots_) {
        if (other.state == SlotState::WAITING && other.source == &slot &&
            other.n_awaited > slot.n_cached()) {
            n = std::min(n, other.n_awaited - slot.n_cached());
        }
    }
    // Embeddings go through a batch of their own, see step_media.
    for (const MediaSpan & span : task.spans) {
        if (span.end() > slot.n_cached()) {
            n = std::min(n, span.begin - slot.n_cached());
        }
    }
    if (task.is_scoring()) {
        n = std::min(n, n_rows);
        n_rows -= n;
    }
    if (n <= 0) {
        return;
    }
    budget -= n;
    slot.last_step = n_steps_ + 1;
    slot.n_prompt_added = n;
    slot.batch_begin = batch_.n_tokens;
    const int32_t position = slot.next_position();
    for (int32_t i = 0; i < n; i++) {
        const bool is_last = slot.n_cached() + i + 1 == n_prompt;
        if (is_last) {
            slot.batch_index = batch_.n_tokens;
        }
        add(task.prompt[slot.n_cached() + i], position + i, slot.seq, is_last || task.is_scoring());
    }
}

// In a shared buffer, caches that idle slots keep for reuse give way to running requests.
bool Scheduler::free_idle_cache() {
    Slot * oldest = nullptr;
    for (Slot & slot : slots_) {
        if (slot.state == SlotState::IDLE && slot.n_cached() > 0 &&
            (oldest == nullptr || slot.last_used < oldest->last_used)) {
            oldest = &slot;
        }
    }
    if (oldest == nullptr) {
        return false;
    }
    memory_.clear_sequence(oldest->seq);
    oldest->keep_cache(0);
    return true;
}

bool Scheduler::decode(std::vector<Event> & events) {
    int32_t result = llama_decode(context_.get(), batch_);
    while (result == 1 && free_idle_cache()) {
        result = llama_decode(context_.get(), batch_);
    }
    if (result == 0 && speculation_ && !speculation_->follow(batch_)) {
        result = -3;
    }
    if (result == 0) {
        return true;
    }
    for (Slot & slot : slots_) {
        if (slot.batch_index >= 0 || slot.n_prompt_added > 0) {
            fail_decode(slot, result, events);
        }
    }
    return false;
}

void Scheduler::fail_decode(Slot & slot, int32_t result, std::vector<Event> & events) {
    const std::string reason = result == 1   ? "1: no KV slot"
                               : result == 2 ? "2: aborted"
                                             : std::to_string(result) + ": compute error";
    memory_.clear_sequence(slot.seq);
    slot.keep_cache(0);
    const bool is_encoding = model_.is_encoder_decoder() && !slot.task->is_encoded;
    fail(slot, "decode_failed",
         (is_encoding ? "llama_encode failed (" : "llama_decode failed (") + reason +
             "). Try again; if it happens again, load the model with a smaller --n-ctx.",
         events);
}

void Scheduler::after_decode(double step_ms, std::vector<Event> & events) {
    int32_t n_prompt = 0;
    for (Slot & slot : slots_) {
        if (slot.n_prompt_added > 0) {
            const auto begin = slot.task->prompt.begin() + slot.n_cached();
            slot.cache.insert(slot.cache.end(), begin, begin + slot.n_prompt_added);
            n_prompt += slot.n_prompt_added;
            slot.n_prompt_added = 0;
            report_progress(slot, events);
        } else if (slot.batch_index >= 0 && slot.state == SlotState::DECODE) {
            slot.cache.push_back(slot.task->sampled);
            slot.cache.insert(slot.cache.end(), slot.task->draft.begin(), slot.task->draft.end());
        }
    }
    prompt_tokens_total_ += n_prompt;
    if (n_prompt >= MIN_CHUNK_TOKENS && 2 * n_prompt > batch_.n_tokens) {
        // The first chunk sets the scale; later ones only correct it.
        const double now = step_ms / batch_.n_tokens;
        ms_per_prompt_token_ = prompt_tokens_total_ == static_cast<uint64_t>(n_prompt)
                                   ? now
                                   : 0.7 * ms_per_prompt_token_ + 0.3 * now;
    }
}

void Scheduler::report_progress(Slot & slot, std::vector<Event> & events) {
    Task & task = *slot.task;
    const Clock::time_point now = Clock::now();
    if (slot.n_cached() >= static_cast<int32_t>(task.prompt.size()) || task.completion_tokens > 0 ||
        ms_between(task.progress_at, now) < PROGRESS_INTERVAL_MS) {
        return;
    }
    task.progress_at = now;
    Event event;
    event.kind = EventKind::PROGRESS;
    event.id = task.id;
    event.n_done = slot.n_cached();
    event.n_total = static_cast<int32_t>(task.prompt.size());
    events.push_back(std::move(event));
}

// Samples at the slot's row, and at each guess after it while the guesses turn out right. Returns
// true when the grammar allows no further token.
bool Scheduler::sample_slot(Slot & slot, const std::vector<float *> & rows,
                            std::vector<llama_token> & tokens) const {
    Task & task = *slot.task;
    const size_t n_draft = slot.state == SlotState::DECODE ? task.draft.size() : 0;
    for (size_t i = 0; i <= n_draft; i++) {
        const llama_token token = task.sampler().sample(rows[i]);
        if (token == LLAMA_TOKEN_NULL) {
            return true;
        }
        task.sampler().accept(token);
        tokens.push_back(token);
        if (i == n_draft || token != task.draft[i] || llama_vocab_is_eog(model_.vocab(), token)) {
            break;
        }
    }
    return false;
}

void Scheduler::sample_all(std::vector<Event> & events) {
    struct Row {
        Slot * slot;
        std::vector<float *> logits;
        std::vector<llama_token> tokens;
        bool is_at_end;
        std::string code;
        std::string message;
    };
    std::vector<Row> rows;
    for (Slot & slot : slots_) {
        if (slot.batch_index < 0) {
            continue;
        }
        if (slot.task->max_tokens == 0) {
            // Nobody asked for more than the prompt.
            slot.task->first_token_at = Clock::now();
            finish(slot, "length", events);
            continue;
        }
        const size_t n_draft = slot.state == SlotState::DECODE ? slot.task->draft.size() : 0;
        rows.push_back({&slot, {}, {}, false, {}, {}});
        for (size_t i = 0; i <= n_draft; i++) {
            rows.back().logits.push_back(
                llama_get_logits_ith(context_.get(), slot.batch_index + static_cast<int32_t>(i)));
        }
    }
    const int32_t n_rows = static_cast<int32_t>(rows.size());
    // The same OpenMP threads that just computed the batch are still awake. An exception must not
    // leave the region.
#pragma omp parallel for schedule(dynamic) \
    num_threads(context_.n_threads) if (n_rows >= MIN_PARALLEL_ROWS)
    for (int32_t i = 0; i < n_rows; i++) {
        try {
            rows[i].is_at_end = sample_slot(*rows[i].slot, rows[i].logits, rows[i].tokens);
        } catch (const RequestError & error) {
            rows[i].code = error.code;
            rows[i].message = error.message;
        } catch (const std::exception & error) {
            rows[i].code = "sampling_failed";
            rows[i].message = std::string("The next token could not be chosen: ") + error.what() +
                              ". Check the grammar, or answer without it.";
        }
    }
    for (Row & row : rows) {
        row.slot->batch_index = -1;
        if (!row.code.empty()) {
            fail(*row.slot, row.code, row.message, events);
        } else {
            take_tokens(*row.slot, row.tokens, row.is_at_end, row.logits, events);
        }
    }
}

// Takes sampled tokens in, one by one, until one of them ends the answer. With `is_at_end` nothing
// can follow the last of them.
void Scheduler::take_tokens(Slot & slot, const std::vector<llama_token> & tokens, bool is_at_end,
                            const std::vector<float *> & rows, std::vector<Event> & events) {
    Task & task = *slot.task;
    if (slot.state == SlotState::PREFILL) {
        slot.state = SlotState::DECODE;
        if (task.completion_tokens == 0) {
            task.first_token_at = Clock::now();
        }
        if (speculation_) {
            speculation_->begin(slot.seq, slot.cache);
        }
    } else if (speculation_) {
        // The cache holds all guesses; those after the first wrong one go.
        const int32_t n_right = static_cast<int32_t>(tokens.size()) - (is_at_end ? 0 : 1);
        const int32_t n_wrong = static_cast<int32_t>(task.draft.size()) - n_right;
        task.drafted_tokens += static_cast<int32_t>(task.draft.size());
        task.accepted_tokens += n_right;
        if (n_wrong > 0) {
            slot.cache.resize(slot.cache.size() - n_wrong);
            memory_.remove(slot.seq, slot.next_position(), -1);
        }
        if (!task.draft.empty()) {
            speculation_->accepted(slot.seq, n_right);
        }
        task.draft.clear();
    }
    task.last_token_at = Clock::now();
    for (size_t i = 0; i < tokens.size(); i++) {
        task.sampled = tokens[i];
        task.completion_tokens++;
        if (llama_vocab_is_eog(model_.vocab(), tokens[i])) {
            task.add_end(tokens[i], rows[i]);
            finish(slot, "stop", events);
            return;
        }
        if (task.add_token(tokens[i], rows[i])) {
            finish(slot, "stop", events);
            return;
        }
        if (task.max_tokens >= 0 && task.completion_tokens >= task.max_tokens) {
            finish(slot, "length", events);
            return;
        }
    }
    if (is_at_end) {
        finish(slot, "stop", events);
    }
}

}  // namespace luci
