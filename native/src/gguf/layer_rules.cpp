// What a model's metadata must say about the heads of its layers and their positions; M02.
// Source: llama_model_base::load_hparams in src/llama-model.cpp and src/models/*.cpp of the pinned
// llama.cpp, and ggml_compute_forward_rope in ggml/src/ggml-cpu/ops.cpp, whose assertions end the
// process.
#include <algorithm>
#include <numeric>

#include "luci/gguf/hparams.h"

namespace luci::gguf {

namespace {

// n_embd_head == n_rot: positions turn whole heads.
bool rotates_whole_heads(const Hparams & hparams) {
    return hparams.is_one_of(
        {"apertus",        "arcee",       "arctic",        "baichuan",     "chameleon",
         "codeshell",      "cogvlm",      "cohere2moe",    "dbrx",         "deci",
         "deepseek",       "dots1",       "dream",         "ernie4_5",     "ernie4_5-moe",
         "exaone",         "exaone-moe",  "exaone4",       "falcon",       "granite",
         "granite_swa",    "granitemoe",  "graniteswitch", "grok",         "grovemoe",
         "hunyuan-dense",  "hunyuan-moe", "hunyuan_vl",    "hy_v3",        "internlm2",
         "jais2",          "llada",       "llada-moe",     "llama",        "llama-embed",
         "llama4",         "maincoder",   "mellum",        "minicpm",      "mistral3",
         "olmo",           "olmo2",       "olmoe",         "orion",        "paddleocr",
         "pangu-embedded", "plamo",       "pockettts",     "qwen2",        "qwen2moe",
         "qwen2vl",        "qwen3",       "qwen3moe",      "qwen3tts",     "qwen3vl",
         "qwen3vlmoe",     "rnd1",        "seed_oss",      "smallthinker", "smollm3",
         "starcoder2",     "talkie",      "xverse"});
}

// n_embd_head_v == n_embd_head_k, asked of one layer for all of them.
bool has_equal_lengths(const Hparams & hparams) {
    return rotates_whole_heads(hparams) ||
           hparams.is_one_of({"afmoe",          "bailingmoe2",   "bert",
                              "bitnet",         "bloom",         "chatglm",
                              "cohere2",        "command-r",     "deepseek2-ocr",
                              "deepseek4",      "eagle3",        "eurobert",
                              "glm4",           "glm4moe",       "gpt2",
                              "gptneox",        "granitehybrid", "jais",
                              "jina-bert-v2",   "jina-bert-v3",  "laguna",
                              "lfm2",           "lfm2moe",       "maple",
                              "minimax-01",     "minimax-m2",    "minimax-m3",
                              "modern-bert",    "mpt",           "muse-glimmer",
                              "nanbeige",       "nemotron",      "nemotron_h",
                              "nemotron_h_moe", "neo-bert",      "nomic-bert",
                              "nomic-bert-moe", "openelm",       "phi2",
                              "phi3",           "phimoe",        "qwen",
                              "qwen35",         "qwen35moe",     "qwen3next",
                              "qwen4exp",       "refact",        "spark2_5",
                              "stablelm",       "starcoder",     "t5",
                              "t5encoder"});
}

// LLAMA_ROPE_TYPE_NONE in llama_model_rope_type; BERT's graph turns nothing, and DeepSeek-OCR's
// turns whole heads whatever the file says.
bool is_without_rope(const Hparams & hparams) {
    return hparams.is_one_of({"bert",         "bloom",   "deepseek2-ocr", "glm5-next",
                              "gpt2",         "gptj",    "jais",          "jamba",
                              "jina-bert-v2", "kimi-k3", "kimi-linear",   "mamba",
                              "mamba2",       "mpt",     "nemotron_h",    "nemotron_h_moe",
                              "refact",       "arwkv7",  "rwkv6",         "rwkv6qwen2",
                              "rwkv7",        "t5",      "t5encoder",     "wavtokenizer-dec"});
}

// A position of several parts: LLAMA_ROPE_TYPE_MROPE and IMROPE, whatever the sections are.
bool has_sections(const Hparams & hparams) {
    return hparams.is_one_of({"paddleocr", "qwen2vl", "qwen35", "qwen35moe", "qwen3tts", "qwen3vl",
                              "qwen3vlmoe", "qwen4exp"});
}

bool reads_sections(const Hparams & hparams) {
    return has_sections(hparams) ||
           hparams.is_one_of({"bailingmoe3", "deepseek32", "dflash", "ernie4_5", "ernie4_5-moe",
                              "glm-dsa", "glm4", "glm4moe", "hunyuan-dense", "hunyuan_vl"});
}

// Part of each key turns and part does not: n_embd_head_qk_nope >= 1.
bool needs_unturned_part(const Hparams & hparams) {
    return hparams.is_one_of({"deepseek2", "minicpm3", "mistral4", "plm"});
}

// Its layers without a sliding window turn half of what the metadata says.
constexpr const char * HALF_TURNED = "step35";

std::string in_layer(const std::vector<int64_t> & values, size_t layer) {
    const bool is_same = std::count(values.begin(), values.end(), values[layer]) ==
                         static_cast<std::ptrdiff_t>(values.size());
    return is_same ? "" : " in layer " + std::to_string(layer);
}

void check_sharing(const Hparams & hparams, const HeadSizes & heads) {
    const Value * shared = hparams.find("attention.head_count_kv");
    for (size_t i = 0; i < heads.n_head.size() && i < heads.n_head_kv.size(); ++i) {
        const int64_t n_head = heads.n_head[i];
        const int64_t n_head_kv = heads.n_head_kv[i];
        if (n_head > 0 && n_head_kv > 0 && n_head % n_head_kv != 0) {
            hparams.fail("attention.head_count_kv",
                         std::to_string(n_head) + " heads cannot share " +
                             std::to_string(n_head_kv) + " key/value heads evenly" +
                             in_layer(heads.n_head_kv, i) + ".");
            return;
        }
        // An array marks the layers without attention by 0.
        if (n_head > 0 && n_head_kv == 0 && shared != nullptr && shared->type == VALUE_U32) {
            hparams.fail("attention.head_count_kv", "The model has heads and no key/value heads.");
            return;
        }
    }
}

void check_lengths(const Hparams & hparams, const HeadSizes & heads, int64_t n_embd) {
    const int64_t n_head = heads.n_head.empty() ? 0 : heads.n_head[0];
    if (n_head > 0 && n_embd > 0 && !hparams.has("attention.key_length") && n_embd % n_head != 0) {
        hparams.fail("attention.head_count",
                     "The width " + std::to_string(n_embd) + " is no multiple of the " +
                         std::to_string(n_head) + " heads, and no attention.key_length is given.");
    }
    if (!has_equal_lengths(hparams)) {
        return;
    }
    const auto check = [&](const char * name, int64_t length, int64_t wanted) {
        if (length != wanted) {
            hparams.fail(name, std::string(name) + " is " + std::to_string(length) + ", not " +
                                   std::to_string(wanted) +
                                   "; this architecture has one length for the keys and values of "
                                   "all layers.");
        }
    };
    check("attention.value_length", heads.value, heads.key);
    check("attention.key_length_swa", heads.key_swa, heads.key);
    check("attention.value_length_swa", heads.value_swa, heads.value);
}

// One kind of layer: how many of the `length` values of a key turn with the position.
void check_turned(const Hparams & hparams, const std::string & name, const std::string & where,
                  int64_t n_rot, int64_t length, int64_t mla_length) {
    const std::string start = name + where + " is " + std::to_string(n_rot);
    if (n_rot < 1) {
        hparams.fail(name, start + "; llama.cpp's rotation never ends on that.");
        return;
    }
    if (n_rot % 2 != 0) {
        hparams.fail(name, start + "; it has to be even.");
    }
    if (rotates_whole_heads(hparams) && n_rot != length) {
        hparams.fail(name, start + "; this architecture turns all " + std::to_string(length) +
                               " values of a head.");
    } else if (mla_length == 0 && n_rot > length) {
        hparams.fail(name, start + " and a head has only " + std::to_string(length) + " values.");
    }
    const int64_t whole = mla_length > 0 ? mla_length : needs_unturned_part(hparams) ? length : 0;
    if (whole > 0 && n_rot >= whole) {
        hparams.fail(name, start + " and a head has " + std::to_string(whole) +
                               " values; this architecture leaves some of them unturned.");
    }
    const int64_t indexer = hparams.u32("attention.indexer.key_length", {0, MAX_HEAD_LENGTH});
    if (indexer > 0 && n_rot > indexer) {
        hparams.fail(name, start + " and the indexer's heads have only " + std::to_string(indexer) +
                               " values.");
    }
}

void check_rotation(const Hparams & hparams, const HeadSizes & heads) {
    if (heads.key == 0 || is_without_rope(hparams)) {
        return;
    }
    const Range lengths{0, MAX_HEAD_LENGTH};
    const int64_t mla = hparams.u32("attention.key_length_mla", lengths);
    const int64_t mla_swa = hparams.u32("attention.key_length_mla_swa", lengths, mla);
    const char * name = "rope.dimension_count";
    const bool is_halved = hparams.architecture() == HALF_TURNED;
    check_turned(hparams, name, is_halved ? ", halved," : "", heads.n_rot, heads.key, mla);
    if (heads.n_rot_swa != heads.n_rot || heads.key_swa != heads.key || mla_swa != mla) {
        name = hparams.has("rope.dimension_count_swa") ? "rope.dimension_count_swa" : name;
        check_turned(hparams, name, " in layers with a sliding window", heads.n_rot_swa,
                     heads.key_swa, mla_swa);
    }
}

// The sections of a position: all 0 where the key is missing, empty where it is wrong.
std::vector<int64_t> read_sections(const Hparams & hparams, const std::string & name) {
    const Value * value = hparams.find(name);
    if (value == nullptr) {
        return std::vector<int64_t>(4, 0);
    }
    if (value->type != VALUE_ARRAY) {
        hparams.fail(name, name + " is of type " + value_type_name(value->type) +
                               "; it has to be an array of 4 numbers.");
        return {};
    }
    const std::vector<int64_t> sections = hparams.integers(*value, 4);
    if (sections.size() != 4 || value->n_items != 4) {
        hparams.fail(name, name + " has " + std::to_string(value->n_items) + " items of type " +
                               value_type_name(value->item_type) +
                               "; it has to be 4 of type u32 or i32.");
        return {};
    }
    const int64_t least = *std::min_element(sections.begin(), sections.end());
    if (least < 0) {
        hparams.fail(
            name, name + " holds " + std::to_string(least) + "; a section has 0 values or more.");
        return {};
    }
    return sections;
}

void check_sections(const Hparams & hparams, const HeadSizes & heads) {
    const std::string name = "rope.dimension_sections";
    const std::string & architecture = hparams.architecture();
    if (!reads_sections(hparams) || heads.key == 0) {
        return;
    }
    const std::vector<int64_t> sections = read_sections(hparams, name);
    if (sections.empty()) {
        return;
    }
    const int64_t sum = std::accumulate(sections.begin(), sections.end(), int64_t{0});
    // Only the turned part of a key is a tensor of its own where the keys are compressed.
    const int64_t mla = hparams.u32("attention.key_length_mla", {0, MAX_HEAD_LENGTH});
    const int64_t length = mla > 0 ? heads.n_rot : heads.key;
    if (sum > length) {
        hparams.fail(name, name + " adds up to " + std::to_string(sum) + " and a head has only " +
                               std::to_string(length) + " values.");
    }
    const bool is_needed = has_sections(hparams) || (architecture == "dflash" && sum > 0);
    if (is_needed && sum == sections[3]) {
        hparams.fail(name, name + (hparams.has(name) ? " is empty" : " is missing") +
                               "; this architecture's positions have parts for time, height and "
                               "width.");
    }
}

}  // namespace

HeadSizes read_heads(const Hparams & hparams, int64_t n_embd, int64_t n_layers) {
    HeadSizes heads;
    const Range counts{0, MAX_HEADS};
    const Range lengths{1, MAX_HEAD_LENGTH};
    heads.n_head = hparams.per_layer("attention.head_count", counts, n_layers);
    heads.n_head_kv = hparams.per_layer("attention.head_count_kv", counts, n_layers);
    if (!hparams.has("attention.head_count_kv")) {
        heads.n_head_kv = heads.n_head;
    }
    const int64_t n_first = heads.n_head.empty() ? 0 : heads.n_head[0];
    const int64_t usual = n_first > 0 ? n_embd / n_first : 0;
    const int64_t key = hparams.u32("attention.key_length", lengths, usual);
    const int64_t value = hparams.u32("attention.value_length", lengths, usual);
    const int64_t n_rot = hparams.u32("rope.dimension_count", {0, MAX_HEAD_LENGTH}, key);
    if (n_first > 0) {  // llama.cpp leaves all of them at 0 otherwise
        heads.key = key;
        heads.value = value;
        heads.n_rot = n_rot;
    }
    heads.key_swa = hparams.u32("attention.key_length_swa", lengths, heads.key);
    heads.value_swa = hparams.u32("attention.value_length_swa", lengths, heads.value);
    heads.n_rot_swa = hparams.u32("rope.dimension_count_swa", {0, MAX_HEAD_LENGTH}, heads.n_rot);
    if (hparams.architecture() == HALF_TURNED) {
        heads.n_rot /= 2;
    }
    return heads;
}

void check_layers(const Hparams & hparams, int64_t n_embd, int64_t n_layers) {
    const HeadSizes heads = read_heads(hparams, n_embd, n_layers);
    check_sharing(hparams, heads);
    check_lengths(hparams, heads, n_embd);
    check_rotation(hparams, heads);
    check_sections(hparams, heads);
}

}  // namespace luci::gguf
