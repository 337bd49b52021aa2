#include "luci/repack.h"

#include "ggml-backend.h"
#include "ggml-cpp.h"
#include "ggml-cpu.h"
#include "luci/log.h"

namespace luci {

// Steps are powers of two. 3 times a step is a multiple of it and not of the next one.
constexpr int64_t odd = 3;
constexpr int64_t max_step = 64;
constexpr int64_t n_tokens = 2;
constexpr int64_t n_experts = 2;

static bool has_gpu() {
    return ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_GPU) != nullptr ||
           ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_IGPU) != nullptr;
}

static std::vector<ggml_backend_buffer_type_t> layouts(ggml_backend_dev_t cpu) {
    std::vector<ggml_backend_buffer_type_t> found;
    const auto get =
        reinterpret_cast<ggml_backend_dev_get_extra_bufts_t>(ggml_backend_reg_get_proc_address(
            ggml_backend_dev_backend_reg(cpu), "ggml_backend_dev_get_extra_bufts"));
    if (get == nullptr) {
        return found;
    }
    for (ggml_backend_buffer_type_t * one = get(cpu); one != nullptr && *one != nullptr; one++) {
        found.push_back(*one);
    }
    return found;
}

// The ratio of sizes when a matrix of this shape would be put into `layout`, else 0.
static double ratio_in(ggml_backend_dev_t cpu, ggml_backend_buffer_type_t layout, ggml_type type,
                       bool is_expert, int64_t row_length, int64_t n_rows) {
    const ggml_context_ptr context(ggml_init({ggml_tensor_overhead() * 4, nullptr, true}));
    ggml_context * ctx = context.get();
    ggml_tensor * weight =
        ggml_new_tensor_3d(ctx, type, row_length, n_rows, is_expert ? n_experts : 1);
    ggml_tensor * product = nullptr;
    if (is_expert) {
        ggml_tensor * values = ggml_new_tensor_3d(ctx, GGML_TYPE_F32, row_length, 1, n_tokens);
        ggml_tensor * chosen = ggml_new_tensor_2d(ctx, GGML_TYPE_I32, 1, n_tokens);
        product = ggml_mul_mat_id(ctx, weight, values, chosen);
    } else {
        ggml_tensor * values = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, row_length, n_tokens);
        product = ggml_mul_mat(ctx, weight, values);
    }
    const ggml_backend_buffer_ptr buffer(ggml_backend_buft_alloc_buffer(layout, 0));
    weight->buffer = buffer.get();
    if (!ggml_backend_dev_supports_op(cpu, product)) {
        return 0;
    }
    return static_cast<double>(ggml_backend_buft_get_alloc_size(layout, weight)) /
           static_cast<double>(ggml_nbytes(weight));
}

// Adds the smallest steps at which a type is rearranged, if it is at all.
static void add_type(std::vector<RepackedType> & found, ggml_backend_dev_t cpu,
                     ggml_backend_buffer_type_t layout, ggml_type type, bool is_expert) {
    const int64_t block = ggml_blck_size(type);
    for (int64_t row_step = 1; row_step <= max_step; row_step *= 2) {
        for (int64_t n_rows_step = 1; n_rows_step <= max_step; n_rows_step *= 2) {
            const double ratio =
                ratio_in(cpu, layout, type, is_expert, odd * row_step * block, odd * n_rows_step);
            if (ratio > 0) {
                found.push_back({type, is_expert, row_step * block, n_rows_step, ratio});
                return;
            }
        }
    }
}

std::vector<RepackedType> repacked_types() {
    init_backend();
    std::vector<RepackedType> found;
    ggml_backend_dev_t cpu = ggml_backend_dev_by_type(GGML_BACKEND_DEVICE_TYPE_CPU);
    if (cpu == nullptr || has_gpu()) {
        return found;
    }
    for (ggml_backend_buffer_type_t layout : layouts(cpu)) {
        for (int number = 0; number < GGML_TYPE_COUNT; number++) {
            const auto type = static_cast<ggml_type>(number);
            const bool is_float = type == GGML_TYPE_F16 || type == GGML_TYPE_BF16;
            if (ggml_blck_size(type) > 0 && (ggml_is_quantized(type) || is_float)) {
                add_type(found, cpu, layout, type, false);
                add_type(found, cpu, layout, type, true);
            }
        }
    }
    return found;
}

}  // namespace luci
