// The types of values and of tensors. Source: gguf.h, ggml.h and the block structs of
// ggml-common.h.
#include <cstring>

#include "luci/gguf/file.h"

namespace luci::gguf {

const char * value_type_name(uint32_t type) {
    static const char * const NAMES[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};
    return type <= VALUE_F64 ? NAMES[type] : "unknown";
}

size_t value_type_bytes(uint32_t type) {
    static const size_t BYTES[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type <= VALUE_F64 ? BYTES[type] : 0;
}

const TensorType * tensor_type(uint32_t number) {
    static const std::unordered_map<uint32_t, TensorType> TYPES = {
        {0, {"F32", 1, 4}},         {1, {"F16", 1, 2}},         {2, {"Q4_0", 32, 18}},
        {3, {"Q4_1", 32, 20}},      {6, {"Q5_0", 32, 22}},      {7, {"Q5_1", 32, 24}},
        {8, {"Q8_0", 32, 34}},      {9, {"Q8_1", 32, 36}},      {10, {"Q2_K", 256, 84}},
        {11, {"Q3_K", 256, 110}},   {12, {"Q4_K", 256, 144}},   {13, {"Q5_K", 256, 176}},
        {14, {"Q6_K", 256, 210}},   {15, {"Q8_K", 256, 292}},   {16, {"IQ2_XXS", 256, 66}},
        {17, {"IQ2_XS", 256, 74}},  {18, {"IQ3_XXS", 256, 98}}, {19, {"IQ1_S", 256, 50}},
        {20, {"IQ4_NL", 32, 18}},   {21, {"IQ3_S", 256, 110}},  {22, {"IQ2_S", 256, 82}},
        {23, {"IQ4_XS", 256, 136}}, {24, {"I8", 1, 1}},         {25, {"I16", 1, 2}},
        {26, {"I32", 1, 4}},        {27, {"I64", 1, 8}},        {28, {"F64", 1, 8}},
        {29, {"IQ1_M", 256, 56}},   {30, {"BF16", 1, 2}},       {34, {"TQ1_0", 256, 54}},
        {35, {"TQ2_0", 256, 66}},   {39, {"MXFP4", 32, 17}},    {40, {"NVFP4", 64, 36}},
        {41, {"Q1_0", 128, 18}},    {42, {"Q2_0", 64, 18}},
    };
    const auto found = TYPES.find(number);
    return found == TYPES.end() ? nullptr : &found->second;
}

const char * removed_tensor_type(uint32_t number) {
    switch (number) {
        case 4:
            return "Q4_2";
        case 5:
            return "Q4_3";
        case 31:
            return "Q4_0_4_4";
        case 32:
            return "Q4_0_4_8";
        case 33:
            return "Q4_0_8_8";
        case 36:
            return "IQ4_NL_4_4";
        case 37:
            return "IQ4_NL_4_8";
        case 38:
            return "IQ4_NL_8_8";
        default:
            return nullptr;
    }
}

std::optional<int64_t> Value::integer() const {
    switch (type) {
        case VALUE_U8:
        case VALUE_U16:
        case VALUE_U32:
        case VALUE_U64:
            return bits > INT64_MAX ? INT64_MAX : static_cast<int64_t>(bits);
        case VALUE_I8:
            return static_cast<int8_t>(bits);
        case VALUE_I16:
            return static_cast<int16_t>(bits);
        case VALUE_I32:
            return static_cast<int32_t>(bits);
        case VALUE_I64:
            return static_cast<int64_t>(bits);
        default:
            return std::nullopt;
    }
}

std::optional<double> Value::real() const {
    if (type == VALUE_F32) {
        const auto low = static_cast<uint32_t>(bits);
        float value = 0;
        std::memcpy(&value, &low, sizeof(value));
        return value;
    }
    if (type == VALUE_F64) {
        double value = 0;
        std::memcpy(&value, &bits, sizeof(value));
        return value;
    }
    return std::nullopt;
}

const Value * GgufFile::find(const std::string & key) const {
    const auto found = values.find(key);
    return found == values.end() ? nullptr : &found->second;
}

std::string GgufFile::text(const std::string & key) const {
    const Value * value = find(key);
    return value != nullptr && value->type == VALUE_STRING ? value->text : "";
}

const Tensor * GgufFile::tensor(const std::string & name) const {
    const auto found = tensor_by_name.find(name);
    return found == tensor_by_name.end() ? nullptr : &tensors[found->second];
}

uint64_t GgufFile::offset_of(const std::string & key) const {
    const Value * value = find(key);
    return value == nullptr ? 0 : value->offset;
}

}  // namespace luci::gguf
