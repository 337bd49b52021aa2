// What a model's metadata must say before llama.cpp may look at it: M01 to M03, M09.
// Source of the limits: llama_model_base::load_hparams in src/llama-model.cpp and LLAMA_MAX_* in
// src/llama-hparams.h of the pinned llama.cpp, which aborts the process where they are broken.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <vector>

#include "luci/gguf/rules.h"

namespace luci::gguf {

namespace {

constexpr int64_t MAX_BLOCKS = 512;
constexpr int64_t MAX_EXPERTS = 1024;
constexpr int64_t MAX_WIDTH = 1 << 20;
constexpr int64_t MAX_FEED_FORWARD = 1 << 24;
constexpr int64_t MAX_HEADS = 65'536;
constexpr int64_t MAX_CONTEXT = 1 << 30;

// The values of `{architecture}.…` with their checks.
class Hparams {
public:
    Hparams(const GgufFile & file, Findings & findings)
        : file_(file), findings_(findings), start_(file.text("general.architecture") + ".") {}

    std::string key(const std::string & name) const { return start_ + name; }
    const Value * find(const std::string & name) const { return file_.find(key(name)); }
    uint64_t offset(const std::string & name) const { return file_.offset_of(key(name)); }

    int64_t u32(const std::string & name, Range range, int64_t fallback = 0) const {
        return checked_integer(file_, key(name), VALUE_U32, range, fallback, "M02", findings_);
    }
    int64_t required(const std::string & name, Range range) const {
        if (find(name) == nullptr) {
            findings_.error(
                "M02", 24,
                "The model has no " + key(name) + ". Download another conversion of it.");
            return 0;
        }
        return u32(name, range);
    }
    // One number for all layers, or an array with one per layer. Returns the largest, or -1 where
    // it is an array; arrays are checked for type and length here.
    int64_t u32_or_array(const std::string & name, Range range, int64_t n_layers) const {
        const Value * value = find(name);
        if (value == nullptr) {
            return 0;
        }
        if (value->type != VALUE_ARRAY) {
            return u32(name, range);
        }
        const bool is_integer = value->item_type == VALUE_U32 || value->item_type == VALUE_I32;
        if (!is_integer || (n_layers > 0 && value->n_items != static_cast<uint64_t>(n_layers))) {
            findings_.error("M02", value->offset,
                            key(name) + " has " + std::to_string(value->n_items) +
                                " items of type " + value_type_name(value->item_type) +
                                "; it has to be " + std::to_string(n_layers) +
                                " of type u32 or i32.");
        }
        return -1;
    }
    void fail(const std::string & name, const std::string & message) const {
        findings_.error("M02", offset(name), message);
    }

private:
    const GgufFile & file_;
    Findings & findings_;
    std::string start_;
};

// Architectures of which llama.cpp asserts that positions turn whole heads (n_embd_head == n_rot in
// src/models/*.cpp); `start` is the name with a dot behind it.
bool rotates_whole_heads(const std::string & start) {
    static const char * const NAMES[] = {
        "baichuan.", "exaone.",   "internlm2.", "llama.",    "olmo.",    "olmo2.",      "olmoe.",
        "qwen2.",    "qwen2moe.", "qwen3.",     "qwen3moe.", "smollm3.", "starcoder2.", "xverse.",
    };
    return std::any_of(std::begin(NAMES), std::end(NAMES),
                       [&](const char * name) { return start == name; });
}

void check_heads(const Hparams & hparams, int64_t n_embd, int64_t n_layers) {
    const Range heads{0, MAX_HEADS};
    const int64_t n_head = hparams.u32_or_array("attention.head_count", heads, n_layers);
    const int64_t n_head_kv = hparams.u32_or_array("attention.head_count_kv", heads, n_layers);
    const Range head_size{1, 65'536};
    const int64_t key_length = hparams.u32("attention.key_length", head_size);
    hparams.u32("attention.value_length", head_size);
    const int64_t n_rot = hparams.u32("rope.dimension_count", {0, 65'536});
    if (n_head > 0 && n_head_kv > 0 && n_head % n_head_kv != 0) {
        hparams.fail("attention.head_count_kv", std::to_string(n_head) + " heads cannot share " +
                                                    std::to_string(n_head_kv) +
                                                    " key/value heads evenly.");
    }
    if (n_head > 0 && n_head_kv == 0 && hparams.find("attention.head_count_kv") != nullptr) {
        hparams.fail("attention.head_count_kv", "The model has heads and no key/value heads.");
    }
    if (n_head > 0 && n_embd > 0 && key_length == 0 && n_embd % n_head != 0) {
        hparams.fail("attention.head_count",
                     "The width " + std::to_string(n_embd) + " is no multiple of the " +
                         std::to_string(n_head) + " heads, and no attention.key_length is given.");
    }
    const int64_t head_length = key_length > 0 ? key_length : n_head > 0 ? n_embd / n_head : 0;
    const bool is_without_rope = hparams.key("").rfind("glm5", 0) == 0;
    if (n_rot == 0 && hparams.find("rope.dimension_count") != nullptr && !is_without_rope) {
        hparams.fail("rope.dimension_count",
                     "rope.dimension_count is 0; llama.cpp's rotation never ends on that.");
    }
    const bool is_given = hparams.find("rope.dimension_count") != nullptr;
    if (is_given && n_head > 0 && rotates_whole_heads(hparams.key("")) && n_rot != head_length) {
        hparams.fail("rope.dimension_count", "rope.dimension_count is " + std::to_string(n_rot) +
                                                 "; this architecture turns all " +
                                                 std::to_string(head_length) +
                                                 " values of a head.");
    }
    if (n_rot % 2 != 0) {
        hparams.fail("rope.dimension_count",
                     "rope.dimension_count is " + std::to_string(n_rot) + "; it has to be even.");
    }
    if (n_head > 0 && head_length > 0 && n_rot > head_length &&
        hparams.find("attention.key_length_mla") == nullptr) {
        hparams.fail("rope.dimension_count", "rope.dimension_count is " + std::to_string(n_rot) +
                                                 " and a head has only " +
                                                 std::to_string(head_length) + " values.");
    }
}

void check_experts(const Hparams & hparams, int64_t n_layers) {
    const int64_t n_experts = hparams.u32("expert_count", {0, MAX_EXPERTS});
    const int64_t n_used = hparams.u32_or_array("expert_used_count", {0, MAX_EXPERTS}, n_layers);
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

// Recurrent layers. Source: the assertions in src/models/mamba.cpp, jamba.cpp and the delta nets.
void check_recurrence(const GgufFile & file, const Hparams & hparams, int64_t n_embd) {
    const std::string architecture = file.text("general.architecture");
    hparams.u32("ssm.conv_kernel", {1, 4096});
    const int64_t n_inner = hparams.u32("ssm.inner_size", {1, MAX_FEED_FORWARD});
    hparams.u32("ssm.state_size", {1, 65'536});
    const int64_t n_steps = hparams.u32("ssm.time_step_rank", {1, MAX_FEED_FORWARD});
    const int64_t n_groups = hparams.u32("ssm.group_count", {0, MAX_FEED_FORWARD});
    if ((architecture == "mamba" || architecture == "jamba") && n_inner != 2 * n_embd) {
        hparams.fail("ssm.inner_size", "ssm.inner_size is " + std::to_string(n_inner) +
                                           "; it has to be twice the width " +
                                           std::to_string(n_embd) + ".");
    }
    const bool has_heads = n_groups > 0 && n_steps > 0;  // Mamba-2 and delta nets
    if (has_heads && (n_inner % n_steps != 0 || n_steps % n_groups != 0)) {
        hparams.fail("ssm.inner_size", std::to_string(n_inner) +
                                           " inner values cannot be shared by " +
                                           std::to_string(n_steps) + " heads in " +
                                           std::to_string(n_groups) + " groups.");
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

void check_model(const GgufFile & file, const KnowsArchitecture & knows, Findings & findings) {
    const std::string architecture = file.text("general.architecture");
    check_quantization_version(file, findings);
    if (!knows(architecture)) {
        findings.warning("M01", file.offset_of("general.architecture"),
                         "This build of luci cannot run the architecture " + shown(architecture) +
                             ". Update luci, or choose another model.");
        return;
    }
    const Hparams hparams(file, findings);
    const int64_t n_layers = hparams.required("block_count", {1, MAX_BLOCKS});
    const int64_t n_embd = hparams.required("embedding_length", {1, MAX_WIDTH});
    hparams.required("context_length", {1, MAX_CONTEXT});
    hparams.u32("nextn_predict_layers", {0, std::max<int64_t>(n_layers, 0)});
    hparams.u32("leading_dense_block_count", {0, std::max<int64_t>(n_layers, 0)});
    hparams.u32("vocab_size", {1, MAX_WIDTH});
    hparams.u32_or_array("feed_forward_length", {0, MAX_FEED_FORWARD}, n_layers);
    hparams.u32("pooling_type", {0, 4});
    hparams.u32("full_attention_interval", {1, MAX_BLOCKS});  // layers are counted modulo it
    const int64_t window = hparams.u32("attention.sliding_window", {0, MAX_CONTEXT});
    const Value * pattern = hparams.find("attention.sliding_window_pattern");
    if (window > 0 && pattern != nullptr && pattern->integer() == 1) {
        hparams.fail("attention.sliding_window_pattern",
                     "attention.sliding_window_pattern is 1, so no layer has the sliding window "
                     "that the model names.");
    }
    check_recurrence(file, hparams, n_embd);
    check_heads(hparams, n_embd, n_layers);
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
