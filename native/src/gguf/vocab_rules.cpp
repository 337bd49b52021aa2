// The tokenizer in the metadata: M04 to M06.
// Source: llama_vocab::impl::load in src/llama-vocab.cpp of the pinned llama.cpp, which aborts on
// two equal tokens and reads out of bounds on special tokens that do not exist.
#include <algorithm>
#include <functional>
#include <unordered_set>

#include "luci/gguf/rules.h"

namespace luci::gguf {

namespace {

constexpr uint64_t MAX_TOKENS = 1 << 20;
constexpr int64_t NONE = -1;
constexpr int64_t NONE_AS_U32 = 0xFFFFFFFF;

struct Defaults {
    int64_t bos;
    int64_t eos;
    int64_t unk;
    int64_t sep;
};

// What llama.cpp assumes where the file does not say; all NONE for models without tokenizer.
Defaults defaults_of(const std::string & model) {
    if (model == "llama" || model == "plamo2") {
        return {1, 2, 0, NONE};
    }
    if (model == "bert") {
        return {101, NONE, 100, 102};
    }
    if (model == "gpt2" || model == "hybriddna" || model == "whitespace") {
        return {11, 11, NONE, NONE};
    }
    if (model == "t5") {
        return {NONE, 1, 2, NONE};
    }
    return {NONE, NONE, NONE, NONE};
}

bool is_byte_token(std::string_view text) {
    const auto is_hex = [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
    };
    return text.size() == 6 && text.substr(0, 3) == "<0x" && is_hex(text[3]) && is_hex(text[4]) &&
           text[5] == '>';
}

// Array `key` must have one item of one of two types for each token; M04.
void check_parallel(const GgufFile & file, const char * key, uint32_t type, uint32_t other_type,
                    uint64_t n_tokens, Findings & findings) {
    const Value * value = file.find(key);
    if (value == nullptr) {
        return;
    }
    if (!value->is_array_of(type) && !value->is_array_of(other_type)) {
        findings.error("M04", value->offset,
                       std::string(key) + " has to be an array of " + value_type_name(type) + ".");
    } else if (value->n_items != n_tokens) {
        findings.error("M04", value->offset,
                       std::string(key) + " has " + std::to_string(value->n_items) + " items for " +
                           std::to_string(n_tokens) + " tokens.");
    }
}

// Each token's text once; M04 for repetitions, M06 for bytes.
void check_texts(const GgufFile & file, const Source & source, const Value & tokens,
                 const std::string & model, Findings & findings) {
    const Value * types = file.find("tokenizer.ggml.token_type");
    std::unordered_set<uint64_t> seen;  // 64-bit hashes: equal ones are compared by a second hash
    std::unordered_set<uint64_t> seen_again;
    seen.reserve(tokens.n_items);
    bool has_newline = false;
    const std::hash<std::string_view> hash;
    for_each_string(
        source, tokens, findings, [&](uint64_t i, uint64_t offset, std::string_view text) {
            // llama.cpp reads tokens as C strings: what follows a zero byte tells nothing apart.
            text = text.substr(0, text.find('\0'));
            has_newline |= text == "\\n" || text == "\n" || text == "\\x0a";
            if (text.empty()) {
                return;
            }
            const bool is_new = seen.insert(hash(text)).second;
            const bool is_new_too = seen_again.insert(hash(std::string(text) + "#")).second;
            if (!is_new && !is_new_too) {
                findings.error("M04", offset,
                               "Token " + std::to_string(i) + ", " + shown(text) +
                                   ", stands in the vocabulary twice; llama.cpp ends "
                                   "the process on that.");
            }
            if (model == "plamo2" && text.substr(0, 3) == "<0x" && !is_byte_token(text)) {
                findings.error(
                    "M06", offset,
                    "Token " + std::to_string(i) + ", " + shown(text) + ", names no byte.");
            }
        });
    if (model == "rwkv" && !has_newline) {
        findings.error("M06", tokens.offset, "The vocabulary has no token for a new line.");
    }
    if (types == nullptr || !types->is_array_of(VALUE_I32) || types->n_items != tokens.n_items) {
        return;
    }
    constexpr uint32_t BYTE = 6;  // LLAMA_TOKEN_TYPE_BYTE
    Cursor cursor(source, findings, types->offset, "S21");
    for_each_string(source, tokens, findings,
                    [&](uint64_t i, uint64_t offset, std::string_view text) {
                        if (cursor.u32() == BYTE && !is_byte_token(text)) {
                            findings.error("M06", offset,
                                           "Token " + std::to_string(i) + ", " + shown(text) +
                                               ", is marked as a byte and is not called <0x00> to "
                                               "<0xFF>.");
                        }
                    });
}

int64_t effective(const GgufFile & file, const char * name, int64_t fallback, uint64_t n_tokens,
                  Findings & findings) {
    const std::string key = std::string("tokenizer.ggml.") + name + "_token_id";
    const Value * value = file.find(key);
    if (value == nullptr) {
        if (fallback != NONE && static_cast<uint64_t>(fallback) >= n_tokens) {
            findings.error("M05", file.offset_of("tokenizer.ggml.tokens"),
                           "The file has no " + key + ", and the usual " +
                               std::to_string(fallback) + " is not in its vocabulary of " +
                               std::to_string(n_tokens) + " tokens.");
        }
        return fallback;
    }
    if (value->type != VALUE_U32) {
        findings.error("M05", value->offset, key + " has to be a u32.");
        return NONE;
    }
    const int64_t id = *value->integer();
    if (id == NONE_AS_U32) {
        return NONE;
    }
    if (static_cast<uint64_t>(id) >= n_tokens) {
        findings.error("M05", value->offset,
                       key + " is " + std::to_string(id) + "; the vocabulary has " +
                           std::to_string(n_tokens) + " tokens.");
    }
    return id;
}

void check_special(const GgufFile & file, const std::string & model, uint64_t n_tokens,
                   Findings & findings) {
    Defaults ids = defaults_of(model);
    const std::string pre = file.text("tokenizer.ggml.pre");
    if (pre == "chatglm-bpe" || pre == "glm4" || pre == "glm5") {
        ids.bos = NONE;
    }
    ids.bos = effective(file, "bos", ids.bos, n_tokens, findings);
    ids.eos = effective(file, "eos", ids.eos, n_tokens, findings);
    ids.sep = effective(file, "seperator", ids.sep, n_tokens, findings);
    effective(file, "unknown", ids.unk, n_tokens, findings);
    for (const char * name :
         {"eot", "eom", "padding", "mask", "cls", "fim_pre", "fim_suf", "fim_mid", "fim_pad",
          "fim_rep", "fim_sep", "prefix", "suffix", "middle"}) {
        effective(file, name, NONE, n_tokens, findings);
    }
    const std::pair<const char *, int64_t> added[] = {
        {"tokenizer.ggml.add_bos_token", ids.bos},
        {"tokenizer.ggml.add_eos_token", ids.eos},
        {"tokenizer.ggml.add_sep_token", ids.sep},
    };
    for (const auto & [key, id] : added) {
        const Value * value = file.find(key);
        if (value != nullptr && value->type != VALUE_BOOL) {
            findings.error("M05", value->offset, std::string(key) + " has to be a bool.");
        } else if (value != nullptr && value->bits == 1 && id == NONE) {
            findings.error("M05", value->offset,
                           std::string(key) +
                               " asks for a token that the vocabulary does not "
                               "name; llama.cpp ends the process on that.");
        }
    }
}

}  // namespace

void check_vocabulary(const GgufFile & file, const Source & source, Findings & findings) {
    const Value * model = file.find("tokenizer.ggml.model");
    if (model == nullptr) {
        findings.error("M04", 24,
                       "The model has no tokenizer.ggml.model, so no text can be "
                       "turned into tokens. Download another conversion of it.");
        return;
    }
    const std::string name = file.text("tokenizer.ggml.model");
    if (model->type != VALUE_STRING || name.empty()) {
        findings.error("M04", model->offset, "tokenizer.ggml.model has to be a name.");
        return;
    }
    if (name == "none" || name == "no_vocab") {
        return;
    }
    const Value * tokens = file.find("tokenizer.ggml.tokens");
    if (tokens == nullptr || !tokens->is_array_of(VALUE_STRING) || tokens->n_items == 0 ||
        tokens->n_items > MAX_TOKENS) {
        findings.error("M04", tokens == nullptr ? 24 : tokens->offset,
                       "tokenizer.ggml.tokens has to be an array of 1 to 1048576 strings.");
        return;
    }
    check_parallel(file, "tokenizer.ggml.scores", VALUE_F32, VALUE_I32, tokens->n_items, findings);
    check_parallel(file, "tokenizer.ggml.token_type", VALUE_I32, VALUE_I32, tokens->n_items,
                   findings);
    const Value * merges = file.find("tokenizer.ggml.merges");
    if (merges != nullptr && !merges->is_array_of(VALUE_STRING)) {
        findings.error("M04", merges->offset, "tokenizer.ggml.merges has to be strings.");
    }
    check_texts(file, source, *tokens, name, findings);
    check_special(file, name, tokens->n_items, findings);
}

}  // namespace luci::gguf
