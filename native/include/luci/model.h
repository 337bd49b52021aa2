// A loaded model with its LoRA adapters.
#pragma once

#include <string>
#include <vector>

#include "llama-cpp.h"
#include "luci/types.h"

namespace luci {

// A model that reads a whole prompt with an encoder and writes its answer with a decoder, such as
// T5.
bool is_encoder_decoder(const llama_model * model);

class Model {
public:
    // Loads the file and the adapters. `progress.cancelled` ends the load.
    // Throws ModelLoadError with llama.cpp's own reason.
    Model(const LoadParams & params, LoadProgress & progress);

    llama_model * get() const { return model_.get(); }
    const llama_vocab * vocab() const { return vocab_; }
    int32_t n_vocab() const { return n_vocab_; }
    const std::vector<llama_adapter_lora_ptr> & loras() const { return loras_; }
    bool is_encoder_decoder() const { return luci::is_encoder_decoder(model_.get()); }
    // The token from which an encoder-decoder model begins its answer; LLAMA_TOKEN_NULL = the file
    // names none.
    llama_token decoder_start() const;
    // The value of a metadata key, or "" where the file has none.
    std::string metadata(const char * key) const;

    // Throws RequestError when one of them is no token of the vocabulary.
    void check_tokens(const std::vector<llama_token> & tokens) const;
    // Bytes of the token's text; control tokens only when `special`.
    std::string piece(llama_token token, bool special) const;
    // Throws RequestError when the text is too long to tokenize.
    std::vector<llama_token> tokenize(const std::string & text, bool add_special,
                                      bool parse_special) const;

private:
    std::vector<llama_token> tokenize_piece(const std::string & text, bool add_special,
                                            bool parse_special) const;

    // Adapters are freed before the model: declared after it.
    llama_model_ptr model_;
    std::vector<llama_adapter_lora_ptr> loras_;
    const llama_vocab * vocab_ = nullptr;
    int32_t n_vocab_ = 0;
};

// Loads one more model with the same rules, e.g. the draft model. With `is_plan` only its header is
// read, and its tensors have sizes but no memory.
llama_model_ptr load_model_file(const std::string & path, const LoadParams & params,
                                LoadProgress * progress, bool is_plan = false);

}  // namespace luci
