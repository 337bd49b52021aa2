// What a model's tensors must be for its metadata: M07 and M08.
#include <algorithm>
#include <charconv>
#include <vector>

#include "luci/gguf/hparams.h"

namespace luci::gguf {

namespace {

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

// What the heads and states in the metadata ask of the projections.
struct Sizes {
    HeadSizes heads;
    bool has_gates = false;     // the queries' matrix holds a gate of the same size
    int64_t conv_channels = 0;  // of layers with a state and groups; 0 = any
};

Sizes read_sizes(const Hparams & hparams, int64_t n_blocks) {
    Sizes sizes;
    const std::string & name = hparams.architecture();
    sizes.has_gates = name == "qwen3next" || name == "qwen4exp" || name.rfind("qwen35", 0) == 0;
    // Compressed keys have matrices of their own, which the loader checks.
    if (hparams.u32("attention.key_length_mla", {0, MAX_HEAD_LENGTH}) == 0) {
        const int64_t n_embd = hparams.u32("embedding_length", {1, MAX_WIDTH});
        sizes.heads = read_heads(hparams, n_embd, n_blocks);
    }
    const Range any{0, MAX_FEED_FORWARD};
    const int64_t n_groups = hparams.u32("ssm.group_count", any);
    if (n_groups > 0) {
        sizes.conv_channels =
            hparams.u32("ssm.inner_size", any) + 2 * n_groups * hparams.u32("ssm.state_size", any);
    }
    return sizes;
}

// Rows that a projection of a block may have; none = any. Source: build_qkv and the reshapes behind
// it in src/llama-graph.cpp, which assert it.
std::vector<int64_t> wanted_rows(const std::string & part, size_t block, const Sizes & sizes) {
    if (part == "ssm_conv1d.weight") {
        return {sizes.conv_channels};
    }
    const HeadSizes & heads = sizes.heads;
    const auto of = [&](const std::vector<int64_t> & counts, size_t at) {
        return at < counts.size() ? counts[at] : 0;
    };
    if (of(heads.n_head, block) == 0 || of(heads.n_head_kv, block) == 0) {
        return {};  // no attention, or one that llama.cpp knows by another name
    }
    // Which layers have a sliding window is the architecture's business.
    if (part == "attn_q.weight") {
        const int64_t n_head = heads.n_head[block] * (sizes.has_gates ? 2 : 1);
        return {n_head * heads.key, n_head * heads.key_swa};
    }
    if (part == "attn_k.weight") {
        return {heads.n_head_kv[block] * heads.key, heads.n_head_kv[block] * heads.key_swa};
    }
    if (part == "attn_v.weight") {
        return {heads.n_head_kv[block] * heads.value, heads.n_head_kv[block] * heads.value_swa};
    }
    return {};
}

void check_rows(const GgufFile & file, const Hparams & hparams, int64_t n_blocks,
                Findings & findings) {
    const Sizes sizes = read_sizes(hparams, n_blocks);
    for (const Tensor & tensor : file.tensors) {
        const size_t dot = tensor.name.find('.', 4);
        const int64_t block = block_of(tensor.name);
        if (tensor.name.rfind("blk.", 0) != 0 || dot == std::string::npos || block >= n_blocks) {
            continue;
        }
        const std::vector<int64_t> wanted =
            wanted_rows(tensor.name.substr(dot + 1), static_cast<size_t>(block), sizes);
        const auto n_rows = static_cast<int64_t>(tensor.ne[1]);
        const bool is_known = !wanted.empty() && wanted[0] > 0;
        if (is_known && std::find(wanted.begin(), wanted.end(), n_rows) == wanted.end()) {
            findings.error("M08", tensor.info_offset,
                           "Tensor " + shown(tensor.name) + " has " + std::to_string(n_rows) +
                               " rows; the heads and sizes in the metadata ask for " +
                               std::to_string(wanted[0]) + ".");
        }
    }
}

}  // namespace

void check_blocks(const GgufFile & file, const Source & source, Findings & findings) {
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
    Findings told;  // M02 has told what is wrong with the metadata
    check_rows(file, Hparams(file, source, told), n_blocks, findings);
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
