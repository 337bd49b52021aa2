// Embeddings and reranking: texts in, one vector or score per text out.
#include <algorithm>
#include <cmath>

#include "luci/engine.h"
#include "luci/errors.h"

namespace luci {

namespace {

// Puts both texts into a template in one pass: what stands in a query is never read as a place.
std::string fill(const std::string & form, const std::string & query,
                 const std::string & document) {
    const std::string query_place = "{query}";
    const std::string document_place = "{document}";
    std::string text;
    for (size_t at = 0; at < form.size();) {
        if (form.compare(at, query_place.size(), query_place) == 0) {
            text += query;
            at += query_place.size();
        } else if (form.compare(at, document_place.size(), document_place) == 0) {
            text += document;
            at += document_place.size();
        } else {
            text += form[at++];
        }
    }
    return text;
}

// Query and document as one input. Source: format_prompt_rerank in llama.cpp's
// tools/server/server-common.cpp.
std::vector<llama_token> rerank_input(const Model & model, const std::string & query,
                                      const std::string & document) {
    const llama_vocab * vocab = model.vocab();
    const char * own_template = llama_model_chat_template(model.get(), "rerank");
    if (own_template != nullptr) {
        return model.tokenize(fill(own_template, query, document), false, true);
    }
    const llama_token end = llama_vocab_eos(vocab) != LLAMA_TOKEN_NULL ? llama_vocab_eos(vocab)
                                                                       : llama_vocab_sep(vocab);
    std::vector<llama_token> input;
    const auto append = [&input](const std::vector<llama_token> & tokens) {
        input.insert(input.end(), tokens.begin(), tokens.end());
    };
    if (llama_vocab_get_add_bos(vocab)) {
        input.push_back(llama_vocab_bos(vocab));
    }
    append(model.tokenize(query, false, false));
    if (llama_vocab_get_add_eos(vocab)) {
        input.push_back(end);
    }
    if (llama_vocab_get_add_sep(vocab)) {
        input.push_back(llama_vocab_sep(vocab));
    }
    append(model.tokenize(document, false, false));
    if (llama_vocab_get_add_eos(vocab)) {
        input.push_back(end);
    }
    return input;
}

}  // namespace

// Runs inputs in batches of as many sequences as the context has; `width` floats are read per
// input.
std::vector<std::vector<float>> Engine::pooled_rows(
    const std::vector<std::vector<llama_token>> & inputs, int32_t width) {
    const int32_t n_batch = context_.n_batch;
    for (size_t i = 0; i < inputs.size(); i++) {
        const int32_t n = static_cast<int32_t>(inputs[i].size());
        if (n == 0) {
            throw RequestError("invalid_request",
                               "Text " + std::to_string(i + 1) + " is empty; leave it out.");
        }
        if (n > std::min(n_batch, context_.n_ctx)) {
            throw RequestError("context_length_exceeded",
                               "Text " + std::to_string(i + 1) + " has " + std::to_string(n) +
                                   " tokens and the context " + std::to_string(context_.n_ctx) +
                                   "; shorten it or load the model with a larger --n-ctx.");
        }
    }
    std::vector<std::vector<float>> rows;
    llama_batch batch = llama_batch_init(n_batch, 0, 1);
    struct BatchGuard {
        llama_batch & batch;
        ~BatchGuard() { llama_batch_free(batch); }
    } guard{batch};
    for (size_t first = 0; first < inputs.size();) {
        scheduler_->memory().clear_all();
        batch.n_tokens = 0;
        size_t next = first;
        while (next < inputs.size() && static_cast<int32_t>(next - first) < params_.n_slots &&
               batch.n_tokens + static_cast<int32_t>(inputs[next].size()) <= n_batch) {
            for (size_t pos = 0; pos < inputs[next].size(); pos++) {
                const int32_t i = batch.n_tokens++;
                batch.token[i] = inputs[next][pos];
                batch.pos[i] = static_cast<int32_t>(pos);
                batch.n_seq_id[i] = 1;
                batch.seq_id[i][0] = static_cast<int32_t>(next - first);
                batch.logits[i] = 1;
            }
            next++;
        }
        const int32_t result = llama_decode(context_.get(), batch);
        if (result != 0) {
            throw RequestError("decode_failed",
                               "The texts could not be computed (llama_decode returned " +
                                   std::to_string(result) + "); try fewer or shorter ones.");
        }
        for (size_t i = first; i < next; i++) {
            const float * row =
                llama_get_embeddings_seq(context_.get(), static_cast<int32_t>(i - first));
            if (row == nullptr) {
                throw RequestError("invalid_request",
                                   "This model gives no vector per text; load it with --pooling "
                                   "mean, cls or last.");
            }
            rows.emplace_back(row, row + width);
        }
        first = next;
    }
    return rows;
}

std::pair<std::vector<std::vector<float>>, int32_t> Engine::embed(
    const std::vector<std::string> & texts, bool normalize) {
    std::vector<std::vector<llama_token>> inputs;
    for (const std::string & text : texts) {
        inputs.push_back(model_.tokenize(text, true, false));
    }
    return embed_tokens(inputs, normalize);
}

std::pair<std::vector<std::vector<float>>, int32_t> Engine::embed_tokens(
    const std::vector<std::vector<llama_token>> & inputs, bool normalize) {
    if (!params_.embedding || llama_pooling_type(context_.get()) == LLAMA_POOLING_TYPE_RANK) {
        throw RequestError("invalid_request",
                           "This engine was not loaded for embeddings; load it with embedding on.");
    }
    int32_t n_tokens = 0;
    for (const std::vector<llama_token> & input : inputs) {
        model_.check_tokens(input);
        n_tokens += static_cast<int32_t>(input.size());
    }
    std::vector<std::vector<float>> vectors =
        pooled_rows(inputs, llama_model_n_embd_out(model_.get()));
    for (std::vector<float> & vector : vectors) {
        double sum = 0.0;
        for (const float value : vector) {
            sum += static_cast<double>(value) * value;
        }
        if (!std::isfinite(sum)) {
            throw RequestError(
                "nan_logits",
                "The model computed a vector with NaN or infinity; its file may be broken.");
        }
        const double scale = normalize && sum > 0.0 ? 1.0 / std::sqrt(sum) : 1.0;
        for (float & value : vector) {
            value = static_cast<float>(value * scale);
        }
    }
    return {std::move(vectors), n_tokens};
}

std::pair<std::vector<float>, int32_t> Engine::rerank(const std::string & query,
                                                      const std::vector<std::string> & documents) {
    if (!params_.embedding || llama_pooling_type(context_.get()) != LLAMA_POOLING_TYPE_RANK) {
        throw RequestError("invalid_request",
                           "This engine was not loaded for reranking; load a reranking model with "
                           "embedding on and pooling \"rank\".");
    }
    std::vector<std::vector<llama_token>> inputs;
    int32_t n_tokens = 0;
    for (const std::string & document : documents) {
        inputs.push_back(rerank_input(model_, query, document));
        n_tokens += static_cast<int32_t>(inputs.back().size());
    }
    std::vector<float> scores;
    for (const std::vector<float> & row : pooled_rows(inputs, 1)) {
        scores.push_back(row[0]);
    }
    return {std::move(scores), n_tokens};
}

}  // namespace luci
