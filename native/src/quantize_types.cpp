#include "llama.h"
#include "luci/quantize.h"

namespace luci {

// Bits per weight: of Llama 3.1 8B as tools/quantize/README.md and tools/quantize/quantize.cpp of
// the pinned llama.cpp have it; for Q1_0, Q2_0, TQ1_0, TQ2_0 and MXFP4_MOE those of one tensor.
const std::vector<QuantizeType> & quantize_types() {
    static const std::vector<QuantizeType> types = {
        {"Q1_0", LLAMA_FTYPE_MOSTLY_Q1_0, 1.125, "", "one bit, for models trained for it"},
        {"TQ1_0", LLAMA_FTYPE_MOSTLY_TQ1_0, 1.69, "", "ternary, for models trained for it"},
        {"IQ1_S", LLAMA_FTYPE_MOSTLY_IQ1_S, 2.00, "",
         "smallest that still answers; needs an imatrix"},
        {"TQ2_0", LLAMA_FTYPE_MOSTLY_TQ2_0, 2.06, "", "ternary, faster and larger than TQ1_0"},
        {"IQ1_M", LLAMA_FTYPE_MOSTLY_IQ1_M, 2.15, "", "a little above IQ1_S; needs an imatrix"},
        {"Q2_0", LLAMA_FTYPE_MOSTLY_Q2_0, 2.25, "", "two bits in groups of 64"},
        {"IQ2_XXS", LLAMA_FTYPE_MOSTLY_IQ2_XXS, 2.38, "",
         "very small, large loss; needs an imatrix"},
        {"IQ2_XS", LLAMA_FTYPE_MOSTLY_IQ2_XS, 2.59, "", "very small, large loss; needs an imatrix"},
        {"IQ2_S", LLAMA_FTYPE_MOSTLY_IQ2_S, 2.74, "", "very small, large loss; needs an imatrix"},
        {"IQ2_M", LLAMA_FTYPE_MOSTLY_IQ2_M, 2.93, "", "best of the 2-bit types; needs an imatrix"},
        {"Q2_K_S", LLAMA_FTYPE_MOSTLY_Q2_K_S, 2.97, "", "small, large loss; needs an imatrix"},
        {"Q2_K", LLAMA_FTYPE_MOSTLY_Q2_K, 3.16, "", "small, large loss, works without an imatrix"},
        {"IQ3_XXS", LLAMA_FTYPE_MOSTLY_IQ3_XXS, 3.25, "", "small, clear loss; needs an imatrix"},
        {"IQ3_XS", LLAMA_FTYPE_MOSTLY_IQ3_XS, 3.50, "", "small, clear loss; needs an imatrix"},
        {"Q3_K_S", LLAMA_FTYPE_MOSTLY_Q3_K_S, 3.64, "", "small, clear loss"},
        {"IQ3_S", LLAMA_FTYPE_MOSTLY_IQ3_S, 3.66, "",
         "better than Q3_K_S at its size, slower on a CPU"},
        {"IQ3_M", LLAMA_FTYPE_MOSTLY_IQ3_M, 3.76, "", "IQ3_S with more bits where they count"},
        {"Q3_K_M", LLAMA_FTYPE_MOSTLY_Q3_K_M, 4.00, "", "small, some loss"},
        {"Q3_K_L", LLAMA_FTYPE_MOSTLY_Q3_K_L, 4.30, "", "Q3_K_M with more bits where they count"},
        {"MXFP4_MOE", LLAMA_FTYPE_MOSTLY_MXFP4_MOE, 4.25, "",
         "experts in 4-bit floats, the rest Q8_0"},
        {"IQ4_XS", LLAMA_FTYPE_MOSTLY_IQ4_XS, 4.46, "", "smaller than Q4_K_S at about its quality"},
        {"Q4_0", LLAMA_FTYPE_MOSTLY_Q4_0, 4.64, "", "simple and fast; Q4_K_M is better"},
        {"Q4_K_S", LLAMA_FTYPE_MOSTLY_Q4_K_S, 4.67, "", "a little smaller than Q4_K_M"},
        {"IQ4_NL", LLAMA_FTYPE_MOSTLY_IQ4_NL, 4.68, "",
         "like IQ4_XS for rows that 256 does not divide"},
        {"Q4_K_M", LLAMA_FTYPE_MOSTLY_Q4_K_M, 4.89, "",
         "the usual choice: small loss, a third of F16"},
        {"Q4_1", LLAMA_FTYPE_MOSTLY_Q4_1, 5.11, "", "simple and fast; Q5_K_S is better"},
        {"Q5_0", LLAMA_FTYPE_MOSTLY_Q5_0, 5.57, "", "simple; Q5_K_S is better"},
        {"Q5_K_S", LLAMA_FTYPE_MOSTLY_Q5_K_S, 5.57, "", "very small loss"},
        {"Q5_K_M", LLAMA_FTYPE_MOSTLY_Q5_K_M, 5.70, "", "very small loss"},
        {"Q5_1", LLAMA_FTYPE_MOSTLY_Q5_1, 6.04, "", "simple; Q5_K_M is better"},
        {"Q6_K", LLAMA_FTYPE_MOSTLY_Q6_K, 6.56, "", "hardly any loss"},
        {"Q8_0", LLAMA_FTYPE_MOSTLY_Q8_0, 8.50, "", "no loss that matters, half of F16"},
        {"F16", LLAMA_FTYPE_MOSTLY_F16, 16.0, "", "16-bit floats; large values overflow"},
        {"BF16", LLAMA_FTYPE_MOSTLY_BF16, 16.0, "", "16-bit floats with the range of F32"},
        {"F32", LLAMA_FTYPE_ALL_F32, 32.0, "", "32-bit floats"},
        {"Q3_K", LLAMA_FTYPE_MOSTLY_Q3_K_M, 4.00, "Q3_K_M", "another name of Q3_K_M"},
        {"Q4_K", LLAMA_FTYPE_MOSTLY_Q4_K_M, 4.89, "Q4_K_M", "another name of Q4_K_M"},
        {"Q5_K", LLAMA_FTYPE_MOSTLY_Q5_K_M, 5.70, "Q5_K_M", "another name of Q5_K_M"},
        {"COPY", LLAMA_FTYPE_ALL_F32, 0.0, "", "no tensor changes; joins shards into one file"},
    };
    return types;
}

std::vector<std::string> quantize_tensor_types() {
    // What ggml_quantize_chunk writes; it aborts on any other type.
    static const ggml_type types[] = {
        GGML_TYPE_F32,    GGML_TYPE_F16,     GGML_TYPE_BF16,  GGML_TYPE_Q1_0,  GGML_TYPE_Q2_0,
        GGML_TYPE_Q4_0,   GGML_TYPE_Q4_1,    GGML_TYPE_Q5_0,  GGML_TYPE_Q5_1,  GGML_TYPE_Q8_0,
        GGML_TYPE_MXFP4,  GGML_TYPE_NVFP4,   GGML_TYPE_Q2_K,  GGML_TYPE_Q3_K,  GGML_TYPE_Q4_K,
        GGML_TYPE_Q5_K,   GGML_TYPE_Q6_K,    GGML_TYPE_TQ1_0, GGML_TYPE_TQ2_0, GGML_TYPE_IQ2_XXS,
        GGML_TYPE_IQ2_XS, GGML_TYPE_IQ3_XXS, GGML_TYPE_IQ3_S, GGML_TYPE_IQ2_S, GGML_TYPE_IQ1_S,
        GGML_TYPE_IQ1_M,  GGML_TYPE_IQ4_NL,  GGML_TYPE_IQ4_XS};
    std::vector<std::string> names;
    for (const ggml_type type : types) {
        names.emplace_back(ggml_type_name(type));
    }
    return names;
}

}  // namespace luci
