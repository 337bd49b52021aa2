// What single architectures ask of their metadata, beyond what heads and positions need; M02.
// Source: the assertions in src/models/*.cpp of the pinned llama.cpp, which end the process.
#include <algorithm>
#include <string_view>

#include "luci/gguf/hparams.h"

namespace luci::gguf {

namespace {

struct Bound {
    std::string_view architecture;
    const char * key;
    Range range;
    bool is_needed;  // llama.cpp takes a missing key for a value that it then aborts on
};

// Sizes that one architecture asserts, or divides by; each in its file of src/models.
constexpr Bound BOUNDS[] = {
    {"falcon-h1", "ssm.group_count", {1, MAX_FEED_FORWARD}, false},
    {"granitehybrid", "ssm.group_count", {1, MAX_FEED_FORWARD}, false},
    {"mamba2", "ssm.group_count", {1, MAX_FEED_FORWARD}, false},
    {"nemotron_h", "ssm.group_count", {1, MAX_FEED_FORWARD}, false},
    {"nemotron_h_moe", "ssm.group_count", {1, MAX_FEED_FORWARD}, false},
    {"plamo2", "ssm.group_count", {0, 0}, false},
    {"qwen35", "ssm.group_count", {1, MAX_FEED_FORWARD}, false},
    {"qwen35moe", "ssm.group_count", {1, MAX_FEED_FORWARD}, false},
    {"qwen3next", "ssm.group_count", {1, MAX_FEED_FORWARD}, false},
    {"qwen4exp", "ssm.group_count", {1, MAX_FEED_FORWARD}, false},
    {"lfm2", "shortconv.l_cache", {2, 4096}, false},
    {"lfm2moe", "shortconv.l_cache", {2, 4096}, false},
    {"rwkv6", "wkv.head_size", {1, MAX_HEAD_LENGTH}, false},
    {"rwkv6qwen2", "wkv.head_size", {1, MAX_HEAD_LENGTH}, false},
    {"rwkv7", "wkv.head_size", {1, MAX_HEAD_LENGTH}, false},
    {"arwkv7", "wkv.head_size", {1, MAX_HEAD_LENGTH}, false},
    {"rwkv6", "token_shift_count", {2, 2}, false},
    {"rwkv6qwen2", "token_shift_count", {1, 1}, true},
    {"rwkv7", "token_shift_count", {2, 2}, false},
    {"arwkv7", "token_shift_count", {1, 1}, true},
    {"bailingmoe2", "expert_count", {1, MAX_EXPERTS}, true},
    {"glm4moe", "expert_count", {1, MAX_EXPERTS}, true},
    {"grovemoe", "expert_count", {1, MAX_EXPERTS}, true},
    {"llada-moe", "expert_count", {1, MAX_EXPERTS}, true},
    {"smallthinker", "expert_count", {1, MAX_EXPERTS}, true},
    {"grovemoe", "experts_per_group", {1, MAX_EXPERTS}, false},
    {"ernie4_5-moe", "interleave_moe_layer_step", {1, MAX_BLOCKS}, false},
    {"minimax-m3", "attention.indexer.block_size", {1, MAX_CONTEXT}, false},
    {"lfm2moe", "expert_count", {1, MAX_EXPERTS}, true},
    {"nanbeige", "num_loops", {1, MAX_BLOCKS}, false},
    {"hrm_text", "hrm.layers_per_stack", {1, MAX_BLOCKS}, true},
    {"hrm_text", "hrm.h_cycles", {1, MAX_BLOCKS}, true},
    {"hrm_text", "hrm.l_cycles", {1, MAX_BLOCKS}, true},
    {"deepseek4", "attention.output_group_count", {1, MAX_HEADS}, true},
    {"dflash", "attention.output_group_count", {1, MAX_HEADS}, false},
    {"deepseek4", "hyper_connection.count", {4, 4}, true},
    {"glm5-next", "hyper_connection.count", {4, 4}, true},
    {"glm5-next", "attention.indexer.kpool", {2, MAX_CONTEXT}, true},
    {"glm5-next", "rope.dimension_count", {0, 0}, true},
    {"deepseek32", "attention.key_length_mla", {1, MAX_HEAD_LENGTH}, true},
    {"deepseek32", "attention.value_length_mla", {1, MAX_HEAD_LENGTH}, true},
    {"dots3note", "attention.key_length_mla", {1, MAX_HEAD_LENGTH}, true},
    {"dots3note", "attention.value_length_mla", {1, MAX_HEAD_LENGTH}, true},
    {"glm-dsa", "attention.key_length_mla", {1, MAX_HEAD_LENGTH}, true},
    {"glm-dsa", "attention.value_length_mla", {1, MAX_HEAD_LENGTH}, true},
    {"hy_v4", "attention.key_length_mla", {1, MAX_HEAD_LENGTH}, true},
    {"hy_v4", "attention.value_length_mla", {1, MAX_HEAD_LENGTH}, true},
    {"wavtokenizer-dec", "posnet.block_count", {0, 6}, true},
};

void check_bounds(const Hparams & hparams) {
    for (const Bound & bound : BOUNDS) {
        if (bound.architecture != hparams.architecture()) {
            continue;
        }
        if (bound.is_needed) {
            hparams.required(bound.key, bound.range);
        } else {
            hparams.u32(bound.key, bound.range);
        }
    }
}

// States of recurrent layers. Source: the assertions in mamba-base.cpp, jamba.cpp, rwkv6-base.cpp,
// delta-net-base.cpp and the models with delta nets.
void check_recurrence(const Hparams & hparams, int64_t n_embd) {
    hparams.u32("ssm.conv_kernel", {1, 4096});
    const int64_t n_inner = hparams.u32("ssm.inner_size", {1, MAX_FEED_FORWARD});
    const int64_t n_state = hparams.u32("ssm.state_size", {1, 65'536});
    const int64_t n_steps = hparams.u32("ssm.time_step_rank", {1, MAX_FEED_FORWARD});
    const int64_t n_groups = hparams.u32("ssm.group_count", {0, MAX_FEED_FORWARD});
    const std::string inner = "ssm.inner_size is " + std::to_string(n_inner);
    if (hparams.is_one_of({"mamba", "jamba", "granitehybrid"}) && n_inner != 2 * n_embd) {
        hparams.fail("ssm.inner_size",
                     inner + "; it has to be twice the width " + std::to_string(n_embd) + ".");
    }
    // Mamba-2 and delta nets have groups of heads, PLaMo-2 has heads without groups.
    const bool has_heads = n_steps > 0 && (n_groups > 0 || hparams.is_one_of({"plamo2"}));
    const int64_t n_shares = std::max<int64_t>(n_groups, 1);
    if (has_heads && (n_inner % n_steps != 0 || n_steps % n_shares != 0)) {
        hparams.fail("ssm.inner_size", std::to_string(n_inner) +
                                           " inner values cannot be shared by " +
                                           std::to_string(n_steps) + " heads in " +
                                           std::to_string(n_shares) + " groups.");
    }
    if (hparams.is_one_of({"qwen35", "qwen35moe", "qwen3next", "qwen4exp"}) &&
        n_inner != n_state * n_steps) {
        hparams.fail("ssm.inner_size", inner + "; it has to be ssm.time_step_rank " +
                                           std::to_string(n_steps) + " times ssm.state_size " +
                                           std::to_string(n_state) + ".");
    }
    const int64_t wkv = hparams.u32("wkv.head_size", {0, MAX_HEAD_LENGTH});
    if (wkv > 0 && n_embd % wkv != 0) {
        hparams.fail("wkv.head_size", "The width " + std::to_string(n_embd) +
                                          " is no multiple of wkv.head_size " +
                                          std::to_string(wkv) + ".");
    }
}

void require(const Hparams & hparams, const char * name, int64_t given, bool is_right,
             const std::string & wanted) {
    if (!is_right) {
        hparams.fail(name, std::string(name) + " is " + std::to_string(given) + "; it has to be " +
                               wanted + ".");
    }
}

// The blocks of models that run through them several times.
void check_loops(const Hparams & hparams, int64_t n_layers) {
    const auto count = [&](const char * name) { return hparams.u32(name, {1, MAX_BLOCKS}, 1); };
    if (hparams.is_one_of({"nanbeige"})) {
        const int64_t n_loops = count("num_loops");
        require(hparams, "num_loops", n_loops, n_loops * n_layers <= MAX_BLOCKS,
                "so few that all blocks together are " + std::to_string(MAX_BLOCKS) + " at most");
    } else if (hparams.is_one_of({"hrm_text"})) {
        const int64_t n_slots =
            count("hrm.layers_per_stack") * count("hrm.h_cycles") * (count("hrm.l_cycles") + 1);
        require(hparams, "block_count", n_layers, n_layers == n_slots,
                "the " + std::to_string(n_slots) + " of all stacks and cycles");
    }
}

// WavTokenizer's two networks: one vector of `layers` holds the blocks of both.
void check_audio_decoder(const Hparams & hparams, int64_t n_layers) {
    if (!hparams.is_one_of({"wavtokenizer-dec"})) {
        return;
    }
    for (const char * name : {"posnet.block_count", "convnext.block_count"}) {
        const int64_t n_blocks = hparams.u32(name, {0, MAX_BLOCKS});
        require(hparams, name, n_blocks, n_blocks <= n_layers,
                "at most block_count " + std::to_string(n_layers));
    }
    const int64_t wanted = hparams.u32("posnet.embedding_length", {1, MAX_WIDTH});
    const int64_t given = hparams.u32("convnext.embedding_length", {1, MAX_WIDTH});
    require(hparams, "convnext.embedding_length", given, given == wanted,
            "posnet.embedding_length " + std::to_string(wanted));
}

// DeepSeek-OCR is DeepSeek 2 without compressed keys: its positions turn whole heads, at one speed.
void check_ocr(const Hparams & hparams, int64_t n_embd, int64_t n_layers) {
    const std::vector<int64_t> heads =
        hparams.per_layer("attention.head_count", {0, MAX_HEADS}, n_layers);
    if (!hparams.is_one_of({"deepseek2-ocr"}) || heads.empty() || heads[0] == 0) {
        return;
    }
    const int64_t wanted = n_embd / heads[0];
    const int64_t given = hparams.u32("attention.key_length", {1, MAX_HEAD_LENGTH}, wanted);
    require(hparams, "attention.key_length", given, given == wanted,
            std::to_string(wanted) + ", the width divided by the heads");
    require(hparams, "attention.key_length", given, given % 2 == 0, "even");
    const Value * base = hparams.find("rope.freq_base");
    if (base != nullptr && base->real() != 10'000.0) {
        hparams.fail("rope.freq_base", "rope.freq_base has to be 10000 in this architecture.");
    }
}

// Sizes that others of the same file have to fit.
void check_multiples(const Hparams & hparams, int64_t n_embd, int64_t n_layers) {
    if (hparams.is_one_of({"gemma-embedding"})) {
        for (const char * name : {"dense_2_feat_in", "dense_3_feat_out"}) {
            const int64_t width = hparams.u32(name, {0, MAX_WIDTH});
            require(hparams, name, width, width == 0 || width == n_embd,
                    "the width " + std::to_string(n_embd));
        }
    } else if (hparams.is_one_of({"glm5-next"})) {
        const int64_t n_pooled = hparams.u32("attention.indexer.kpool", {1, MAX_CONTEXT}, 1);
        const int64_t n_top = hparams.u32("attention.indexer.top_k", {0, MAX_CONTEXT});
        require(hparams, "attention.indexer.top_k", n_top, n_top % n_pooled == 0,
                "a multiple of attention.indexer.kpool " + std::to_string(n_pooled));
    } else if (hparams.is_one_of({"deepseek4"})) {
        const int64_t n_groups = hparams.u32("attention.output_group_count", {1, MAX_HEADS}, 1);
        const std::vector<int64_t> heads =
            hparams.per_layer("attention.head_count", {0, MAX_HEADS}, n_layers);
        const int64_t n_heads = heads.empty() ? 0 : heads[0];
        require(hparams, "attention.head_count", n_heads, n_heads % n_groups == 0,
                "a multiple of attention.output_group_count " + std::to_string(n_groups));
    }
}

}  // namespace

void check_architecture(const Hparams & hparams, int64_t n_embd, int64_t n_layers) {
    check_bounds(hparams);
    check_recurrence(hparams, n_embd);
    check_loops(hparams, n_layers);
    check_audio_decoder(hparams, n_layers);
    check_ocr(hparams, n_embd, n_layers);
    check_multiples(hparams, n_embd, n_layers);
}

}  // namespace luci::gguf
