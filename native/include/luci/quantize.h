// Quantize a model file into another one with llama.cpp, with a plan before and progress meanwhile.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "luci/errors.h"

namespace luci {

// A quant type of whole files, as `--type` names it.
struct QuantizeType {
    std::string name;
    int32_t ftype;           // llama_ftype
    double bits_per_weight;  // of a whole 8B model, or of one tensor where nobody measured that
    std::string alias_of;    // "" unless it is a second name of another type
    std::string description;
};

// Every type that this llama.cpp writes, from few bits to many, COPY last.
const std::vector<QuantizeType> & quantize_types();

// Names of the types that a single tensor can be made, in ggml's spelling ("q4_K", "f16").
std::vector<std::string> quantize_tensor_types();

// The mean squared activations of one weight's columns: ne[0] values for each of its experts.
struct ImatrixEntry {
    std::string name;
    std::vector<float> values;
};

struct QuantizeParams {
    std::vector<std::string> sources;  // the shards in order; llama.cpp opens the first
    std::string destination;           // with keep_split the path without "-00001-of-00002.gguf"
    std::string type;                  // of quantize_types()
    std::vector<std::pair<std::string, std::string>> tensor_types;  // (regular expression, type)
    std::string output_type;        // of output.weight; "" = as the type says
    std::string embedding_type;     // of token_embd.weight; "" = as the type says
    bool pure = false;              // every tensor in the type's own, no mixture
    bool leave_output = false;      // output.weight stays as it is
    bool allow_requantize = false;  // otherwise a quantized tensor is not converted
    bool keep_split = false;        // as many shards as the source has
    int32_t n_threads = 0;          // 0 = one per CPU this process may use
    std::vector<ImatrixEntry> imatrix;
    std::string imatrix_path;     // these three are written into the file, as llama-quantize does
    std::string imatrix_dataset;  // "" = not known
    int32_t imatrix_chunks = 0;   // 0 = not known
};

struct TensorPlan {
    std::string name;
    std::vector<int64_t> shape;  // ggml's order: the row length first
    std::string source_type;
    std::string target_type;
    std::string
        refused_type;  // what the shape does not allow, so that target_type stands in; or ""
    int64_t source_bytes = 0;
    int64_t target_bytes = 0;
    bool needs_imatrix = false;  // llama.cpp refuses, or aborts, without data for it
};

struct QuantizePlan {
    std::vector<TensorPlan> tensors;
    std::vector<int64_t> file_bytes;  // exact size of each file that quantize() would write
    int64_t n_params = 0;
    int64_t source_bytes = 0;  // of all tensors
    int64_t target_bytes = 0;
};

// Shared with a running quantize() from another thread.
struct QuantizeProgress {
    std::atomic<int32_t> n_done{0};      // tensors
    std::atomic<int32_t> n_total{0};     // 0 until the source is read
    std::atomic<int64_t> bytes_done{0};  // of the source
    std::atomic<int64_t> bytes_total{0};
    std::atomic<bool> cancelled{false};  // set it to end the work before the next tensor

    std::string tensor() const;  // name of the one in work
    void set_tensor(const std::string & name);

private:
    mutable std::mutex mutex_;
    std::string tensor_;
};

// Reads the source's header only and says what quantize() would write. `destination` is not used.
// The imatrix counts: some types depend on whether there is one. Throws QuantizeError.
QuantizePlan plan_quantize(const QuantizeParams & params);

// Writes `destination`, over a file of that name. What is there after an error or a cancel is of no
// use and is the caller's to remove. Nothing is synced. Throws QuantizeError.
void quantize(const QuantizeParams & params, QuantizeProgress & progress);

}  // namespace luci
