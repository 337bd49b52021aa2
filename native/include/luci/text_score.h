// How well a model foretells a text, and how far its predictions are from those of another model:
// perplexity and Kullback-Leibler divergence in the way of llama.cpp's llama-perplexity.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "luci/errors.h"
#include "luci/types.h"

namespace luci {

struct TextScoreParams {
    std::string model_path;
    std::string text;           // any bytes; what does not fill a last chunk is left out
    int32_t n_ctx = 512;        // tokens of a chunk; its second half is what counts
    int32_t n_chunks = 0;       // most chunks to use, 0 = all
    int32_t n_threads = 0;      // 0 = one per physical core
    int32_t n_gpu_layers = -1;  // -1 = all
    // A file of predictions in the format of llama-perplexity's --kl-divergence-base: the logits of
    // each position in 16 bits, beside the tokens. Write one with the base model, read it with each
    // of the others; at most one of the two is given.
    std::string write_base_path;
    std::string read_base_path;
};

struct TextScore {
    int32_t n_chunks = 0;
    int64_t n_scored = 0;  // tokens whose probability was looked at
    int32_t n_vocab = 0;
    double mean_nll = 0;          // natural logarithm, per token
    double perplexity = 0;        // exp(mean_nll)
    double perplexity_error = 0;  // one standard error
    // Only with read_base_path.
    double mean_kld = 0;  // of the base's distribution from this model's, nats per token
    double kld_error = 0;
    double max_kld = 0;
    double top_agreement = 0;  // part of the positions at which both choose the same token
    double top_agreement_error = 0;
};

// Shared with a running score_text() from another thread.
struct TextScoreProgress {
    std::atomic<int32_t> n_done{0};   // chunks
    std::atomic<int32_t> n_total{0};  // 0 until the text is tokenized
    std::atomic<bool> cancelled{false};
};

// Runs the text through the model. An encoder-decoder model reads the first half of each chunk and
// is asked for the second. Throws ModelLoadError, ContextError, and RequestError:
//   "no_perplexity"     the model foretells no next token (an embedding model)
//   "text_too_short"    the text does not fill one chunk
//   "other_vocabulary"  the base's file has other tokens for this text
//   "base_file"         the base's file cannot be read or written
//   "cancelled", "decode_failed"
TextScore score_text(const TextScoreParams & params, TextScoreProgress & progress);

// The tokens of each text, as the model has them. Throws ModelLoadError, RequestError.
std::vector<std::vector<llama_token>> tokenize_all(const LoadParams & params,
                                                   const std::vector<std::string> & texts,
                                                   bool add_special, bool parse_special);

// The logits after each token of `tokens`: row after row, n_vocab values each. An encoder-decoder
// model reads all of them and gives the one row of its first prediction. Throws as score_text().
std::vector<float> all_logits(const LoadParams & params, const std::vector<llama_token> & tokens);

}  // namespace luci
