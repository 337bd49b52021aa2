#include "luci/gguf/hparams.h"

#include <algorithm>

namespace luci::gguf {

Hparams::Hparams(const GgufFile & file, const Source & source, Findings & findings)
    : file_(file),
      source_(source),
      findings_(findings),
      architecture_(file.text("general.architecture")) {
}

bool Hparams::is_one_of(std::initializer_list<std::string_view> architectures) const {
    return std::find(architectures.begin(), architectures.end(), architecture_) !=
           architectures.end();
}

int64_t Hparams::u32(const std::string & name, Range range, int64_t fallback) const {
    if (asked_.insert(name).second) {
        return checked_integer(file_, key(name), VALUE_U32, range, fallback, "M02", findings_);
    }
    Findings told;
    return checked_integer(file_, key(name), VALUE_U32, range, fallback, "M02", told);
}

int64_t Hparams::required(const std::string & name, Range range) const {
    if (!has(name)) {
        findings_.error("M02", 24,
                        "The model has no " + key(name) + ". Download another conversion of it.");
        return 0;
    }
    return u32(name, range);
}

std::vector<int64_t> Hparams::integers(const Value & array, size_t n_items) const {
    const bool is_signed = array.is_array_of(VALUE_I32);
    if (!is_signed && !array.is_array_of(VALUE_U32)) {
        return {};
    }
    std::vector<uint32_t> words(std::min<uint64_t>(array.n_items, n_items));
    words.resize(source_.read(array.offset, words.data(), words.size() * sizeof(uint32_t)) /
                 sizeof(uint32_t));
    std::vector<int64_t> result;
    for (const uint32_t word : words) {
        result.push_back(is_signed ? int64_t{static_cast<int32_t>(word)} : int64_t{word});
    }
    return result;
}

std::vector<int64_t> Hparams::per_layer(const std::string & name, Range range,
                                        int64_t n_layers) const {
    const Value * value = find(name);
    if (value == nullptr || n_layers < 1) {
        return {};
    }
    if (value->type != VALUE_ARRAY) {
        return std::vector<int64_t>(static_cast<size_t>(n_layers), u32(name, range));
    }
    const bool is_first = asked_.insert(name).second;
    const bool is_integer = value->item_type == VALUE_U32 || value->item_type == VALUE_I32;
    if (!is_integer || value->n_items != static_cast<uint64_t>(n_layers)) {
        if (is_first) {
            fail(name, key(name) + " has " + std::to_string(value->n_items) + " items of type " +
                           value_type_name(value->item_type) + "; it has to be " +
                           std::to_string(n_layers) + " of type u32 or i32.");
        }
        return {};
    }
    const std::vector<int64_t> items = integers(*value, static_cast<size_t>(n_layers));
    for (size_t i = 0; i < items.size(); ++i) {
        if (items[i] >= range.low && items[i] <= range.high) {
            continue;
        }
        if (is_first) {
            findings_.error("M02", value->offset + sizeof(uint32_t) * i,
                            key(name) + " is " + std::to_string(items[i]) + " in layer " +
                                std::to_string(i) + "; " + in_words(range) + " is possible.");
        }
        return {};
    }
    return items;
}

void Hparams::fail(const std::string & name, const std::string & message) const {
    findings_.error("M02", has(name) ? find(name)->offset : 24, message);
}

}  // namespace luci::gguf
