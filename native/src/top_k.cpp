#include "luci/top_k.h"

#include <algorithm>
#include <functional>
#include <limits>

namespace luci {

namespace {

// Measured: with more of them the maxima take longer to choose from, with fewer there are more
// logits in each of the best.
constexpr int32_t MIN_COLUMNS = 512;
constexpr int32_t COLUMNS_PER_TOKEN = 4;
constexpr float LOWEST = -std::numeric_limits<float>::infinity();

// Looks at the logits as rows of maxima.size() and writes down the largest of each column, which
// compilers turn into vectors. Returns whether one is a NaN.
bool column_maxima(const float * logits, int32_t n_vocab, std::vector<float> & maxima) {
    const int32_t n_columns = static_cast<int32_t>(maxima.size());
    int32_t n_nan = 0;
    for (int32_t begin = 0; begin < n_vocab; begin += n_columns) {
        const float * row = logits + begin;
        const int32_t n = std::min(n_columns, n_vocab - begin);
        float * largest = maxima.data();
        for (int32_t i = 0; i < n; i++) {
            largest[i] = row[i] > largest[i] ? row[i] : largest[i];
            n_nan += row[i] != row[i];
        }
    }
    return n_nan > 0;
}

// A value that at least k logits reach: the k-th largest maximum, for each column has one such
// logit. LOWEST when there are fewer columns than that.
float reached_by(std::vector<float> maxima, int32_t k) {
    if (k > static_cast<int32_t>(maxima.size())) {
        return LOWEST;
    }
    std::nth_element(maxima.begin(), maxima.begin() + (k - 1), maxima.end(), std::greater<float>());
    return maxima[k - 1];
}

}  // namespace

bool select_top_k(const float * logits, int32_t n_vocab, int32_t k,
                  std::vector<llama_token_data> & out) {
    out.clear();
    const int32_t n_columns = std::max(MIN_COLUMNS, COLUMNS_PER_TOKEN * k);
    std::vector<float> maxima(n_columns, LOWEST);
    const bool has_nan = column_maxima(logits, n_vocab, maxima);
    // Few columns reach this value, and nothing below it can be among the best.
    const float least = reached_by(maxima, k);
    for (int32_t column = 0; column < n_columns; column++) {
        if (maxima[column] < least || maxima[column] == LOWEST) {
            continue;
        }
        for (int32_t i = column; i < n_vocab; i += n_columns) {
            if (logits[i] >= least && logits[i] > LOWEST) {
                out.push_back({i, logits[i], 0.0f});
            }
        }
    }
    const auto better = [](const llama_token_data & a, const llama_token_data & b) {
        return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
    };
    const size_t n = std::min(out.size(), static_cast<size_t>(k));
    std::partial_sort(out.begin(), out.begin() + n, out.end(), better);
    out.resize(n);
    return !has_nan;
}

}  // namespace luci
