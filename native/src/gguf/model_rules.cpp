// What a model's metadata must say before llama.cpp may look at it: M01 to M03, M09.
// Source of the limits: llama_model_base::load_hparams in src/llama-model.cpp and LLAMA_MAX_* in
// src/llama-hparams.h of the pinned llama.cpp, which aborts the process where they are broken.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <vector>

#include "luci/gguf/hparams.h"

namespace luci::gguf {

namespace {

void check_experts(const Hparams & hparams, int64_t n_layers) {
    const int64_t n_experts = hparams.u32("expert_count", {0, MAX_EXPERTS});
    const std::vector<int64_t> used =
        hparams.per_layer("expert_used_count", {0, MAX_EXPERTS}, n_layers);
    const int64_t n_used = used.empty() ? 0 : *std::max_element(used.begin(), used.end());
    const int64_t n_groups = hparams.u32("expert_group_count", {0, MAX_EXPERTS});
    const int64_t n_groups_used = hparams.u32("expert_group_used_count", {0, MAX_EXPERTS});
    if (n_used > n_experts || (n_experts > 0 && n_used == 0)) {
        hparams.fail("expert_used_count", "The model uses " + std::to_string(n_used) + " of " +
                                              std::to_string(n_experts) + " experts.");
    }
    const bool has_groups = n_groups > 1;
    if (n_groups > 0 && (n_groups >= n_experts || (has_groups && n_experts % n_groups != 0) ||
                         (has_groups && (n_groups_used < 1 || n_groups_used >= n_groups)))) {
        hparams.fail("expert_group_count", std::to_string(n_experts) + " experts cannot be in " +
                                               std::to_string(n_groups) + " groups of which " +
                                               std::to_string(n_groups_used) + " are used.");
    }
}

void check_rope_scaling(const GgufFile & file, const Hparams & hparams, Findings & findings) {
    const Value * type = hparams.find("rope.scaling.type");
    if (type == nullptr) {
        return;
    }
    const std::string name = file.text(hparams.key("rope.scaling.type"));
    if (name != "none" && name != "linear" && name != "yarn" && name != "longrope") {
        findings.error(
            "M02", type->offset,
            "rope.scaling.type is " + shown(name) + "; none, linear, yarn and longrope exist.");
    }
}

void check_quantization_version(const GgufFile & file, Findings & findings) {
    const bool is_quantized = std::any_of(
        file.tensors.begin(), file.tensors.end(),
        [](const Tensor & tensor) { return tensor_type(tensor.type)->block_values > 1; });
    const Value * version = file.find("general.quantization_version");
    if (is_quantized && version == nullptr) {
        findings.warning("M03", 24,
                         "The model is quantized and does not say by which version of "
                         "the quantizers (general.quantization_version).");
    } else if (version != nullptr && version->type != VALUE_U32) {
        findings.error("M03", version->offset, "general.quantization_version has to be a u32.");
    }
}

}  // namespace

void check_model(const GgufFile & file, const Source & source, const KnowsArchitecture & knows,
                 Findings & findings) {
    const std::string architecture = file.text("general.architecture");
    check_quantization_version(file, findings);
    if (!knows(architecture)) {
        findings.warning("M01", file.offset_of("general.architecture"),
                         "This build of luci cannot run the architecture " + shown(architecture) +
                             ". Update luci, or choose another model.");
        return;
    }
    const Hparams hparams(file, source, findings);
    const int64_t n_layers = hparams.required("block_count", {1, MAX_BLOCKS});
    const int64_t n_embd = hparams.required("embedding_length", {1, MAX_WIDTH});
    hparams.required("context_length", {1, MAX_CONTEXT});
    hparams.u32("nextn_predict_layers", {0, std::max<int64_t>(n_layers, 0)});
    hparams.u32("leading_dense_block_count", {0, std::max<int64_t>(n_layers, 0)});
    hparams.u32("vocab_size", {1, MAX_WIDTH});
    hparams.per_layer("feed_forward_length", {0, MAX_FEED_FORWARD}, n_layers);
    hparams.u32("pooling_type", {0, 4});
    hparams.u32("full_attention_interval", {1, MAX_BLOCKS});  // layers are counted modulo it
    const int64_t window = hparams.u32("attention.sliding_window", {0, MAX_CONTEXT});
    const Value * pattern = hparams.find("attention.sliding_window_pattern");
    if (window > 0 && pattern != nullptr && pattern->integer() == 1) {
        hparams.fail("attention.sliding_window_pattern",
                     "attention.sliding_window_pattern is 1, so no layer has the sliding window "
                     "that the model names.");
    }
    check_architecture(hparams, n_embd, n_layers);
    check_layers(hparams, n_embd, n_layers);
    check_experts(hparams, n_layers);
    check_rope_scaling(file, hparams, findings);
}

void check_numbers(const GgufFile & file, const Source & source, Findings & findings) {
    for (const std::string & key : file.keys) {
        const Value & value = file.values.at(key);
        const std::optional<double> real = value.real();
        if (real && !std::isfinite(*real)) {
            findings.error("M09", value.offset, key + " is not a finite number.");
        }
        const bool is_epsilon = key.size() > 8 && key.compare(key.size() - 8, 8, "_epsilon") == 0;
        if (real && is_epsilon && (*real < 0 || *real >= 1)) {
            findings.error("M09", value.offset,
                           key + " is " + std::to_string(*real) + "; it has to be from 0 to 1.");
        }
        const bool is_base = key.find(".rope.freq_base") != std::string::npos;
        if (real && is_base && *real <= 0) {
            findings.error("M09", value.offset, key + " has to be above 0.");
        }
        if (value.is_array_of(VALUE_F32)) {
            Cursor cursor(source, findings, value.offset, "S21");
            for (uint64_t i = 0; i < value.n_items; ++i) {
                const uint32_t bits = cursor.u32();
                if ((bits & 0x7F800000u) == 0x7F800000u) {  // all exponent bits: Inf or NaN
                    findings.error(
                        "M09", value.offset + 4 * i,
                        "Item " + std::to_string(i) + " of " + key + " is not a finite number.");
                    break;
                }
            }
        }
    }
}

}  // namespace luci::gguf
