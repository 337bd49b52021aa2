// The k largest logits of a row, without an array of all candidates.
#pragma once

#include <cstdint>
#include <vector>

#include "llama.h"

namespace luci {

// Fills `out` with the k most likely tokens, best first, p = 0. Returns false when a logit is NaN.
// With k = 1 this is argmax. Equal logits: the lower token id wins.
bool select_top_k(const float * logits, int32_t n_vocab, int32_t k,
                  std::vector<llama_token_data> & out);

}  // namespace luci
