// Puts all requests of one model through one llama_decode per step.
//
// A step: carry out cancels, give idle slots to queued requests, let speculation guess, fill one
// batch (decode tokens first, then prompt chunks), decode it, sample for every slot that got
// logits; then the embeddings of one image or sound that are ready. While somebody decodes, prompt
// chunks are kept so short that a step stays under a tenth of a second: a long prompt never stalls
// other streams.
#pragma once

#include <deque>
#include <memory>
#include <vector>

#include "luci/chat.h"
#include "luci/context.h"
#include "luci/prefix.h"
#include "luci/slot.h"
#include "luci/speculation.h"

namespace luci {

class Scheduler {
public:
    // `projector` may be null: then no prompt holds media.
    Scheduler(const Model & model, Context & context, const Chat & chat, Projector * projector,
              const LoadParams & params);
    ~Scheduler();

    // All methods: one thread.
    void submit(std::unique_ptr<Task> task);
    void cancel(uint64_t id);
    bool has_work() const;

    // One step. What ended is in `events` at once; running text waits for deliver().
    void step(std::vector<Event> & events);

    // Deltas of all requests that have something to say; first tokens are always due, others when
    // `now` is past the interval.
    void deliver(std::vector<Event> & events, bool only_first_tokens);
    // Smallest delivery interval of the running requests.
    int32_t delivery_ms() const;

    EngineStatus status() const;
    std::vector<Slot> & slots() { return slots_; }
    Memory & memory() { return memory_; }
    const std::vector<float> & default_lora_scales() const { return default_lora_scales_; }

private:
    void admit(std::vector<Event> & events);
    bool fit_prompt(Task & task, std::vector<Event> & events);
    bool fit_encoder(Task & task, std::vector<Event> & events);
    void start(Slot & slot, std::unique_ptr<Task> task, const PrefixPlan & plan);
    void begin_prefill(Slot & slot, int32_t n_reused);
    void wake_waiting();
    void guess();
    void make_room(std::vector<Event> & events);
    void shift_context(Slot & slot);
    void compute_again(Slot & slot);
    void use_scales(const std::vector<float> & scales);
    void fill_batch();
    void add_decode_tokens(Slot & slot);
    void add_prompt_chunk(Slot & slot, int32_t & budget, int32_t & n_rows);
    int32_t prompt_budget(int32_t room) const;
    const std::vector<float> * choose_scales();
    void add(llama_token token, int32_t pos, int32_t seq, bool has_logits);
    void step_tokens(std::vector<Event> & events);
    bool decode(std::vector<Event> & events);
    void fail_decode(Slot & slot, int32_t result, std::vector<Event> & events);
    void encode_prompts(std::vector<Event> & events);
    void step_media(std::vector<Event> & events);
    void decode_media(Slot & slot, MediaPiece & piece, std::vector<Event> & events);
    MediaPiece * next_media(Slot & slot) const;
    bool is_ready(Slot & slot) const;
    bool free_idle_cache();
    void after_decode(double step_ms, std::vector<Event> & events);
    void report_progress(Slot & slot, std::vector<Event> & events);
    void score_prompts(std::vector<Event> & events);
    void sample_all(std::vector<Event> & events);
    bool sample_slot(Slot & slot, const std::vector<float *> & rows,
                     std::vector<llama_token> & tokens) const;
    void take_tokens(Slot & slot, const std::vector<llama_token> & tokens, bool is_at_end,
                     const std::vector<float *> & rows, std::vector<Event> & events);
    void finish(Slot & slot, const std::string & reason, std::vector<Event> & events);
    void fail(Slot & slot, const std::string & code, const std::string & message,
              std::vector<Event> & events);
    void release(Slot & slot);

    const Model & model_;
    Context & context_;
    const Chat & chat_;
    Projector * projector_;
    std::unique_ptr<Speculation> speculation_;
    Memory memory_;
    std::vector<Slot> slots_;
    std::deque<std::unique_ptr<Task>> queue_;
    std::vector<uint64_t> cancelled_;
    std::vector<float> default_lora_scales_;
    std::vector<float> active_scales_;
    llama_batch batch_{};
    uint64_t n_steps_ = 0;
    uint64_t prompt_tokens_total_ = 0;
    uint64_t cached_tokens_total_ = 0;
    uint64_t completion_tokens_total_ = 0;
    double ms_per_prompt_token_ = 1.0;  // running average
};

}  // namespace luci
