// What a model's tensors must be for its metadata: M07 and M08.
#include <algorithm>
#include <charconv>
#include <vector>

#include "luci/gguf/rules.h"

namespace luci::gguf {

namespace {

constexpr int64_t MAX_BLOCKS = 512;

// Block number of a name such as "blk.17.attn_q.weight", or of an encoder such as T5's, whose names
// begin with "enc.blk."; -1 = not of a block. A decoder beside an encoder has a count of its own.
int64_t block_of(const std::string & name) {
    size_t start = 0;
    for (const std::string prefix : {"blk.", "enc.blk."}) {
        start = name.rfind(prefix, 0) == 0 ? prefix.size() : start;
    }
    if (start == 0) {
        return -1;
    }
    int64_t block = 0;
    const char * end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + start, end, block);
    return parsed.ec == std::errc{} && parsed.ptr != end && *parsed.ptr == '.' && block >= 0
               ? block
               : INT64_MAX;
}

bool is_weight_or_bias(const std::string & name) {
    const size_t dot = name.rfind('.');
    return dot != std::string::npos && (name.compare(dot, std::string::npos, ".weight") == 0 ||
                                        name.compare(dot, std::string::npos, ".bias") == 0);
}

// Scalar hyperparameters of a model; 0 where there is none or an array with one per layer.
struct Sizes {
    int64_t n_embd = 0;
    int64_t n_head = 0;
    int64_t n_head_kv = 0;
    int64_t key_length = 0;
    int64_t value_length = 0;
    int64_t conv_channels = 0;  // of layers with a state and groups
    bool has_gates = false;     // the queries' matrix holds a gate of the same size
};

Sizes read_sizes(const GgufFile & file) {
    const std::string start = file.text("general.architecture") + ".";
    const auto scalar = [&](const char * name) -> int64_t {
        const Value * value = file.find(start + name);
        return value == nullptr ? 0 : value->integer().value_or(0);
    };
    const auto is_array = [&](const char * name) {
        const Value * value = file.find(start + name);
        return value != nullptr && value->type == VALUE_ARRAY;
    };
    Sizes sizes;
    sizes.has_gates = start.rfind("qwen3next", 0) == 0 || start.rfind("qwen35", 0) == 0;
    sizes.n_embd = scalar("embedding_length");
    // Models whose layers differ in their heads or head sizes are left to the loader.
    if (!is_array("attention.head_count") && !is_array("attention.head_count_kv") &&
        file.find(start + "attention.key_length_swa") == nullptr) {
        sizes.n_head = scalar("attention.head_count");
        sizes.n_head_kv = scalar("attention.head_count_kv");
        sizes.n_head_kv = sizes.n_head_kv > 0 ? sizes.n_head_kv : sizes.n_head;
        const int64_t usual = sizes.n_head > 0 ? sizes.n_embd / sizes.n_head : 0;
        sizes.key_length = scalar("attention.key_length");
        sizes.key_length = sizes.key_length > 0 ? sizes.key_length : usual;
        sizes.value_length = scalar("attention.value_length");
        sizes.value_length = sizes.value_length > 0 ? sizes.value_length : usual;
    }
    const int64_t n_groups = scalar("ssm.group_count");
    if (n_groups > 0) {
        sizes.conv_channels = scalar("ssm.inner_size") + 2 * n_groups * scalar("ssm.state_size");
    }
    return sizes;
}

// Rows that a projection must have, 0 = any. Source: build_qkv and the reshapes behind it in
// src/llama-graph.cpp, which assert it.
int64_t wanted_rows(const std::string & part, const Sizes & sizes) {
    if (part == "attn_q.weight") {
        return sizes.n_head * sizes.key_length;
    }
    if (part == "attn_k.weight") {
        return sizes.n_head_kv * sizes.key_length;
    }
    if (part == "attn_v.weight") {
        return sizes.n_head_kv * sizes.value_length;
    }
    return part == "ssm_conv1d.weight" ? sizes.conv_channels : 0;
}

void check_rows(const GgufFile & file, Findings & findings) {
    const Sizes sizes = read_sizes(file);
    for (const Tensor & tensor : file.tensors) {
        const size_t dot = tensor.name.find('.', 4);
        if (tensor.name.rfind("blk.", 0) != 0 || dot == std::string::npos) {
            continue;
        }
        const std::string part = tensor.name.substr(dot + 1);
        const int64_t wanted = wanted_rows(part, sizes);
        const auto n_rows = static_cast<int64_t>(tensor.ne[1]);
        const bool is_gated = sizes.has_gates && part == "attn_q.weight" && n_rows == 2 * wanted;
        if (wanted > 0 && n_rows != wanted && !is_gated) {
            findings.error("M08", tensor.info_offset,
                           "Tensor " + shown(tensor.name) + " has " + std::to_string(n_rows) +
                               " rows; the heads and sizes in the metadata ask for " +
                               std::to_string(wanted) + ".");
        }
    }
}

}  // namespace

void check_blocks(const GgufFile & file, Findings & findings) {
    const std::string architecture = file.text("general.architecture");
    const Value * count = file.find(architecture + ".block_count");
    const int64_t n_blocks = count == nullptr ? 0 : count->integer().value_or(0);
    if (n_blocks < 1 || n_blocks > MAX_BLOCKS) {
        return;  // M02 has told
    }
    std::vector<bool> is_there(static_cast<size_t>(n_blocks), false);
    for (const Tensor & tensor : file.tensors) {
        const int64_t block = block_of(tensor.name);
        if (block >= n_blocks) {
            findings.error("M08", tensor.info_offset,
                           "Tensor " + shown(tensor.name) +
                               " belongs to no block: the model says "
                               "it has " +
                               std::to_string(n_blocks) + ".");
        } else if (block >= 0) {
            is_there[static_cast<size_t>(block)] = true;
        }
    }
    for (const Tensor & tensor : file.tensors) {
        // Sums and products with activations are computed in F32; the CPU kernels abort on others.
        const bool is_table = tensor.type == 26 && !is_weight_or_bias(tensor.name);  // of I32
        if (tensor.n_dims == 1 && tensor.type != 0 && !is_table) {
            findings.error("M08", tensor.info_offset,
                           "Tensor " + shown(tensor.name) + " has one dimension and the type " +
                               tensor_type(tensor.type)->name + "; it has to be F32.");
        }
    }
    check_rows(file, findings);
    const auto missing = std::find(is_there.begin(), is_there.end(), false);
    if (missing != is_there.end()) {
        findings.warning("M08", count->offset,
                         "Block " + std::to_string(missing - is_there.begin()) + " of " +
                             std::to_string(n_blocks) +
                             " has no tensors; the model is not complete.");
    }
    const Value * width = file.find(architecture + ".embedding_length");
    const Tensor * embedding = file.tensor("token_embd.weight");
    const Value * tokens = file.find("tokenizer.ggml.tokens");
    if (embedding == nullptr) {
        findings.warning("M08", 24, "The model has no tensor token_embd.weight.");
        return;
    }
    if (width != nullptr && width->integer() != static_cast<int64_t>(embedding->ne[0])) {
        findings.error("M08", embedding->info_offset,
                       "Rows of token_embd.weight have " +
                           std::to_string(static_cast<int64_t>(embedding->ne[0])) +
                           " values and the model "
                           "says its width is " +
                           std::to_string(width->integer().value_or(0)) + ".");
    }
    if (tokens != nullptr && tokens->type == VALUE_ARRAY) {
        const auto n_tokens = static_cast<int64_t>(tokens->n_items);
        const auto n_rows = static_cast<int64_t>(embedding->ne[1]);
        const std::string what = "token_embd.weight has " + std::to_string(n_rows) +
                                 " rows for a vocabulary of " + std::to_string(n_tokens) +
                                 " tokens.";
        if (n_rows < n_tokens) {
            findings.error("M07", embedding->info_offset, what);
        } else if (n_rows > n_tokens) {
            findings.warning("M07", embedding->info_offset, what);
        }
    }
}

}  // namespace luci::gguf
