// Make an importance matrix: how strongly a text drives each column of each weight of a model.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "luci/errors.h"

namespace luci {

struct ImatrixParams {
    std::string model_path;
    std::string text;     // any bytes; what does not fill a last chunk is left out
    std::string dataset;  // name of the text, written into the file
    std::string out_path;
    int32_t n_ctx = 512;    // tokens of a chunk
    int32_t n_chunks = 0;   // most chunks to use, 0 = all
    int32_t n_threads = 0;  // 0 = one per physical core
    int32_t n_gpu_layers = 0;
};

struct ImatrixSummary {
    int32_t n_chunks = 0;
    int32_t n_entries = 0;          // weights with data
    int32_t n_partial_entries = 0;  // of these, mixtures with an expert that saw no token
};

// Shared with a running make_imatrix() from another thread.
struct ImatrixProgress {
    std::atomic<int32_t> n_done{0};   // chunks
    std::atomic<int32_t> n_total{0};  // 0 until the text is tokenized
    std::atomic<bool> cancelled{false};
};

// Runs the text through the model and writes `out_path` as a GGUF file in the format that
// llama.cpp reads. Nothing is synced. Throws QuantizeError or ModelLoadError; `out_path` is then
// the caller's to remove.
ImatrixSummary make_imatrix(const ImatrixParams & params, ImatrixProgress & progress);

}  // namespace luci
