// Who gets a slot, with which part of its prompt already computed, and how a request ends. The step
// itself is in scheduler_step.cpp.
#include "luci/scheduler.h"

#include <algorithm>

#include "luci/errors.h"

namespace luci {

const char * slot_state_name(SlotState state) {
    switch (state) {
        case SlotState::IDLE:
            return "idle";
        case SlotState::WAITING:
            return "waiting";
        case SlotState::PREFILL:
            return "prefill";
        case SlotState::DECODE:
            return "decode";
    }
    return "idle";
}

Scheduler::Scheduler(const Model & model, Context & context, const Chat & chat,
                     Projector * projector, const LoadParams & params)
    : model_(model), context_(context), chat_(chat), projector_(projector) {
    if (params.speculation != "none") {
        if (projector != nullptr) {
            throw ModelLoadError(
                "Speculative decoding cannot guess after an image or a sound. Load the model "
                "without a projector, or without speculation.");
        }
        speculation_ = std::make_unique<Speculation>(model, context, params);
    }
    memory_ = Memory(context.get(), speculation_ ? speculation_->draft_context() : nullptr);
    slots_.resize(params.n_slots);
    for (int32_t i = 0; i < params.n_slots; i++) {
        slots_[i].seq = i;
    }
    for (const LoraSpec & lora : params.loras) {
        default_lora_scales_.push_back(lora.scale);
    }
    batch_ = llama_batch_init(context.n_batch, 0, 1);
}

Scheduler::~Scheduler() {
    llama_batch_free(batch_);
}

void Scheduler::submit(std::unique_ptr<Task> task) {
    queue_.push_back(std::move(task));
}

void Scheduler::cancel(uint64_t id) {
    cancelled_.push_back(id);
}

bool Scheduler::has_work() const {
    return !queue_.empty() || !cancelled_.empty() ||
           std::any_of(slots_.begin(), slots_.end(),
                       [](const Slot & slot) { return slot.task != nullptr; });
}

EngineStatus Scheduler::status() const {
    EngineStatus status;
    for (const Slot & slot : slots_) {
        status.slots.emplace_back(slot.seq, slot_state_name(slot.state), slot.n_cached());
        status.n_active += slot.task != nullptr;
    }
    status.n_queued = static_cast<int32_t>(queue_.size());
    status.n_steps = n_steps_;
    status.prompt_tokens_total = prompt_tokens_total_;
    status.cached_tokens_total = cached_tokens_total_;
    status.completion_tokens_total = completion_tokens_total_;
    return status;
}

void Scheduler::admit(std::vector<Event> & events) {
    while (!queue_.empty()) {
        if (!fit_prompt(*queue_.front(), events)) {
            queue_.pop_front();
            continue;
        }
        const PrefixPlan plan =
            plan_prefix(slots_, *queue_.front(), context_, memory_, ms_per_prompt_token_);
        if (plan.target == nullptr) {
            return;
        }
        std::unique_ptr<Task> task = std::move(queue_.front());
        queue_.pop_front();
        start(*plan.target, std::move(task), plan);
    }
}

// A prompt beyond the context is refused, or shortened in its middle when the request allows it.
bool Scheduler::fit_prompt(Task & task, std::vector<Event> & events) {
    const int32_t n_prompt = static_cast<int32_t>(task.prompt.size());
    if (model_.is_encoder_decoder()) {
        return fit_encoder(task, events);
    }
    const int32_t n_needed = task.max_tokens == 0 ? 0 : 1;
    if (n_prompt + n_needed <= context_.n_ctx) {
        return true;
    }
    // A shift could cut an image in two.
    if (!task.shift_context || task.has_prompt_logprobs || !task.media.empty()) {
        events.push_back(
            task.failed("context_length_exceeded",
                        "The prompt has " + std::to_string(n_prompt) + " tokens and the context " +
                            std::to_string(context_.n_ctx) + ", of which " +
                            std::to_string(n_needed) + " is needed to answer. " +
                            "Shorten the prompt or load the model with a larger --n-ctx."));
        return false;
    }
    // A quarter of the context is left for the answer, less when the answer is limited.
    const int32_t quarter = std::max(context_.n_ctx / 4, 1);
    const int32_t n_answer = task.max_tokens > 0 ? std::min(task.max_tokens, quarter) : quarter;
    const int32_t n_fit = context_.n_ctx - n_answer;
    const int32_t n_head = std::min(task.n_keep, n_fit - 1);
    const int32_t n_dropped = n_prompt - n_fit;
    task.prompt.erase(task.prompt.begin() + n_head, task.prompt.begin() + n_head + n_dropped);
    task.dropped_tokens += n_dropped;
    task.prompt_tokens -= n_dropped;
    return true;
}

void Scheduler::start(Slot & slot, std::unique_ptr<Task> task, const PrefixPlan & plan) {
    task->admitted_at = Clock::now();
    task->progress_at = task->admitted_at;
    slot.task = std::move(task);
    slot.source = plan.source;
    slot.n_awaited = plan.n_tokens;
    if (plan.source != nullptr && plan.must_wait) {
        // Its old tokens go now: in a shared buffer the prefix then takes their place instead of
        // one behind them.
        memory_.clear_sequence(slot.seq);
        slot.keep_cache(0);
        slot.state = SlotState::WAITING;
        return;
    }
    if (plan.source != nullptr) {
        const bool is_copied = copy_prefix(*plan.source, slot, plan.n_tokens, context_, memory_);
        begin_prefill(slot, is_copied ? plan.n_tokens : 0);
        return;
    }
    begin_prefill(slot, plan.n_tokens);
}

// Cuts the slot's cache to the part that is reused and lets the rest of the prompt be computed.
void Scheduler::begin_prefill(Slot & slot, int32_t n_reused) {
    Task & task = *slot.task;
    slot.source = nullptr;
    if (n_reused == 0 || !memory_.remove(slot.seq, position_of(task.spans, n_reused), -1)) {
        memory_.clear_sequence(slot.seq);
        n_reused = 0;
        slot.is_shared = false;
    }
    slot.keep_cache(n_reused);
    slot.n_exact = INT32_MAX;
    for (MediaPiece & piece : task.media) {
        if (piece.span.begin >= n_reused) {
            piece.encoding = projector_->encode(piece);
        }
    }
    slot.cache_scales = task.lora_scales;
    slot.state = SlotState::PREFILL;
    task.cached_tokens = n_reused;
    task.prefill_at = Clock::now();
    cached_tokens_total_ += n_reused;
}

// Lets waiting slots go on whose prefix is there, or whose source will never have it.
void Scheduler::wake_waiting() {
    for (Slot & slot : slots_) {
        if (slot.state != SlotState::WAITING) {
            continue;
        }
        const bool is_there =
            slot.source->n_cached() >= slot.n_awaited &&
            slot.source->cache_scales == slot.task->lora_scales &&
            common_prefix(slot.source->cache, slot.task->prompt) >= slot.n_awaited;
        if (is_there) {
            const bool is_copied =
                copy_prefix(*slot.source, slot, slot.n_awaited, context_, memory_);
            begin_prefill(slot, is_copied ? slot.n_awaited : 0);
        } else if (slot.source->state != SlotState::PREFILL) {
            // The source ended early. Plan again from the front of the queue, as the request had
            // its turn already.
            queue_.push_front(std::move(slot.task));
            slot.source = nullptr;
            slot.state = SlotState::IDLE;
        }
    }
}

void Scheduler::finish(Slot & slot, const std::string & reason, std::vector<Event> & events) {
    Task & task = *slot.task;
    Event rest = task.take_last_delta();
    if (!rest.text.empty() || !rest.reasoning.empty() || !rest.tool_calls.empty() ||
        !rest.tokens.empty() || !rest.logprobs.empty()) {
        events.push_back(std::move(rest));
    }
    events.push_back(task.done(reason == "stop" && task.has_tool_calls() ? "tool_calls" : reason));
    completion_tokens_total_ += task.completion_tokens;
    release(slot);
}

void Scheduler::fail(Slot & slot, const std::string & code, const std::string & message,
                     std::vector<Event> & events) {
    Event rest = slot.task->take_last_delta();
    if (!rest.tokens.empty()) {
        events.push_back(std::move(rest));
    }
    events.push_back(slot.task->failed(code, message));
    release(slot);
}

void Scheduler::release(Slot & slot) {
    slot.task.reset();
    slot.source = nullptr;
    slot.state = SlotState::IDLE;
    slot.batch_index = -1;
    slot.n_prompt_added = 0;
    slot.last_used = Clock::now();
}

void Scheduler::deliver(std::vector<Event> & events, bool only_first_tokens) {
    for (Slot & slot : slots_) {
        if (!slot.task || !slot.task->has_pending()) {
            continue;
        }
        if (only_first_tokens && slot.task->completion_tokens > 1) {
            continue;
        }
        events.push_back(slot.task->take_delta());
    }
}

int32_t Scheduler::delivery_ms() const {
    int32_t least = 1000;
    for (const Slot & slot : slots_) {
        if (slot.task) {
            least = std::min(least, slot.task->delivery_ms);
        }
    }
    return least;
}

}  // namespace luci
