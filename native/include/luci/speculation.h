// Guesses tokens ahead of the model through llama-common: n-gram lookup in the text so far, or a
// small draft model. The one file of luci that knows llama-common's speculative code.
#pragma once

#include <vector>

#include "common.h"
#include "luci/context.h"
#include "luci/model.h"
#include "speculative.h"

namespace luci {

class Speculation {
public:
    // Throws ModelLoadError for a draft model that cannot be used with this model, RequestError for
    // an unknown kind.
    Speculation(const Model & model, const Context & context, const LoadParams & params);

    // Null without a draft model.
    llama_context * draft_context() const { return draft_context_.get(); }
    int32_t n_max() const { return n_max_; }

    // Call when a slot starts to generate; `tokens` are those in its cache.
    void begin(int32_t seq, const std::vector<llama_token> & tokens);

    struct Wish {
        int32_t seq;
        int32_t n_max;                            // most tokens to guess
        llama_token last;                         // sampled, not yet in the cache
        const std::vector<llama_token> * tokens;  // in the cache
        std::vector<llama_token> * result;
    };
    // Fills each wish's result, maybe with nothing.
    void draft(const std::vector<Wish> & wishes);

    // The batch as it was given to llama_decode, for the draft model to follow. False: the draft
    // model failed.
    bool follow(const llama_batch & batch);

    void accepted(int32_t seq, int32_t n_accepted);

private:
    int32_t n_max_ = 0;
    llama_context * target_ = nullptr;
    llama_model_ptr draft_model_;
    llama_context_ptr draft_context_;
    common_params_speculative params_;
    common_speculative_ptr speculative_;
};

}  // namespace luci
