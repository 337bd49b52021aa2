// What kind of file it is, and the kinds that are no models: M01, M10 to M12.
#include <algorithm>
#include <charconv>
#include <cmath>

#include "luci/gguf/rules.h"

namespace luci::gguf {

namespace {

constexpr int64_t MAX_SPLITS = 65'535;
constexpr uint64_t MAX_DIRECTION = 512;  // LLAMA_MAX_LAYERS of the pinned llama.cpp
constexpr uint64_t MAX_RANK = 8192;

bool ends_with(const std::string & text, const std::string & end) {
    return text.size() >= end.size() &&
           text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool is_architecture_name(const std::string & name) {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    });
}

// True when the file says what it is in a way that can be trusted.
bool check_architecture(const GgufFile & file, Findings & findings) {
    const Value * value = file.find("general.architecture");
    if (value == nullptr) {
        findings.error("M01", 24,
                       "The file has no general.architecture, so nothing can tell how "
                       "to compute it. Download another conversion of the model.");
        return false;
    }
    if (value->type != VALUE_STRING) {
        findings.error("M01", value->offset,
                       std::string("general.architecture is of type ") +
                           value_type_name(value->type) + "; it has to be a string.");
        return false;
    }
    if (!is_architecture_name(value->text) || value->n_bytes > 64) {
        findings.error("M01", value->offset,
                       "The architecture is called " + shown(value->text) +
                           "; names have a-z, 0-9, '-', '_' and '.' only.");
        return false;
    }
    return true;
}

}  // namespace

std::string in_words(Range range) {
    const std::string low = std::to_string(range.low);
    return range.low == range.high ? "only " + low : low + " to " + std::to_string(range.high);
}

int64_t checked_integer(const GgufFile & file, const std::string & key, uint32_t type, Range range,
                        int64_t fallback, const char * code, Findings & findings) {
    const Value * value = file.find(key);
    if (value == nullptr) {
        return fallback;
    }
    if (value->type != type) {
        findings.error(code, value->offset,
                       key + " is of type " + value_type_name(value->type) + "; it has to be " +
                           value_type_name(type) + ".");
        return fallback;
    }
    const int64_t given = *value->integer();
    if (given < range.low || given > range.high) {
        findings.error(
            code, value->offset,
            key + " is " + std::to_string(given) + "; " + in_words(range) + " is possible.");
        return fallback;
    }
    return given;
}

Kind find_kind(const GgufFile & file, Findings & findings) {
    const std::string type = file.text("general.type");
    if (type == "imatrix") {
        return Kind::IMATRIX;
    }
    const Value * split = file.find("split.no");
    if (split != nullptr && split->integer().value_or(0) > 0) {
        return Kind::SHARD;  // later shards repeat nothing of the model's metadata
    }
    if (!check_architecture(file, findings)) {
        return Kind::UNKNOWN;
    }
    const std::string architecture = file.text("general.architecture");
    if (type == "mmproj" || architecture == "clip") {
        return Kind::MMPROJ;
    }
    if (type == "adapter" || file.find("adapter.type") != nullptr) {
        return Kind::LORA;
    }
    if (architecture == "controlvector") {
        return Kind::CONTROL_VECTOR;
    }
    if (file.tensors.empty() && split_count(file) == 1) {
        return Kind::VOCABULARY;
    }
    return Kind::MODEL;
}

uint64_t split_count(const GgufFile & file) {
    const Value * value = file.find("split.count");
    const int64_t count = value == nullptr ? 1 : value->integer().value_or(1);
    return count < 1 ? 1 : static_cast<uint64_t>(count);
}

// Source: llama_split_path and the loader of splits in src/llama-model-loader.cpp, which aborts on
// another type than u16.
void check_split_keys(const GgufFile & file, Findings & findings) {
    const bool has_count = file.find("split.count") != nullptr;
    const bool has_no = file.find("split.no") != nullptr;
    const int64_t count =
        checked_integer(file, "split.count", VALUE_U16, {0, MAX_SPLITS}, 0, "M10", findings);
    const int64_t no =
        checked_integer(file, "split.no", VALUE_U16, {0, MAX_SPLITS}, 0, "M10", findings);
    checked_integer(file, "split.tensors.count", VALUE_I32, {0, INT32_MAX}, 0, "M10", findings);
    if (has_count != has_no && count > 1) {
        findings.error("M10", file.offset_of(has_count ? "split.count" : "split.no"),
                       "Of split.no and split.count only one is there; a shard needs both.");
    } else if (has_count && has_no && no >= std::max<int64_t>(count, 1)) {
        findings.error("M10", file.offset_of("split.no"),
                       "split.no is " + std::to_string(no) + " of split.count " +
                           std::to_string(count) + "; it counts from 0.");
    }
}

void check_mmproj(const GgufFile & file, Findings & findings) {
    const auto is_true = [&](const char * key) {
        const Value * value = file.find(key);
        if (value != nullptr && value->type != VALUE_BOOL) {
            findings.error("M11", value->offset, std::string(key) + " has to be a bool.");
        }
        return value != nullptr && value->bits == 1;
    };
    const bool has_vision = is_true("clip.has_vision_encoder");
    const bool has_audio = is_true("clip.has_audio_encoder");
    if (!has_vision && !has_audio) {
        findings.error("M11", 24,
                       "The projector file says neither clip.has_vision_encoder nor "
                       "clip.has_audio_encoder. Download another conversion.");
    }
    const auto positive = [&](const std::string & key, int64_t high) {
        return checked_integer(file, key, VALUE_U32, {1, high}, 0, "M11", findings);
    };
    for (const std::string & part : {std::string("vision"), std::string("audio")}) {
        const std::string start = "clip." + part + ".";
        if (!(part == "vision" ? has_vision : has_audio)) {
            continue;
        }
        if (file.find("clip.projector_type") == nullptr &&
            file.find(start + "projector_type") == nullptr) {
            findings.error("M11", 24, "The projector file has no clip.projector_type.");
        }
        for (const char * key : {"embedding_length", "block_count", "attention.head_count"}) {
            if (file.find(start + key) == nullptr) {
                findings.error("M11", 24, "The projector file has no " + start + key + ".");
            }
        }
        const int64_t n_embd = positive(start + "embedding_length", 1 << 20);
        const int64_t n_head = positive(start + "attention.head_count", 65'536);
        positive(start + "block_count", 512);
        positive(start + "feed_forward_length", 1 << 24);
        positive(start + "projection_dim", 1 << 20);
        if (n_head > 0 && n_embd % n_head != 0) {
            findings.error("M11", file.offset_of(start + "attention.head_count"),
                           start + "embedding_length " + std::to_string(n_embd) +
                               " is no multiple of its " + std::to_string(n_head) + " heads.");
        }
    }
    const int64_t image = positive("clip.vision.image_size", 1 << 16);
    const int64_t patch = positive("clip.vision.patch_size", 1 << 12);
    if (image > 0 && patch > 0 && image < patch) {
        findings.error("M11", file.offset_of("clip.vision.patch_size"),
                       "The patches of " + std::to_string(patch) +
                           " pixels are larger than the image of " + std::to_string(image) + ".");
    }
    positive("clip.vision.spatial_merge_size", 64);
    for (const char * key : {"clip.vision.image_mean", "clip.vision.image_std"}) {
        const Value * value = file.find(key);
        if (value != nullptr && (!value->is_array_of(VALUE_F32) || value->n_items != 3)) {
            findings.error("M11", value->offset, std::string(key) + " has to be three f32 values.");
        }
    }
}

// Source: llama_adapter_lora_init_impl in src/llama-adapter.cpp.
void check_lora(const GgufFile & file, Findings & findings) {
    if (file.text("general.type") != "adapter" || file.text("adapter.type") != "lora") {
        findings.error("M12", 24,
                       "The adapter says general.type " + shown(file.text("general.type")) +
                           " and adapter.type " + shown(file.text("adapter.type")) +
                           "; 'adapter' and 'lora' are needed.");
    }
    const Value * alpha = file.find("adapter.lora.alpha");
    if (alpha == nullptr || alpha->type != VALUE_F32) {
        findings.error("M12", alpha == nullptr ? 24 : alpha->offset,
                       "The adapter has no adapter.lora.alpha of type f32.");
    }
    if (file.tensors.empty()) {
        findings.error("M12", 8, "The adapter has no tensors, so it changes nothing.");
    }
    for (const Tensor & tensor : file.tensors) {
        const bool is_a = ends_with(tensor.name, ".lora_a");
        if (!is_a && !ends_with(tensor.name, ".lora_b")) {
            if (!ends_with(tensor.name, "_norm.weight")) {
                findings.error("M12", tensor.info_offset,
                               "The adapter's tensor " + shown(tensor.name) +
                                   " ends in neither '.lora_a' nor '.lora_b'.");
            }
            continue;
        }
        const std::string stem = tensor.name.substr(0, tensor.name.size() - 1);
        const Tensor * other = file.tensor(stem + (is_a ? "b" : "a"));
        if (other == nullptr) {
            findings.error("M12", tensor.info_offset,
                           "The adapter's tensor " + shown(tensor.name) + " has no partner " +
                               shown(stem + (is_a ? "b" : "a")) + ".");
            continue;
        }
        const bool is_embedding = tensor.name.rfind("token_embd", 0) == 0;
        // Both keep the rank in one dimension: a in its rows, b in its columns; of the token
        // embedding a is stored the other way round.
        const uint64_t rank = is_embedding ? tensor.ne[0] : tensor.ne[1];
        const uint64_t other_rank = other->ne[0];
        if (is_a && (rank != other_rank || rank > MAX_RANK)) {
            findings.error("M12", tensor.info_offset,
                           "The ranks of " + shown(tensor.name) + " and its partner are " +
                               std::to_string(rank) + " and " + std::to_string(other_rank) + ".");
        }
    }
}

// Source: common_control_vector_load_one in common/common.cpp, which multiplies the index
// unchecked.
void check_control_vector(const GgufFile & file, Findings & findings) {
    uint64_t n_embd = 0;
    for (const Tensor & tensor : file.tensors) {
        const std::string start = "direction.";
        uint64_t index = 0;
        const bool is_direction = tensor.name.rfind(start, 0) == 0;
        const char * end = tensor.name.data() + tensor.name.size();
        const auto parsed = is_direction
                                ? std::from_chars(tensor.name.data() + start.size(), end, index)
                                : std::from_chars_result{end, std::errc::invalid_argument};
        if (parsed.ec != std::errc{} || parsed.ptr != end || index < 1 || index > MAX_DIRECTION) {
            findings.error("M12", tensor.info_offset,
                           "The control vector's tensor " + shown(tensor.name) +
                               " is not called direction.1 to direction.512.");
        }
        if (tensor.type != 0 || tensor.n_dims != 1 || (n_embd != 0 && tensor.ne[0] != n_embd)) {
            findings.error("M12", tensor.info_offset,
                           "The control vector's tensor " + shown(tensor.name) +
                               " has to be one row of F32 as long as the others.");
        }
        n_embd = tensor.ne[0];
    }
    if (file.tensors.empty()) {
        findings.error("M12", 8, "The control vector has no tensors.");
    }
}

// Source: common_imatrix_load in common/imatrix-loader.cpp.
void check_imatrix(const GgufFile & file, Findings & findings) {
    const Value * datasets = file.find("imatrix.datasets");
    if (datasets == nullptr || !datasets->is_array_of(VALUE_STRING)) {
        findings.error("M12", datasets == nullptr ? 24 : datasets->offset,
                       "The importance matrix has no list imatrix.datasets of strings.");
    }
    for (const char * key : {"imatrix.chunk_count", "imatrix.chunk_size"}) {
        if (file.find(key) == nullptr) {
            findings.error("M12", 24, std::string("The importance matrix has no ") + key + ".");
        }
        checked_integer(file, key, VALUE_U32, {0, INT32_MAX}, 0, "M12", findings);
    }
    for (const Tensor & tensor : file.tensors) {
        const bool is_sum = ends_with(tensor.name, ".in_sum2");
        const std::string end = is_sum ? ".in_sum2" : ".counts";
        if (!ends_with(tensor.name, end)) {
            findings.error("M12", tensor.info_offset,
                           "The importance matrix's tensor " + shown(tensor.name) +
                               " ends in neither '.in_sum2' nor '.counts'.");
            continue;
        }
        const std::string stem = tensor.name.substr(0, tensor.name.size() - end.size());
        const Tensor * other = file.tensor(stem + (is_sum ? ".counts" : ".in_sum2"));
        if (other == nullptr || tensor.type != 0) {
            findings.error("M12", tensor.info_offset,
                           "The importance matrix's tensor " + shown(tensor.name) +
                               " has no partner or is not F32.");
        } else if (is_sum && (tensor.ne[1] != other->ne[1] || other->ne[0] != 1)) {
            findings.error("M12", tensor.info_offset,
                           "The importance matrix's sums and counts of " + shown(stem) +
                               " do not fit together.");
        }
    }
    if (file.tensors.empty()) {
        findings.error("M12", 8, "The importance matrix has no tensors.");
    }
}

}  // namespace luci::gguf
