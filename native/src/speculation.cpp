#include "luci/speculation.h"

#include "luci/errors.h"
#include "luci/log.h"

namespace luci {

// Tokens that must repeat before what followed them last time is proposed.
constexpr uint16_t NGRAM_MATCH_TOKENS = 4;

Speculation::Speculation(const Model & model, const Context & context, const LoadParams & params)
    : n_max_(params.draft_n_max), target_(context.get()) {
    if (!context.can_rewind) {
        throw ModelLoadError("Speculative decoding needs a memory that can be rewound, and the " +
                             model.metadata("general.architecture") +
                             " architecture keeps a running state. Load it without speculation.");
    }
    params_.draft.n_max = n_max_;
    if (params.speculation == "ngram") {
        params_.types = {COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE};
        params_.ngram_simple.size_n = NGRAM_MATCH_TOKENS;
        params_.ngram_simple.size_m = static_cast<uint16_t>(n_max_);
    } else if (params.speculation == "draft") {
        draft_model_ = load_model_file(params.draft_model_path, params, nullptr);
        if (llama_model_has_encoder(draft_model_.get())) {
            throw ModelLoadError(
                "The draft model " + params.draft_model_path +
                " reads with an encoder first; use a decoder-only model as draft.");
        }
        llama_context_params cparams = llama_context_default_params();
        cparams.n_ctx = llama_n_ctx(target_);
        cparams.n_batch = llama_n_batch(target_);
        cparams.n_ubatch = llama_n_ubatch(target_);
        cparams.n_seq_max = llama_n_seq_max(target_);
        cparams.n_threads = context.n_threads;
        cparams.n_threads_batch = context.n_threads;
        cparams.kv_unified = context.is_unified;
        cparams.no_perf = true;
        draft_context_.reset(llama_init_from_model(draft_model_.get(), cparams));
        if (!draft_context_) {
            throw ModelLoadError(
                "The draft model " + params.draft_model_path +
                " got no context; there may be too little memory for both models.");
        }
        if (common_context_can_seq_rm(draft_context_.get()) != COMMON_CONTEXT_SEQ_RM_TYPE_PART) {
            throw ModelLoadError(
                "The draft model " + params.draft_model_path +
                " keeps a running state that cannot be rewound; use a transformer as draft.");
        }
        params_.types = {COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE};
        params_.draft.mparams.path = params.draft_model_path;
        params_.draft.ctx_tgt = target_;
        params_.draft.ctx_dft = draft_context_.get();
        params_.draft.backend_sampling = false;
    } else {
        throw RequestError(
            "invalid_request",
            "'" + params.speculation + "' is no kind of speculation; use none, ngram or draft.");
    }
    ErrorCapture errors;
    try {
        speculative_.reset(common_speculative_init(params_, llama_n_seq_max(target_)));
    } catch (const std::exception & error) {
        throw ModelLoadError(std::string("Speculative decoding could not be set up: ") +
                             error.what() + ". Load the model without it.");
    }
    if (!speculative_) {
        throw ModelLoadError("Speculative decoding could not be set up: " +
                             errors.text("the draft model does not fit this model") +
                             ". Load the model without it.");
    }
}

void Speculation::begin(int32_t seq, const std::vector<llama_token> & tokens) {
    common_speculative_begin(speculative_.get(), seq, tokens);
}

void Speculation::draft(const std::vector<Wish> & wishes) {
    for (const Wish & wish : wishes) {
        common_speculative_draft_params & slot =
            common_speculative_get_draft_params(speculative_.get(), wish.seq);
        slot.drafting = true;
        slot.n_max = wish.n_max;
        slot.pos0 = static_cast<llama_pos>(wish.tokens->size());
        slot.id_last = wish.last;
        slot.prompt = wish.tokens;
        slot.result = wish.result;
    }
    common_speculative_draft(speculative_.get());
    for (const Wish & wish : wishes) {
        if (static_cast<int32_t>(wish.result->size()) > wish.n_max) {
            wish.result->resize(wish.n_max);
        }
        if (draft_context_) {
            // The draft model left its guesses in its own cache; `follow` computes what really is
            // decoded.
            llama_memory_seq_rm(llama_get_memory(draft_context_.get()), wish.seq,
                                static_cast<llama_pos>(wish.tokens->size()), -1);
        }
    }
}

bool Speculation::follow(const llama_batch & batch) {
    common_batch copy(target_);
    for (int32_t i = 0; i < batch.n_tokens; i++) {
        copy.add(batch.token[i], batch.pos[i], batch.seq_id[i][0], batch.logits[i] != 0);
    }
    return common_speculative_process(speculative_.get(), copy);
}

void Speculation::accepted(int32_t seq, int32_t n_accepted) {
    common_speculative_accept(speculative_.get(), seq, static_cast<uint16_t>(n_accepted));
}

}  // namespace luci
