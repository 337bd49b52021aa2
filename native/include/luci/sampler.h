// One request's sampler chain with its grammar.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common.h"
#include "llama-cpp.h"
#include "luci/errors.h"
#include "luci/model.h"
#include "luci/types.h"

namespace luci {

// What constrains the answer: a grammar of the user's, or the one a chat template needs for tool
// calls.
struct GrammarSpec {
    std::string gbnf;      // empty = none
    bool is_lazy = false;  // begins with the first trigger
    std::vector<common_grammar_trigger> triggers;
    std::string generation_prompt;  // part of the answer that stands in the prompt already; the
                                    // grammar is fed it first
};

// The user's grammar or JSON schema as GBNF. Throws RequestError("invalid_grammar" |
// "invalid_schema").
GrammarSpec user_grammar(const SamplingParams & params);

// What a row of logits that nothing can be chosen from is answered with.
RequestError unusable_logits();

class Sampler {
public:
    // Throws RequestError for values out of range and for a grammar that does not parse.
    Sampler(const Model & model, const SamplingParams & params, const GrammarSpec & grammar);

    // The next token for one row of n_vocab logits. Logit bias is written into the row.
    // LLAMA_TOKEN_NULL = the grammar allows nothing but the end, which may not be chosen.
    // Throws RequestError("nan_logits") when the row holds a NaN, an infinity or nothing that can
    // be chosen. Several Samplers may sample at once, each from its own row.
    llama_token sample(float * logits);

    // Takes the token into penalties, DRY and the grammar.
    void accept(llama_token token);

    // Takes a prompt token into penalties and DRY, not into the grammar.
    void accept_prompt(llama_token token);

    // Log-probability of `token`, at least -9999, and of the most likely others. NaN = the row
    // holds a NaN or an infinity. Any number of threads.
    TokenLogprob logprob(const float * logits, llama_token token) const;

    uint32_t seed() const { return seed_; }

private:
    void build_chain(const SamplingParams & params);
    void build_grammar(const GrammarSpec & spec);
    llama_token pick(const float * logits, bool with_grammar);
    llama_token pick_greedy(const float * logits) const;
    bool may_grammar_end() const;

    const Model & model_;
    llama_sampler_ptr chain_;
    llama_sampler_ptr grammar_;  // null = none
    std::vector<std::pair<llama_token, float>> bias_;
    std::vector<llama_token_data> candidates_;
    int32_t n_logprobs_ = 0;
    uint32_t seed_ = 0;
    // With only truncation after top-k in the chain, candidates are chosen straight from the
    // logits; -1 = all are needed.
    int32_t preselect_k_ = -1;
    bool is_greedy_ = false;  // the chain is nothing but argmax
    bool needs_history_ = false;
};

}  // namespace luci
