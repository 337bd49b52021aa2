// The deep check: every block of every tensor, D01 and D03. Reads with pread in pieces of a few
// MiB, so a file of any size needs little memory and may shrink without harm.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

#include "ggml.h"
#include "luci/errors.h"
#include "luci/validate.h"

namespace luci::gguf {

namespace {

constexpr uint64_t PIECE_BYTES = 2 << 20;
constexpr uint64_t NO_BLOCK = UINT64_MAX;

struct Piece {
    size_t tensor;
    uint64_t start;  // byte within the tensor
    uint64_t n_bytes;
    // What the check found.
    uint64_t bad_block = NO_BLOCK;  // first block of the tensor with NaN or infinity
    bool is_short = false;          // the file ended early
    bool is_constant = false;       // all blocks of the piece are the same
    size_t first_hash = 0;          // of its first block
    bool is_zero = false;           // its first block holds zero bytes only
};

std::vector<Piece> cut(const GgufFile & file) {
    std::vector<Piece> pieces;
    for (size_t i = 0; i < file.tensors.size(); ++i) {
        const Tensor & tensor = file.tensors[i];
        const uint64_t block_bytes = tensor_type(tensor.type)->block_bytes;
        const uint64_t step = PIECE_BYTES / block_bytes * block_bytes;
        for (uint64_t start = 0; start < tensor.n_bytes; start += step) {
            pieces.push_back({i, start, std::min(step, tensor.n_bytes - start)});
        }
    }
    return pieces;
}

bool is_half_finite(const char * bytes) {
    const auto high = static_cast<uint8_t>(bytes[1]);
    return (high & 0x7C) != 0x7C;  // all exponent bits of an F16: infinity or NaN
}

// Whether the scales of all blocks are finite. ggml_validate_row_data knows every type but two.
bool is_finite(uint32_t type, const char * data, uint64_t n_bytes) {
    constexpr uint32_t Q8_1 = GGML_TYPE_Q8_1;
    constexpr uint32_t NVFP4 = GGML_TYPE_NVFP4;
    if (type != Q8_1 && type != NVFP4) {
        return ggml_validate_row_data(static_cast<ggml_type>(type), data, n_bytes);
    }
    const uint64_t block_bytes = tensor_type(type)->block_bytes;
    for (const char * block = data; block < data + n_bytes; block += block_bytes) {
        if (type == Q8_1 && !(is_half_finite(block) && is_half_finite(block + 2))) {
            return false;
        }
        // Four scales of type UE4M3, in which 0x7F stands for NaN and the highest bit is unused.
        if (type == NVFP4 &&
            std::any_of(block, block + 4, [](char c) { return (c & 0x7F) == 0x7F; })) {
            return false;
        }
    }
    return true;
}

void check_piece(const GgufFile & file, const Source & source, Piece & piece, char * buffer) {
    const Tensor & tensor = file.tensors[piece.tensor];
    const uint64_t block_bytes = tensor_type(tensor.type)->block_bytes;
    const uint64_t at = file.data_start + tensor.data_offset + piece.start;
    if (source.read(at, buffer, piece.n_bytes) != piece.n_bytes) {
        piece.is_short = true;
        return;
    }
    if (!is_finite(tensor.type, buffer, piece.n_bytes)) {
        uint64_t block = 0;
        while ((block + 1) * block_bytes < piece.n_bytes &&
               is_finite(tensor.type, buffer + block * block_bytes, block_bytes)) {
            ++block;
        }
        piece.bad_block = piece.start / block_bytes + block;
    }
    const uint64_t n_rest = piece.n_bytes - block_bytes;
    piece.is_constant = std::memcmp(buffer, buffer + block_bytes, n_rest) == 0;
    piece.first_hash = std::hash<std::string_view>{}({buffer, block_bytes});
    piece.is_zero = std::all_of(buffer, buffer + block_bytes, [](char c) { return c == 0; });
}

void report_tensor(const GgufFile & file, const Piece * first, const Piece * end,
                   Findings & findings) {
    const Tensor & tensor = file.tensors[first->tensor];
    const TensorType & type = *tensor_type(tensor.type);
    const uint64_t data = file.data_start + tensor.data_offset;
    const auto bad =
        std::find_if(first, end, [](const Piece & piece) { return piece.bad_block != NO_BLOCK; });
    if (std::any_of(first, end, [](const Piece & piece) { return piece.is_short; })) {
        findings.error("F06", data,
                       "The file became shorter, or the disk failed, while tensor " +
                           shown(tensor.name) + " was read. Check it again.");
    } else if (bad != end) {
        findings.error("D01", data + bad->bad_block * type.block_bytes,
                       "Block " + std::to_string(bad->bad_block) + " of tensor " +
                           shown(tensor.name) + " (" + type.name +
                           ") holds NaN or infinity; the model would answer nonsense. Download it "
                           "again.");
    } else if (tensor.n_dims > 1 && tensor.n_bytes > type.block_bytes &&
               std::all_of(first, end, [&](const Piece & piece) {
                   return piece.is_constant && piece.first_hash == first->first_hash;
               })) {
        findings.warning("D03", data,
                         "Tensor " + shown(tensor.name) +
                             (first->is_zero ? " holds only zeros" : " repeats one block") +
                             "; it may never have been written.");
    }
}

}  // namespace

void check_data(const GgufFile & file, const Source & source, int32_t n_threads,
                ValidateProgress & progress, Findings & findings) {
    std::vector<Piece> pieces = cut(file);
    uint64_t total = 0;
    for (const Piece & piece : pieces) {
        total += piece.n_bytes;
    }
    progress.total_bytes = total;
    std::atomic<size_t> next{0};
    const auto work = [&]() {
        std::vector<char> buffer(PIECE_BYTES);
        for (size_t i = next++; i < pieces.size() && !progress.cancelled; i = next++) {
            check_piece(file, source, pieces[i], buffer.data());
            progress.done_bytes += pieces[i].n_bytes;
        }
    };
    const size_t n_cpus = std::max(1u, std::thread::hardware_concurrency());
    const size_t n_wanted = n_threads > 0 ? static_cast<size_t>(n_threads) : n_cpus;
    std::vector<std::thread> helpers;
    while (helpers.size() + 1 < std::min(n_wanted, pieces.size())) {
        helpers.emplace_back(work);
    }
    work();
    for (std::thread & helper : helpers) {
        helper.join();
    }
    if (progress.cancelled) {
        throw Error("The check was cancelled.");
    }
    for (size_t i = 0; i < pieces.size();) {
        size_t end = i;
        while (end < pieces.size() && pieces[end].tensor == pieces[i].tensor) {
            ++end;
        }
        report_tensor(file, &pieces[i], pieces.data() + end, findings);
        i = end;
    }
}

}  // namespace luci::gguf
