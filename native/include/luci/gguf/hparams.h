// The values of `{architecture}.…` with their checks, for the rules M02 and M08.
#pragma once

#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "luci/gguf/rules.h"

namespace luci::gguf {

// Source of the limits: LLAMA_MAX_* in src/llama-hparams.h of the pinned llama.cpp; the others are
// far above what any model has, and low enough that no product of them wraps.
constexpr int64_t MAX_BLOCKS = 512;
constexpr int64_t MAX_EXPERTS = 1024;
constexpr int64_t MAX_WIDTH = 1 << 20;
constexpr int64_t MAX_FEED_FORWARD = 1 << 24;
constexpr int64_t MAX_HEADS = 65'536;
constexpr int64_t MAX_HEAD_LENGTH = 65'536;
constexpr int64_t MAX_CONTEXT = 1 << 30;

class Hparams {
public:
    Hparams(const GgufFile & file, const Source & source, Findings & findings);

    const std::string & architecture() const { return architecture_; }
    bool is_one_of(std::initializer_list<std::string_view> architectures) const;
    std::string key(const std::string & name) const { return architecture_ + "." + name; }
    const Value * find(const std::string & name) const { return file_.find(key(name)); }
    bool has(const std::string & name) const { return find(name) != nullptr; }

    // A number of 32 bits; told once however often it is asked for.
    int64_t u32(const std::string & name, Range range, int64_t fallback = 0) const;
    // The same, and an error where it is missing.
    int64_t required(const std::string & name, Range range) const;
    // One number for all layers, or an array with one for each; empty where the key is missing or
    // wrong.
    std::vector<int64_t> per_layer(const std::string & name, Range range, int64_t n_layers) const;
    // The whole numbers of an array of `n_items` at most, whatever they are; empty for other types.
    std::vector<int64_t> integers(const Value & array, size_t n_items) const;

    void fail(const std::string & name, const std::string & message) const;

private:
    const GgufFile & file_;
    const Source & source_;
    Findings & findings_;
    std::string architecture_;
    mutable std::set<std::string> asked_;
};

// Heads as llama.cpp reads them; 0 = none. Layers with a sliding window may have sizes of their
// own.
struct HeadSizes {
    std::vector<int64_t> n_head;  // one for each layer
    std::vector<int64_t> n_head_kv;
    int64_t key = 0;
    int64_t value = 0;
    int64_t n_rot = 0;  // values of a key that turn with the position
    int64_t key_swa = 0;
    int64_t value_swa = 0;
    int64_t n_rot_swa = 0;
};
HeadSizes read_heads(const Hparams & hparams, int64_t n_embd, int64_t n_layers);

// What one architecture asks beyond that; M02, in architecture_rules.cpp.
void check_architecture(const Hparams & hparams, int64_t n_embd, int64_t n_layers);
// Heads and their positions; M02, in layer_rules.cpp.
void check_layers(const Hparams & hparams, int64_t n_embd, int64_t n_layers);

}  // namespace luci::gguf
