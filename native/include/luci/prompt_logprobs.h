// Where the tokens of a prompt stand in its text, for requests that ask for the probabilities of
// the prompt itself.
#pragma once

#include <string>
#include <vector>

#include "luci/model.h"

namespace luci {

// Rows of logits that one step may keep for prompts, besides those for the next tokens. Each has
// n_vocab floats, so such a prompt is computed in chunks of this many tokens.
constexpr int32_t MAX_PROMPT_ROWS = 32;

// For each token the character of the text at which it begins. `text` is what the tokens were made
// from; null = they came without one, and their text is that of Engine::detokenize with control
// tokens.
std::vector<int32_t> token_offsets(const Model & model, const std::vector<llama_token> & tokens,
                                   const std::string * text);

}  // namespace luci
