#include "luci/memory.h"

#include <algorithm>

// llama.cpp's own way to ask for the sizes of its buffers stands in a header of its sources.
#include "../src/llama-ext.h"
#include "luci/context.h"
#include "luci/errors.h"
#include "luci/log.h"
#include "luci/model.h"

namespace luci {

// What llama_context::output_reserve, which is private to llama.cpp, allocates in the end: one row
// of logits per sequence, or, for embeddings and for what an encoder hands to its decoder, a row of
// logits and a vector for each token of a batch.
static uint64_t output_bytes(const llama_context * context, const LoadParams & params) {
    const llama_model * model = llama_get_model(context);
    uint64_t width = llama_vocab_n_tokens(llama_model_get_vocab(model));
    uint64_t n_rows = llama_n_seq_max(context);
    if (params.embedding || is_encoder_decoder(model)) {
        width += llama_model_n_embd_out(model);
        n_rows = std::max<uint64_t>(n_rows, llama_n_batch(context));
    }
    return width * n_rows * sizeof(float);
}

// Memory of the CPU that is not plain host memory is a layout of its own.
static bool is_of_cpu(ggml_backend_buffer_type_t type) {
    ggml_backend_dev_t device = ggml_backend_buft_get_device(type);
    return device != nullptr && ggml_backend_dev_type(device) == GGML_BACKEND_DEVICE_TYPE_CPU;
}

std::vector<BufferMemory> memory_of(const llama_context * context, const LoadParams & params) {
    std::vector<BufferMemory> buffers;
    for (const auto & [type, size] : llama_get_memory_breakdown(context)) {
        BufferMemory buffer;
        buffer.name = ggml_backend_buft_name(type);
        buffer.is_host = ggml_backend_buft_is_host(type);
        buffer.is_repacked = !buffer.is_host && is_of_cpu(type);
        buffer.weights_bytes = size.model;
        buffer.state_bytes = size.context;
        buffer.compute_bytes = size.compute;
        buffers.push_back(buffer);
    }
    BufferMemory output;
    output.name = "output";
    output.output_bytes = output_bytes(context, params);
    buffers.push_back(output);
    return buffers;
}

std::vector<BufferMemory> plan_memory(const LoadParams & params) {
    init_backend();
    const llama_model_ptr model = load_model_file(params.model_path, params, nullptr, true);
    const LoadParams taken = params_for(model.get(), params);
    const int32_t n_ctx = context_size(model.get(), taken);
    const llama_context_ptr context = make_context(model.get(), taken, n_ctx);
    return memory_of(context.get(), taken);
}

}  // namespace luci
