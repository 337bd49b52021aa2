#include "luci/context.h"

#include <algorithm>
#include <thread>

#include "common.h"
#include "luci/errors.h"
#include "luci/log.h"
#include "luci/prompt_logprobs.h"

#if defined(__linux__)
#include <sched.h>
#endif

namespace luci {

// With "0 = as trained", a model trained on 128k tokens would ask for gigabytes that nobody meant.
constexpr int32_t DEFAULT_N_CTX_MAX = 8192;
// llama.cpp aborts on one token, and half of a few would be nothing.
constexpr int32_t MIN_N_CTX = 8;

int32_t default_threads() {
    int32_t n = common_cpu_get_num_math();
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        n = std::min(n, static_cast<int32_t>(CPU_COUNT(&set)));
    }
#endif
    return std::max(n, 1);
}

ggml_type kv_type_from_name(const std::string & name) {
    for (const ggml_type type :
         {GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_BF16, GGML_TYPE_Q8_0, GGML_TYPE_Q4_0,
          GGML_TYPE_Q4_1, GGML_TYPE_IQ4_NL, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1}) {
        if (name == ggml_type_name(type)) {
            return type;
        }
    }
    throw RequestError("invalid_request",
                       "'" + name +
                           "' is no type of a KV cache; use f16, bf16, f32, q8_0, q5_1, q5_0, "
                           "q4_1, q4_0 or iq4_nl.");
}

static enum llama_pooling_type pooling_from_name(const std::string & name) {
    if (name == "model") {
        return LLAMA_POOLING_TYPE_UNSPECIFIED;
    }
    const std::pair<const char *, enum llama_pooling_type> known[] = {
        {"mean", LLAMA_POOLING_TYPE_MEAN},
        {"cls", LLAMA_POOLING_TYPE_CLS},
        {"last", LLAMA_POOLING_TYPE_LAST},
        {"rank", LLAMA_POOLING_TYPE_RANK}};
    for (const auto & [text, type] : known) {
        if (name == text) {
            return type;
        }
    }
    throw RequestError("invalid_request",
                       "'" + name + "' is no pooling; use model, mean, cls, last or rank.");
}

LoadParams params_for(const llama_model * model, LoadParams params) {
    if (!is_encoder_decoder(model)) {
        return params;
    }
    char architecture[64] = "";
    llama_model_meta_val_str(model, "general.architecture", architecture, sizeof(architecture));
    // llama.cpp hands the encoder's output to the decoder for this architecture alone; the others
    // with both parts guess tokens for a model beside them.
    if (std::string(architecture) != "t5") {
        throw ModelLoadError(params.model_path + " is of the architecture " + architecture +
                             ", which guesses tokens for another model and cannot answer alone. "
                             "Choose the model that it belongs to.");
    }
    const char * refused = params.embedding               ? "makes no embeddings"
                           : !params.mmproj_path.empty()  ? "takes no projector"
                           : params.speculation != "none" ? "takes no speculative decoding"
                                                          : nullptr;
    if (refused != nullptr) {
        throw ModelLoadError(params.model_path + " is an encoder-decoder model, which " + refused +
                             " in luci. Load it without.");
    }
    // The bias by distance keeps flash attention away, and llama.cpp aborts where it has to turn
    // quantized values without.
    if (ggml_is_quantized(kv_type_from_name(params.kv_type_v))) {
        throw RequestError("invalid_request",
                           "The KV cache of an encoder-decoder model cannot hold its values as " +
                               params.kv_type_v + "; use f16, bf16 or f32 for them.");
    }
    params.n_slots = 1;
    return params;
}

int32_t context_size(const llama_model * model, const LoadParams & params) {
    const int32_t trained = llama_model_n_ctx_train(model);
    if (params.n_ctx == 0) {
        return trained > 0 ? std::min(trained, DEFAULT_N_CTX_MAX) : DEFAULT_N_CTX_MAX;
    }
    if (trained > 0 && params.n_ctx > trained && !params.force) {
        throw RequestError(
            "n_ctx_beyond_training",
            "n_ctx " + std::to_string(params.n_ctx) + " is beyond the " + std::to_string(trained) +
                " tokens this model was trained with; answers would turn to noise. Use --n-ctx " +
                std::to_string(trained) + " or less, or --force.");
    }
    if (params.n_ctx < MIN_N_CTX) {
        throw RequestError("invalid_request",
                           "n_ctx " + std::to_string(params.n_ctx) +
                               " leaves no room for a prompt and an answer; use at least " +
                               std::to_string(MIN_N_CTX) + ".");
    }
    if (static_cast<int64_t>(params.n_ctx) * params.n_slots > INT32_MAX) {
        throw RequestError("invalid_request",
                           std::to_string(params.n_slots) + " slots of " +
                               std::to_string(params.n_ctx) +
                               " tokens are more than llama.cpp can number; use fewer of either.");
    }
    return params.n_ctx;
}

static llama_context_params context_params(const llama_model * model, const LoadParams & params,
                                           int32_t n_ctx) {
    llama_context_params cparams = llama_context_default_params();
    cparams.n_ctx = static_cast<uint32_t>(n_ctx) * params.n_slots;
    cparams.n_batch = params.n_batch;
    cparams.n_ubatch = std::min(params.n_ubatch, params.n_batch);
    cparams.n_seq_max = params.n_slots;
    cparams.n_threads = params.n_threads > 0 ? params.n_threads : default_threads();
    cparams.n_threads_batch = cparams.n_threads;
    cparams.type_k = kv_type_from_name(params.kv_type_k);
    cparams.type_v = kv_type_from_name(params.kv_type_v);
    cparams.kv_unified = params.kv_unified;
    cparams.swa_full = false;
    cparams.no_perf = true;
    cparams.flash_attn_type = params.flash_attention == "on"    ? LLAMA_FLASH_ATTN_TYPE_ENABLED
                              : params.flash_attention == "off" ? LLAMA_FLASH_ATTN_TYPE_DISABLED
                                                                : LLAMA_FLASH_ATTN_TYPE_AUTO;
    if (params.embedding) {
        cparams.embeddings = true;
        cparams.pooling_type = pooling_from_name(params.pooling);
        // A text is pooled over one ubatch, so it must fit into one.
        cparams.n_batch = std::max<uint32_t>(cparams.n_batch, n_ctx);
        cparams.n_ubatch = cparams.n_batch;
        cparams.kv_unified = true;
    } else if (is_encoder_decoder(model)) {
        // The encoder reads a prompt in one ubatch.
        cparams.n_batch = n_ctx;
        cparams.n_ubatch = n_ctx;
    } else {
        // Decode tokens and the last prompt token need logits, and a few more where a request asks
        // for those of its prompt; the default reserves a row for every batch token.
        const int32_t per_slot = 1 + (params.speculation == "none" ? 0 : params.draft_n_max);
        // What all slots decode in one step has to fit; llama.cpp aborts where it does not.
        cparams.n_batch = std::max(params.n_batch, params.n_slots * per_slot);
        cparams.n_outputs_max =
            std::min<uint32_t>(cparams.n_batch, params.n_slots * per_slot + MAX_PROMPT_ROWS);
    }
    return cparams;
}

llama_context_ptr make_context(const llama_model * model, const LoadParams & params,
                               int32_t n_ctx) {
    llama_context_params cparams = context_params(model, params, n_ctx);
    // llama.cpp takes a model that it may change; a context changes nothing of it.
    llama_model * shared = const_cast<llama_model *>(model);
    ErrorCapture errors;
    llama_context_ptr context(llama_init_from_model(shared, cparams));
    if (context && params.embedding &&
        llama_pooling_type(context.get()) == LLAMA_POOLING_TYPE_NONE) {
        // A file that names no pooling is a generative model; one vector per text then means the
        // mean of its tokens.
        cparams.pooling_type = LLAMA_POOLING_TYPE_MEAN;
        context.reset(llama_init_from_model(shared, cparams));
    }
    if (!context) {
        throw ContextError("A context of " + std::to_string(n_ctx) + " tokens in " +
                           std::to_string(params.n_slots) +
                           " slots could not be made: " + errors.text("not enough memory") +
                           ". Try a smaller --n-ctx or fewer slots.");
    }
    return context;
}

Context::Context(const Model & model, const LoadParams & params) {
    n_ctx = context_size(model.get(), params);
    const llama_context_params cparams = context_params(model.get(), params, n_ctx);
    ctx_ = make_context(model.get(), params, n_ctx);
    n_batch = static_cast<int32_t>(llama_n_batch(ctx_.get()));
    n_threads = cparams.n_threads;
    is_unified = cparams.kv_unified;
    n_swa = llama_model_n_swa(model.get());
    const int32_t n_head = std::max(llama_model_n_head(model.get()), 1);
    const double kv_width =
        1.0 * llama_model_n_embd(model.get()) / n_head * llama_model_n_head_kv(model.get());
    kv_bytes_per_slot = 1.0 * n_ctx * llama_model_n_layer(model.get()) * kv_width *
                        (1.0 * ggml_type_size(cparams.type_k) / ggml_blck_size(cparams.type_k) +
                         1.0 * ggml_type_size(cparams.type_v) / ggml_blck_size(cparams.type_v));
    // The test decodes, which a decoder beside an encoder cannot do before that has read something.
    if (!params.embedding && !model.is_encoder_decoder()) {
        can_rewind = common_context_can_seq_rm(ctx_.get()) == COMMON_CONTEXT_SEQ_RM_TYPE_PART;
    }
}

Memory::Memory(llama_context * target, llama_context * draft)
    : target_(llama_get_memory(target)),
      draft_(draft != nullptr ? llama_get_memory(draft) : nullptr) {
}

bool Memory::remove(int32_t seq, int32_t begin, int32_t end) {
    if (!llama_memory_seq_rm(target_, seq, begin, end)) {
        return false;
    }
    // A draft that cannot be rewound is refused when it is loaded.
    return draft_ == nullptr || llama_memory_seq_rm(draft_, seq, begin, end);
}

void Memory::clear_sequence(int32_t seq) {
    remove(seq, -1, -1);
}

void Memory::clear_all() {
    llama_memory_clear(target_, false);
    if (draft_ != nullptr) {
        llama_memory_clear(draft_, false);
    }
}

void Memory::copy(int32_t from, int32_t to, int32_t n, bool is_unified) {
    const int32_t begin = is_unified ? 0 : -1;
    const int32_t end = is_unified ? n : -1;
    llama_memory_seq_cp(target_, from, to, begin, end);
    if (draft_ != nullptr) {
        llama_memory_seq_cp(draft_, from, to, begin, end);
    }
}

void Memory::shift(int32_t seq, int32_t begin, int32_t end, int32_t delta) {
    llama_memory_seq_add(target_, seq, begin, end, delta);
    if (draft_ != nullptr) {
        llama_memory_seq_add(draft_, seq, begin, end, delta);
    }
}

int32_t Memory::oldest_position(int32_t seq) const {
    return llama_memory_seq_pos_min(target_, seq);
}

bool Memory::can_shift() const {
    return llama_memory_can_shift(target_) && (draft_ == nullptr || llama_memory_can_shift(draft_));
}

}  // namespace luci
