// A GGUF file as the validator reads it: bounded, nothing allocated from a number in the file.
// Source of the format: ggml/docs/gguf.md; of the stricter rules: ggml/src/gguf.cpp of the pinned
// llama.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "luci/gguf/findings.h"
#include "luci/gguf/source.h"

namespace luci::gguf {

enum ValueType : uint32_t {
    VALUE_U8 = 0,
    VALUE_I8 = 1,
    VALUE_U16 = 2,
    VALUE_I16 = 3,
    VALUE_U32 = 4,
    VALUE_I32 = 5,
    VALUE_F32 = 6,
    VALUE_BOOL = 7,
    VALUE_STRING = 8,
    VALUE_ARRAY = 9,
    VALUE_U64 = 10,
    VALUE_I64 = 11,
    VALUE_F64 = 12,
};

const char * value_type_name(uint32_t type);
// Bytes of one value, 0 for strings, arrays and unknown types.
size_t value_type_bytes(uint32_t type);

struct TensorType {
    const char * name;
    uint32_t block_values;  // values stored together
    uint32_t block_bytes;   // bytes of one such block
};
// nullptr for a number that this build knows no type for.
const TensorType * tensor_type(uint32_t number);
// Name of a type that ggml has removed, or nullptr.
const char * removed_tensor_type(uint32_t number);

struct Value {
    uint32_t type = 0;       // ValueType
    uint32_t item_type = 0;  // of an array
    uint64_t n_items = 1;    // of an array; 1 otherwise
    uint64_t offset = 0;     // of the first byte of the value, after its type and lengths
    uint64_t n_bytes = 0;
    uint64_t bits = 0;  // of a scalar, zero-extended
    std::string text;   // of a string, its first KEPT_BYTES

    static constexpr size_t KEPT_BYTES = 64 * 1024;

    bool is_array_of(uint32_t wanted) const { return type == VALUE_ARRAY && item_type == wanted; }
    // Integers of any width and sign as a number; empty for other types.
    std::optional<int64_t> integer() const;
    // F32 and F64; empty for other types.
    std::optional<double> real() const;
};

struct Tensor {
    std::string name;
    uint64_t info_offset = 0;  // where its record begins
    uint32_t n_dims = 0;
    std::array<uint64_t, 4> ne{1, 1, 1, 1};  // ne[0] is the contiguous dimension
    uint32_t type = 0;
    uint64_t data_offset = 0;  // relative to GgufFile::data_start
    uint64_t n_bytes = 0;
};

struct GgufFile {
    uint32_t version = 0;
    uint64_t alignment = 32;
    uint64_t data_start = 0;        // first byte of the data section
    std::vector<std::string> keys;  // in the order of the file
    std::unordered_map<std::string, Value> values;
    std::vector<Tensor> tensors;
    std::unordered_map<std::string, size_t> tensor_by_name;

    const Value * find(const std::string & key) const;
    // The text of a string value; "" where there is none.
    std::string text(const std::string & key) const;
    const Tensor * tensor(const std::string & name) const;
    // Offset of a value for a finding; 0 where there is none.
    uint64_t offset_of(const std::string & key) const;
};

// Reads the header and checks the rules S01 to S23. Throws Unreadable after a finding behind which
// nothing can be read.
GgufFile parse(const Source & source, Findings & findings);

// The two halves of parse(), each in a file of its own.
void parse_values(Cursor & cursor, uint64_t n_values, GgufFile & file, Findings & findings);
void parse_tensors(Cursor & cursor, const Source & source, uint64_t n_tensors, GgufFile & file,
                   Findings & findings);

// Calls `each(index, offset, bytes)` for the strings of an array that parse() has accepted; of a
// string longer than Cursor::MAX_VIEW it gives the beginning.
template <typename Each>
void for_each_string(const Source & source, const Value & array, Findings & findings, Each each) {
    Cursor cursor(source, findings, array.offset, "S21");
    for (uint64_t i = 0; i < array.n_items; ++i) {
        const uint64_t n_bytes = cursor.u64();
        const uint64_t start = cursor.offset();
        const uint64_t n_seen = n_bytes < Cursor::MAX_VIEW ? n_bytes : uint64_t(Cursor::MAX_VIEW);
        each(i, start, cursor.bytes(n_seen));
        cursor.skip(n_bytes - n_seen);
    }
}

}  // namespace luci::gguf
