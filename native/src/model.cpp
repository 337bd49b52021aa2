#include "luci/model.h"

#include <cctype>
#include <cstring>

#include <climits>

#include "ggml-backend.h"
#include "ggml-rpc.h"
#include "luci/errors.h"
#include "luci/log.h"

namespace luci {

static bool on_progress(float fraction, void * user_data) {
    auto * progress = static_cast<LoadProgress *>(user_data);
    progress->fraction.store(fraction, std::memory_order_relaxed);
    return !progress->cancelled.load(std::memory_order_relaxed);
}

llama_model_ptr load_model_file(const std::string & path, const LoadParams & params,
                                LoadProgress * progress, bool is_plan) {
    llama_model_params mparams = llama_model_default_params();
    mparams.n_gpu_layers = params.n_gpu_layers;
    mparams.no_alloc = is_plan;
    if (is_plan) {
        mparams.load_mode = LLAMA_LOAD_MODE_NONE;
    } else if (params.use_mmap && params.use_mlock) {
        mparams.load_mode = LLAMA_LOAD_MODE_MMAP_MLOCK;
    } else if (params.use_mmap) {
        mparams.load_mode = LLAMA_LOAD_MODE_AUTO;
    } else {
        mparams.load_mode = params.use_mlock ? LLAMA_LOAD_MODE_MLOCK : LLAMA_LOAD_MODE_NONE;
    }
    if (progress != nullptr) {
        mparams.progress_callback = on_progress;
        mparams.progress_callback_user_data = progress;
    }
    ErrorCapture errors;
    llama_model_ptr model(llama_model_load_from_file(path.c_str(), mparams));
    if (!model) {
        if (progress != nullptr && progress->cancelled) {
            throw ModelLoadError("Loading " + path + " was cancelled.");
        }
        throw ModelLoadError(path +
                             " could not be loaded: " + errors.text("llama.cpp gave no reason") +
                             ". Check the file, or get it again.");
    }
    return model;
}

// Makes devices of the servers, which llama.cpp then fills before the machine's own. They stay for
// the life of the process. llama.cpp aborts the process where a server does not answer.
static void add_rpc_servers(const std::vector<std::string> & servers) {
    for (const std::string & server : servers) {
        ErrorCapture errors;
        ggml_backend_reg_t reg = ggml_backend_rpc_add_server(server.c_str());
        if (reg == nullptr) {
            throw ModelLoadError("The RPC server " + server +
                                 " offers no device: " + errors.text("llama.cpp gave no reason") +
                                 ". Start it with one, or leave it out.");
        }
        ggml_backend_register(reg);
    }
}

Model::Model(const LoadParams & params, LoadProgress & progress) {
    init_backend();
    add_rpc_servers(params.rpc_servers);
    model_ = load_model_file(params.model_path, params, &progress);
    vocab_ = llama_model_get_vocab(model_.get());
    n_vocab_ = llama_vocab_n_tokens(vocab_);
    for (const LoraSpec & lora : params.loras) {
        ErrorCapture errors;
        llama_adapter_lora * adapter = llama_adapter_lora_init(model_.get(), lora.path.c_str());
        if (adapter == nullptr) {
            throw ModelLoadError("The LoRA adapter " + lora.path + " could not be loaded: " +
                                 errors.text("it does not fit this model") + ". Use one made for " +
                                 params.model_path + ".");
        }
        loras_.emplace_back(adapter);
    }
}

bool is_encoder_decoder(const llama_model * model) {
    return llama_model_has_encoder(model) && llama_model_has_decoder(model);
}

llama_token Model::decoder_start() const {
    const llama_token token = llama_model_decoder_start_token(model_.get());
    return token == LLAMA_TOKEN_NULL ? llama_vocab_bos(vocab_) : token;
}

std::string Model::metadata(const char * key) const {
    char buffer[1024];
    const int32_t n = llama_model_meta_val_str(model_.get(), key, buffer, sizeof(buffer));
    return n > 0 ? std::string(buffer) : std::string();
}

void Model::check_tokens(const std::vector<llama_token> & tokens) const {
    for (const llama_token token : tokens) {
        if (token < 0 || token >= n_vocab_) {
            throw RequestError("invalid_token", "There is no token " + std::to_string(token) +
                                                    "; the vocabulary ends at " +
                                                    std::to_string(n_vocab_ - 1) + ".");
        }
    }
}

std::string Model::piece(llama_token token, bool special) const {
    char buffer[64];
    int32_t n = llama_token_to_piece(vocab_, token, buffer, sizeof(buffer), 0, special);
    if (n >= 0) {
        return std::string(buffer, n);
    }
    std::string text(static_cast<size_t>(-n), '\0');
    n = llama_token_to_piece(vocab_, token, text.data(), static_cast<int32_t>(text.size()), 0,
                             special);
    text.resize(n > 0 ? n : 0);
    return text;
}

// Splits a text by regular expressions, which llama.cpp partly leaves to the recursion of
// std::regex: a run of some 30,000 like characters would overflow the stack. The piece ends where
// no expression of any vocabulary goes on, or, in a run without such a place, at a character.
static size_t piece_end(const std::string & text, size_t begin) {
    constexpr size_t MAX_PIECE_BYTES = 8192;
    if (text.size() - begin <= MAX_PIECE_BYTES) {
        return text.size();
    }
    const auto is_space = [&](size_t at) {
        return std::strchr(" \t\r\n\v\f", text[at]) != nullptr;
    };
    const auto is_letter = [&](size_t at) { return std::isalpha(static_cast<uint8_t>(text[at])); };
    size_t end = begin + MAX_PIECE_BYTES;
    for (size_t at = end; at > begin + MAX_PIECE_BYTES / 2; at--) {
        const bool is_word = text[at] == ' ' && is_letter(at + 1) && is_letter(at - 1);
        const bool is_line = text[at - 1] == '\n' && !is_space(at) && !is_space(at - 2);
        if (is_word || is_line) {
            return at;
        }
    }
    while ((static_cast<uint8_t>(text[end]) & 0xC0) == 0x80 && end > begin + MAX_PIECE_BYTES - 4) {
        end--;
    }
    return end;
}

std::vector<llama_token> Model::tokenize(const std::string & text, bool add_special,
                                         bool parse_special) const {
    if (llama_vocab_type(vocab_) == LLAMA_VOCAB_TYPE_NONE) {
        throw RequestError("no_tokenizer",
                           "This model has no tokenizer; send token ids instead of text.");
    }
    // One token covers at least one byte; the two extra ones are BOS and EOS.
    if (text.size() > INT32_MAX / 4) {
        throw RequestError("invalid_request",
                           "A text of " + std::to_string(text.size()) +
                               " bytes is too long to tokenize; send less than 512 MiB.");
    }
    if (llama_vocab_type(vocab_) != LLAMA_VOCAB_TYPE_BPE || piece_end(text, 0) == text.size()) {
        return tokenize_piece(text, add_special, parse_special);
    }
    std::vector<llama_token> tokens;
    if (add_special && llama_vocab_get_add_bos(vocab_)) {
        tokens.push_back(llama_vocab_bos(vocab_));
    }
    for (size_t begin = 0; begin < text.size();) {
        const size_t end = piece_end(text, begin);
        const std::vector<llama_token> more =
            tokenize_piece(text.substr(begin, end - begin), false, parse_special);
        tokens.insert(tokens.end(), more.begin(), more.end());
        begin = end;
    }
    if (add_special && llama_vocab_get_add_eos(vocab_)) {
        tokens.push_back(llama_vocab_eos(vocab_));
    }
    return tokens;
}

std::vector<llama_token> Model::tokenize_piece(const std::string & text, bool add_special,
                                               bool parse_special) const {
    std::vector<llama_token> tokens(text.size() + 2);
    int32_t n =
        llama_tokenize(vocab_, text.data(), static_cast<int32_t>(text.size()), tokens.data(),
                       static_cast<int32_t>(tokens.size()), add_special, parse_special);
    if (n < 0 && n != INT32_MIN) {
        tokens.resize(static_cast<size_t>(-n));
        n = llama_tokenize(vocab_, text.data(), static_cast<int32_t>(text.size()), tokens.data(),
                           static_cast<int32_t>(tokens.size()), add_special, parse_special);
    }
    if (n < 0) {
        throw RequestError("invalid_request",
                           "The text could not be tokenized; send a shorter one.");
    }
    tokens.resize(static_cast<size_t>(n));
    return tokens;
}

}  // namespace luci
