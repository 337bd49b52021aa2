// What a model and its context take of each kind of memory: as it was allocated, or as it would be.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "llama.h"
#include "luci/types.h"

namespace luci {

// Bytes in one kind of buffer, such as "CPU", "CPU_REPACK" or "CUDA0".
struct BufferMemory {
    std::string name;
    bool is_host = true;
    bool is_repacked = false;    // weights that the CPU back end has rearranged
    uint64_t weights_bytes = 0;  // tensors; for a memory-mapped file the range that is mapped
    uint64_t state_bytes = 0;    // KV cache and recurrent state of all slots
    uint64_t compute_bytes = 0;  // what the largest graph needs between its operations
    uint64_t output_bytes = 0;   // logits and embeddings of one step; what it may grow to
};

// The buffers of a context that is there and was made for `params`.
std::vector<BufferMemory> memory_of(const llama_context * context, const LoadParams & params);

// The buffers that loading `params` would allocate, without reading a weight: llama.cpp loads the
// header and measures its graphs. LoRA adapters and a draft model are not in it.
// Throws ModelLoadError, ContextError, RequestError.
std::vector<BufferMemory> plan_memory(const LoadParams & params);

}  // namespace luci
