// Encoder-decoder models: a prompt is read in one piece, and the answer begins from a token of the
// model's own. The context holds what the encoder made of one prompt, so there is one slot, and no
// cache is worth anything for another prompt.
#include "luci/scheduler.h"

namespace luci {

// The encoder sees a prompt whole or not at all; the answer has the context for itself.
bool Scheduler::fit_encoder(Task & task, std::vector<Event> & events) {
    const int32_t n_prompt = static_cast<int32_t>(task.prompt.size());
    if (n_prompt <= context_.n_ctx) {
        return true;
    }
    events.push_back(
        task.failed("context_length_exceeded",
                    "The prompt has " + std::to_string(n_prompt) +
                        " tokens and the encoder reads at most " + std::to_string(context_.n_ctx) +
                        " at once. Shorten the prompt or load the model with a larger --n-ctx."));
    return false;
}

void Scheduler::encode_prompts(std::vector<Event> & events) {
    for (Slot & slot : slots_) {
        if (slot.state != SlotState::PREFILL || slot.task->is_encoded) {
            continue;
        }
        Task & task = *slot.task;
        use_scales(task.lora_scales);
        batch_.n_tokens = 0;
        for (size_t i = 0; i < task.prompt.size(); i++) {
            add(task.prompt[i], static_cast<int32_t>(i), slot.seq, true);
        }
        const int32_t result = llama_encode(context_.get(), batch_);
        if (result != 0) {
            fail_decode(slot, result, events);
            continue;
        }
        n_steps_++;
        prompt_tokens_total_ += task.prompt.size();
        task.prompt = {model_.decoder_start()};
        task.is_encoded = true;
    }
}

}  // namespace luci
