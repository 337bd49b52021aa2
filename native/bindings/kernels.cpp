// ggml's plain C kernels under a C ABI of our own, for cffi: rows of any tensor type to float and
// back. Every argument is checked, because ggml itself would abort the process.
//
// luci_tui/engine/kernels.py declares the same functions; the two must stay equal.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "ggml.h"

#if defined(_WIN32)
#define LUCI_EXPORT extern "C" __declspec(dllexport)
#else
#define LUCI_EXPORT extern "C" __attribute__((visibility("default"), used))
#endif

namespace {

// Negative results; kernels.py turns each into a sentence.
enum Failure : int64_t {
    UNKNOWN_TYPE = -1,
    NO_KERNEL = -2,      // the type cannot be converted this way
    BAD_SIZE = -3,       // rows are not whole blocks, or a buffer has another size
    BAD_POINTER = -4,    // null, or not aligned for its element
    NEEDS_IMATRIX = -5,  // this type cannot be made without an importance matrix
    NOT_FINITE = -6      // NaN or infinity, which some kernels would abort on
};

// Far above any tensor, and far below where a product of two sizes would overflow.
constexpr int64_t MAX_VALUES = int64_t{1} << 40;

bool is_known(int32_t type) {
    return type >= 0 && type < GGML_TYPE_COUNT &&
           ggml_get_type_traits(static_cast<ggml_type>(type))->blck_size > 0;
}

bool can_quantize(ggml_type type) {
    switch (type) {
        case GGML_TYPE_F32:
        case GGML_TYPE_F16:
        case GGML_TYPE_BF16:
            return true;
        case GGML_TYPE_Q8_1:
        case GGML_TYPE_Q8_K:
            return false;  // made by ggml for its own products only
        default:
            return ggml_get_type_traits(type)->is_quantized;
    }
}

bool is_aligned(const void * pointer, size_t alignment) {
    return pointer != nullptr && reinterpret_cast<uintptr_t>(pointer) % alignment == 0;
}

bool is_finite(const float * values, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
        if (!std::isfinite(values[i])) {
            return false;
        }
    }
    return true;
}

int64_t row_size(ggml_type type, int64_t n_values) {
    if (n_values <= 0 || n_values > MAX_VALUES || n_values % ggml_blck_size(type) != 0) {
        return BAD_SIZE;
    }
    return static_cast<int64_t>(ggml_row_size(type, n_values));
}

}  // namespace

// How many numbers a type can have; some below it belong to types that ggml has removed.
LUCI_EXPORT int32_t luci_n_types() {
    return GGML_TYPE_COUNT;
}

// ggml's name of a type, such as "q4_K", or null.
LUCI_EXPORT const char * luci_type_name(int32_t type) {
    return is_known(type) ? ggml_type_name(static_cast<ggml_type>(type)) : nullptr;
}

// Bytes of n_values in a row; a negative Failure otherwise.
LUCI_EXPORT int64_t luci_row_size(int32_t type, int64_t n_values) {
    return is_known(type) ? row_size(static_cast<ggml_type>(type), n_values)
                          : static_cast<int64_t>(UNKNOWN_TYPE);
}

// 1 = luci_dequantize takes this type.
LUCI_EXPORT int32_t luci_can_dequantize(int32_t type) {
    return is_known(type) &&
           (type == GGML_TYPE_F32 ||
            ggml_get_type_traits(static_cast<ggml_type>(type))->to_float != nullptr);
}

// 1 = luci_quantize takes this type, 2 = with an importance matrix only, 0 = not at all.
LUCI_EXPORT int32_t luci_can_quantize(int32_t type) {
    if (!is_known(type) || !can_quantize(static_cast<ggml_type>(type))) {
        return 0;
    }
    return ggml_quantize_requires_imatrix(static_cast<ggml_type>(type)) ? 2 : 1;
}

// Turns n_values of `src` into floats; 0 or a Failure. `src` has exactly n_bytes.
LUCI_EXPORT int64_t luci_dequantize(int32_t type, const void * src, int64_t n_bytes, float * dst,
                                    int64_t n_values) {
    if (!is_known(type)) {
        return UNKNOWN_TYPE;
    }
    const ggml_type known = static_cast<ggml_type>(type);
    if (luci_can_dequantize(type) == 0) {
        return NO_KERNEL;
    }
    if (row_size(known, n_values) != n_bytes) {
        return BAD_SIZE;
    }
    if (!is_aligned(src, alignof(float)) || !is_aligned(dst, alignof(float))) {
        return BAD_POINTER;
    }
    if (known == GGML_TYPE_F32) {
        std::memcpy(dst, src, static_cast<size_t>(n_bytes));
    } else {
        ggml_get_type_traits(known)->to_float(src, dst, n_values);
    }
    return 0;
}

// Turns rows of floats into `type`; the bytes written or a Failure. `dst` has exactly n_bytes,
// `imatrix` n_per_row weights or is null.
LUCI_EXPORT int64_t luci_quantize(int32_t type, const float * src, void * dst, int64_t n_bytes,
                                  int64_t n_rows, int64_t n_per_row, const float * imatrix) {
    if (!is_known(type)) {
        return UNKNOWN_TYPE;
    }
    const ggml_type known = static_cast<ggml_type>(type);
    if (!can_quantize(known)) {
        return NO_KERNEL;
    }
    const int64_t row_bytes = row_size(known, n_per_row);
    if (row_bytes < 0 || n_rows <= 0 || n_rows > MAX_VALUES / n_per_row ||
        row_bytes * n_rows != n_bytes) {
        return BAD_SIZE;
    }
    if (!is_aligned(src, alignof(float)) || !is_aligned(dst, alignof(float)) ||
        (imatrix != nullptr && !is_aligned(imatrix, alignof(float)))) {
        return BAD_POINTER;
    }
    if (imatrix == nullptr && ggml_quantize_requires_imatrix(known)) {
        return NEEDS_IMATRIX;
    }
    if (!is_finite(src, n_rows * n_per_row) ||
        (imatrix != nullptr && !is_finite(imatrix, n_per_row))) {
        return NOT_FINITE;
    }
    return static_cast<int64_t>(
        ggml_quantize_chunk(known, src, dst, 0, n_rows, n_per_row, imatrix));
}
