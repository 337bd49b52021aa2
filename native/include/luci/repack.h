// Which weights the CPU back end copies into a layout of its own, besides the file they are in.
#pragma once

#include <cstdint>
#include <vector>

namespace luci {

// One tensor type whose matrices are rearranged, and the shapes it is done for.
struct RepackedType {
    int32_t type = 0;        // enum ggml_type
    bool is_expert = false;  // stacks of matrices that experts are chosen from, not single ones
    int64_t row_length_step = 1;  // ne[0] is a multiple of it
    int64_t n_rows_step = 1;      // ne[1] is a multiple of it
    double size_ratio = 1;        // bytes of the copy per byte of the tensor
};

// What this build rearranges on this CPU, found out by asking ggml about small matrices as
// llama.cpp asks about those of a model. The first entry that fits a tensor holds for it. Empty
// where a GPU is there: llama.cpp then keeps what stays on the CPU as it is.
std::vector<RepackedType> repacked_types();

}  // namespace luci
