// select_top_k against a full sort.
#include "luci/top_k.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "check.h"

static void test_against_sort() {
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    for (const int32_t n_vocab : {1, 5, 511, 512, 513, 2000, 32000}) {
        for (const int32_t k : {1, 2, 40, 256}) {
            std::vector<float> logits(n_vocab);
            for (float & logit : logits) {
                logit = random() % 10 == 0 ? -INFINITY : normal(random);
            }
            std::vector<int32_t> order(n_vocab);
            std::iota(order.begin(), order.end(), 0);
            std::stable_sort(order.begin(), order.end(),
                             [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
            std::vector<llama_token_data> top;
            CHECK(luci::select_top_k(logits.data(), n_vocab, k, top));
            for (size_t i = 0; i < top.size(); i++) {
                CHECK(top[i].id == order[i]);
            }
            const auto n_finite =
                std::count_if(logits.begin(), logits.end(), [](float x) { return x > -INFINITY; });
            CHECK(static_cast<int64_t>(top.size()) == std::min<int64_t>(k, n_finite));
        }
    }
}

static void test_equal_logits() {
    for (const int32_t n_vocab : {200, 2000}) {
        const std::vector<float> logits(n_vocab, 1.5f);
        std::vector<llama_token_data> top;
        CHECK(luci::select_top_k(logits.data(), n_vocab, 3, top));
        CHECK(top.size() == 3 && top[0].id == 0 && top[1].id == 1 && top[2].id == 2);
    }
}

static void test_nan() {
    std::vector<float> logits(100, 0.0f);
    logits[77] = std::numeric_limits<float>::quiet_NaN();
    std::vector<llama_token_data> top;
    CHECK(!luci::select_top_k(logits.data(), 100, 5, top));
}

int main() {
    test_against_sort();
    test_equal_logits();
    test_nan();
    return check::result();
}
