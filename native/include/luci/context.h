// The llama_context of one engine and its memory (KV cache or recurrent state), with what it can
// and cannot do.
#pragma once

#include <cstdint>

#include "llama-cpp.h"
#include "luci/model.h"
#include "luci/types.h"

namespace luci {

// Parses "f16", "q8_0", ...; throws RequestError for a name that is no KV type.
ggml_type kv_type_from_name(const std::string & name);

// What `params` come to with this model: an encoder-decoder model has one slot, because a context
// holds what the encoder made of one prompt. Throws ModelLoadError and RequestError for what such a
// model cannot do, and ModelLoadError for one that cannot answer alone.
LoadParams params_for(const llama_model * model, LoadParams params);

// Tokens of context per slot that `params` asks for. Throws RequestError when they are more than
// the model was trained with and `params.force` is not set.
int32_t context_size(const llama_model * model, const LoadParams & params);

// Makes the context of one engine. Throws ContextError with llama.cpp's reason.
llama_context_ptr make_context(const llama_model * model, const LoadParams & params, int32_t n_ctx);

// The memory of the target and, when a draft model runs beside it, of the draft: both always hold
// the same tokens.
class Memory {
public:
    Memory() = default;
    Memory(llama_context * target, llama_context * draft);

    // Drops positions [begin, end) of a sequence; end -1 = to the end. False: this memory cannot do
    // that, and the sequence is unchanged.
    bool remove(int32_t seq, int32_t begin, int32_t end);
    void clear_sequence(int32_t seq);
    void clear_all();
    // Shared buffer: copies [0, n). Otherwise the whole sequence, whatever n is.
    void copy(int32_t from, int32_t to, int32_t n, bool is_unified);
    // Moves positions [begin, end) by delta.
    void shift(int32_t seq, int32_t begin, int32_t end, int32_t delta);
    // Oldest position that is still there; -1 = the sequence is empty.
    int32_t oldest_position(int32_t seq) const;
    bool can_shift() const;

private:
    llama_memory_t target_ = nullptr;
    llama_memory_t draft_ = nullptr;
};

class Context {
public:
    // Throws ContextError with llama.cpp's reason, RequestError for a value that cannot be used.
    Context(const Model & model, const LoadParams & params);

    llama_context * get() const { return ctx_.get(); }

    int32_t n_ctx = 0;  // tokens per slot
    int32_t n_batch = 0;
    int32_t n_threads = 0;
    bool is_unified = false;
    bool can_rewind = false;       // any tail of a sequence can be removed
    int32_t n_swa = 0;             // sliding window, 0 = none
    double kv_bytes_per_slot = 0;  // estimate, for weighing a copy against computing again

private:
    llama_context_ptr ctx_;
};

// Physical cores this process may use.
int32_t default_threads();

}  // namespace luci
