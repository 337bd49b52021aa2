// One accepted request on its way through the scheduler.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "luci/chat.h"
#include "luci/media.h"
#include "luci/sampler.h"
#include "luci/text_stream.h"
#include "luci/types.h"

namespace luci {

using Clock = std::chrono::steady_clock;

inline double ms_between(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
}

class Task {
public:
    // Renders, tokenizes and builds the sampler. Throws RequestError for what can be seen at once.
    Task(uint64_t id, const Request & request, const Model & model, const Chat & chat,
         const std::vector<float> & default_lora_scales);

    uint64_t id;
    std::vector<llama_token> prompt;  // to compute; a context that was full puts its rest here
    std::vector<MediaPiece> media;    // in the order of their places in the prompt
    std::vector<MediaSpan> spans;     // their places
    int32_t prompt_tokens = 0;        // as the request came, without those that did not fit
    std::vector<float> lora_scales;   // one per adapter of the model
    Sampler & sampler() { return *sampler_; }
    // True while the prompt is computed for a request that asked for its probabilities.
    bool is_scoring() const { return has_prompt_logprobs && completion_tokens == 0; }

    int32_t max_tokens;
    int32_t n_keep;
    bool shift_context;
    bool
        cache_prompt;  // false also where every token of the prompt needs its logits, or an encoder
    bool is_encoded =
        false;  // an encoder has read the prompt; `prompt` is what the answer begins from
    bool has_prompt_logprobs;
    int32_t delivery_ms;
    int32_t n_logprobs;

    llama_token sampled = LLAMA_TOKEN_NULL;  // chosen, not yet in the cache
    std::vector<llama_token> draft;          // guesses that follow `sampled` in this step's batch

    int32_t cached_tokens = 0;
    int32_t completion_tokens = 0;
    int32_t dropped_tokens = 0;
    int32_t drafted_tokens = 0;
    int32_t accepted_tokens = 0;
    Clock::time_point submitted_at = Clock::now();
    Clock::time_point admitted_at;
    Clock::time_point prefill_at;
    Clock::time_point first_token_at;  // where none was asked for, when the prompt was computed
    Clock::time_point last_token_at;
    Clock::time_point progress_at;

    // The piece that the n-th entry of the prompt belongs to; null = it is a token.
    MediaPiece * media_at(int32_t n);

    // The prompt's token at `position` with its probability, from the logits of the token before
    // it; null for the first one.
    PromptLogprob prompt_logprob(int32_t position, const float * logits) const;

    // Takes the token that ends the answer. It has no text, but a request that asked for all
    // probabilities gets this one too.
    void add_end(llama_token token, const float * logits);
    // Takes one generated token into the text. Returns true when a stop string is complete.
    bool add_token(llama_token token, const float * logits);

    bool has_pending() const { return !pending_.tokens.empty(); }
    // What may leave now; text can be empty while a character or stop string is incomplete.
    Event take_delta();
    // The rest of the text; the answer ends with it.
    Event take_last_delta();
    Event done(const std::string & finish_reason) const;
    Event failed(const std::string & code, const std::string & message) const;
    bool has_tool_calls() const { return parser_ && parser_->has_tool_calls(); }

private:
    const Model & model_;
    std::unique_ptr<Sampler> sampler_;
    std::unique_ptr<ChatParser> parser_;
    std::vector<llama_token> preserved_tokens_;
    std::vector<int32_t> prompt_offsets_;
    TextStream stream_;
    Event pending_;
};

}  // namespace luci
