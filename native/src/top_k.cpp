#include "luci/top_k.h"

#include <algorithm>
#include <limits>

namespace luci {

bool select_top_k(const float * logits, int32_t n_vocab, int32_t k,
                  std::vector<llama_token_data> & out) {
    const auto better = [](const llama_token_data & a, const llama_token_data & b) {
        return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
    };
    // A block is looked at one by one only when its maximum beats the worst candidate so far;
    // blocks of this size let the compiler keep the running maximum in vector registers.
    constexpr int32_t BLOCK = 64;
    out.clear();
    out.reserve(static_cast<size_t>(k) + 1);
    float threshold = -std::numeric_limits<float>::infinity();
    bool has_nan = false;
    for (int32_t begin = 0; begin < n_vocab; begin += BLOCK) {
        const int32_t end = std::min(begin + BLOCK, n_vocab);
        float block_max = -std::numeric_limits<float>::infinity();
        int32_t n_nan = 0;
        for (int32_t i = begin; i < end; i++) {
            block_max = logits[i] > block_max ? logits[i] : block_max;
            n_nan += logits[i] != logits[i];
        }
        has_nan |= n_nan > 0;
        if (block_max <= threshold) {
            continue;
        }
        for (int32_t i = begin; i < end; i++) {
            if (!(logits[i] > threshold)) {
                continue;
            }
            // `better` as the heap's order puts the worst candidate on top.
            out.push_back({i, logits[i], 0.0f});
            std::push_heap(out.begin(), out.end(), better);
            if (static_cast<int32_t>(out.size()) > k) {
                std::pop_heap(out.begin(), out.end(), better);
                out.pop_back();
            }
            if (static_cast<int32_t>(out.size()) == k) {
                threshold = out.front().logit;
            }
        }
    }
    std::sort_heap(out.begin(), out.end(), better);
    return !has_nan;
}

}  // namespace luci
