// The list of tensors and where their data lies: rules S13 to S23.
#include <algorithm>

#include "luci/gguf/file.h"

namespace luci::gguf {

namespace {

constexpr uint64_t MAX_NAME_BYTES = 63;  // Source: GGML_MAX_NAME in ggml.h, with its zero byte
constexpr uint32_t MAX_DIMS = 4;         // Source: GGML_MAX_DIMS
constexpr uint64_t MAX_VALUES = INT64_MAX;

std::string read_name(Cursor & cursor, GgufFile & file, Findings & findings) {
    const uint64_t start = cursor.offset();
    const uint64_t n_bytes = cursor.u64();
    if (n_bytes == 0 || n_bytes > MAX_NAME_BYTES) {
        findings.fatal("S13", start,
                       "A tensor's name has " + std::to_string(n_bytes) +
                           " bytes; names have 1 to 63. The file is damaged or "
                           "hostile.");
    }
    const std::string name(cursor.bytes(n_bytes));
    const bool has_control = std::any_of(name.begin(), name.end(), [](char c) {
        return static_cast<uint8_t>(c) < 0x20 || c == 0x7F;
    });
    if (has_control || !is_utf8(name)) {
        findings.error("S13", start,
                       "The tensor name " + shown(name) +
                           " holds control characters or is no text; readers of C "
                           "strings see another name.");
    }
    // ggml keeps names as C strings: what follows a zero byte does not tell two of them apart.
    const std::string as_c_string = name.substr(0, name.find('\0'));
    if (!file.tensor_by_name.emplace(as_c_string, file.tensors.size()).second) {
        findings.error("S13", start, "The tensor name " + shown(name) + " occurs twice.");
    }
    return as_c_string;
}

// Multiplies the dimensions; S14 to S16.
uint64_t count_values(const Tensor & tensor, Findings & findings) {
    uint64_t n_values = 1;
    for (uint32_t i = 0; i < tensor.n_dims; ++i) {
        const uint64_t ne = tensor.ne[i];
        if (ne == 0) {
            findings.fatal("S15", tensor.info_offset,
                           "Dimension " + std::to_string(i) + " of tensor " + shown(tensor.name) +
                               " is 0; a tensor without values has no use.");
        }
        if (ne > MAX_VALUES / n_values) {
            findings.fatal("S16", tensor.info_offset,
                           "The dimensions of tensor " + shown(tensor.name) +
                               " multiply to more than 2^63 values. The file is damaged or "
                               "hostile.");
        }
        n_values *= ne;
    }
    return n_values;
}

void check_type(Tensor & tensor, uint64_t n_values, Findings & findings) {
    const TensorType * type = tensor_type(tensor.type);
    if (type == nullptr) {
        const char * removed = removed_tensor_type(tensor.type);
        const std::string what =
            removed != nullptr
                ? std::string("the type ") + removed + ", which ggml has removed. Quantize it again"
                : "the unknown type " + std::to_string(tensor.type) +
                      ". Update luci, or download it again";
        findings.fatal("S17", tensor.info_offset,
                       "Tensor " + shown(tensor.name) + " has " + what + ".");
    }
    if (tensor.ne[0] % type->block_values != 0) {
        findings.fatal("S18", tensor.info_offset,
                       "Rows of tensor " + shown(tensor.name) + " have " +
                           std::to_string(tensor.ne[0]) + " values; " + type->name +
                           " needs a multiple of " + std::to_string(type->block_values) + ".");
    }
    const uint64_t n_blocks = n_values / type->block_values;
    if (n_blocks > MAX_VALUES / type->block_bytes) {
        findings.fatal("S16", tensor.info_offset,
                       "Tensor " + shown(tensor.name) +
                           " would have more than 2^63 bytes. The file is damaged or hostile.");
    }
    tensor.n_bytes = n_blocks * type->block_bytes;
}

Tensor read_tensor(Cursor & cursor, GgufFile & file, Findings & findings) {
    Tensor tensor;
    tensor.info_offset = cursor.offset();
    tensor.name = read_name(cursor, file, findings);
    tensor.n_dims = cursor.u32();
    if (tensor.n_dims == 0 || tensor.n_dims > MAX_DIMS) {
        findings.fatal("S14", tensor.info_offset,
                       "Tensor " + shown(tensor.name) + " has " + std::to_string(tensor.n_dims) +
                           " dimensions; 1 to 4 exist. The file is damaged or hostile.");
    }
    for (uint32_t i = 0; i < tensor.n_dims; ++i) {
        tensor.ne[i] = cursor.u64();
    }
    tensor.type = cursor.u32();
    tensor.data_offset = cursor.u64();
    check_type(tensor, count_values(tensor, findings), findings);
    return tensor;
}

void check_padding(const Source & source, uint64_t start, uint64_t end, Findings & findings) {
    char padding[4096];
    const size_t n_read = source.read(start, padding, std::min<uint64_t>(end - start, 4096));
    if (std::any_of(padding, padding + n_read, [](char c) { return c != 0; })) {
        findings.warning("S23", start,
                         "The padding before the tensor data is not zero; something is hidden "
                         "there, or a careless program wrote the file.");
    }
}

}  // namespace

void parse_tensors(Cursor & cursor, const Source & source, uint64_t n_tensors, GgufFile & file,
                   Findings & findings) {
    for (uint64_t i = 0; i < n_tensors; ++i) {
        file.tensors.push_back(read_tensor(cursor, file, findings));
    }
    const uint64_t padding_start = cursor.offset();
    file.data_start = (padding_start + file.alignment - 1) / file.alignment * file.alignment;
    const uint64_t size = source.size();
    check_padding(source, padding_start, std::min(file.data_start, size), findings);
    uint64_t expected = 0;  // stays below 2^63: each step is bounded by the size of the file
    for (const Tensor & tensor : file.tensors) {
        if (tensor.data_offset % file.alignment != 0) {
            findings.fatal("S19", tensor.info_offset,
                           "The data of tensor " + shown(tensor.name) + " starts at offset " +
                               std::to_string(tensor.data_offset) +
                               ", no multiple of the alignment " + std::to_string(file.alignment) +
                               ".");
        }
        if (tensor.data_offset != expected) {
            findings.fatal("S20", tensor.info_offset,
                           "The data of tensor " + shown(tensor.name) + " starts at offset " +
                               std::to_string(tensor.data_offset) + " where " +
                               std::to_string(expected) +
                               " is due: tensors overlap, leave a gap or are out of order.");
        }
        if (file.data_start > size || expected > size - file.data_start ||
            tensor.n_bytes > size - file.data_start - expected) {
            const uint64_t end =
                file.data_start + expected + std::min(tensor.n_bytes, MAX_VALUES / 2);
            findings.fatal("S21", size,
                           "The file is cut off: tensor " + shown(tensor.name) + " ends at byte " +
                               std::to_string(end) + ", so it needs " + std::to_string(end - size) +
                               " more bytes. Resume the download or fetch the file again.");
        }
        expected += tensor.n_bytes;
        // The last tensor may end without its padding; the next one is then cut off and told so.
        expected = (expected + file.alignment - 1) / file.alignment * file.alignment;
    }
    const uint64_t end = n_tensors == 0 ? padding_start : file.data_start + expected;
    if (size > end && size - end >= file.alignment) {
        findings.warning("S22", end,
                         std::to_string(size - end) +
                             " bytes follow the last tensor; nothing reads them. The "
                             "file may hold something else, or a tensor is not listed.");
    }
}

}  // namespace luci::gguf
