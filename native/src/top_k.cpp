#include "luci/top_k.h"

#include <algorithm>
#include <limits>

namespace luci {

namespace {

// A block is looked at one by one only when its maximum beats the worst candidate so far.
constexpr int32_t BLOCK = 64;
constexpr int32_t LANES = 16;

// The maximum of one block, and whether it holds a NaN. One running maximum for each lane: a single
// one would be a chain of dependent comparisons that no compiler may reorder into vectors.
float block_maximum(const float * logits, int32_t n, bool & has_nan) {
    float maxima[LANES];
    int32_t n_nan[LANES] = {};
    std::fill(maxima, maxima + LANES, -std::numeric_limits<float>::infinity());
    int32_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (int32_t lane = 0; lane < LANES; lane++) {
            const float value = logits[i + lane];
            maxima[lane] = value > maxima[lane] ? value : maxima[lane];
            n_nan[lane] += value != value;
        }
    }
    for (; i < n; i++) {
        maxima[0] = logits[i] > maxima[0] ? logits[i] : maxima[0];
        n_nan[0] += logits[i] != logits[i];
    }
    has_nan |= std::any_of(n_nan, n_nan + LANES, [](int32_t count) { return count > 0; });
    return *std::max_element(maxima, maxima + LANES);
}

}  // namespace

bool select_top_k(const float * logits, int32_t n_vocab, int32_t k,
                  std::vector<llama_token_data> & out) {
    const auto better = [](const llama_token_data & a, const llama_token_data & b) {
        return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
    };
    out.clear();
    out.reserve(static_cast<size_t>(k) + 1);
    float threshold = -std::numeric_limits<float>::infinity();
    bool has_nan = false;
    for (int32_t begin = 0; begin < n_vocab; begin += BLOCK) {
        const int32_t end = std::min(begin + BLOCK, n_vocab);
        const float block_max = block_maximum(logits + begin, end - begin, has_nan);
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
