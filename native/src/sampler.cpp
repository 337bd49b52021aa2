#include "luci/sampler.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <unordered_map>

#include "json-schema-to-grammar.h"
#include "luci/errors.h"
#include "luci/log.h"
#include "luci/text_stream.h"
#include "luci/top_k.h"

namespace luci {

namespace {

// More tokens of history than any context holds; the samplers take memory for all they are given.
constexpr int32_t MAX_LAST_N = 1 << 20;

// llama.cpp reads a grammar by recursion, and a million parentheses would end the process.
constexpr int32_t MAX_GRAMMAR_DEPTH = 1000;

// What OpenAI's API says of a token that can hardly be; JSON has no infinity.
constexpr float LEAST_LOGPROB = -9999.0f;

// Above this k a heap is slower than llama.cpp's own bucket sort.
constexpr int32_t MAX_PRESELECT_K = 256;

std::string escape_regex(const std::string & text) {
    std::string escaped;
    for (const char c : text) {
        if (std::string("^$\\.*+?()[]{}|/").find(c) != std::string::npos) {
            escaped += '\\';
        }
        escaped += c;
    }
    return escaped;
}

std::string anchored(const std::string & pattern) {
    return "^" + pattern.substr(!pattern.empty() && pattern.front() == '^') +
           (!pattern.empty() && pattern.back() == '$' ? "" : "$");
}

// Tokens whose bytes are exactly `text`. A SentencePiece tokenizer puts a space after each control
// token; where it does, the characters are taken one by one.
std::vector<llama_token> exact_tokens(const Model & model, const std::string & text) {
    std::vector<llama_token> tokens = model.tokenize(text, false, true);
    std::string bytes;
    for (const llama_token token : tokens) {
        bytes += model.piece(token, true);
    }
    if (bytes == text) {
        return tokens;
    }
    std::unordered_map<std::string, llama_token> by_text;
    for (llama_token token = 0; token < model.n_vocab(); token++) {
        const bool is_control = llama_vocab_is_control(model.vocab(), token);
        const std::string piece = model.piece(token, true);
        if (piece.size() == 1 || is_control) {
            by_text.emplace(piece, token);
        }
    }
    std::vector<llama_token> exact;
    size_t next_control = 0;
    for (size_t at = 0; at < text.size();) {
        // Control tokens come back from the tokenizer in the order of the text.
        while (next_control < tokens.size() &&
               !llama_vocab_is_control(model.vocab(), tokens[next_control])) {
            next_control++;
        }
        const std::string control =
            next_control < tokens.size() ? model.piece(tokens[next_control], true) : "";
        if (!control.empty() && text.compare(at, control.size(), control) == 0) {
            exact.push_back(tokens[next_control++]);
            at += control.size();
            continue;
        }
        const auto found = by_text.find(text.substr(at, 1));
        if (found == by_text.end()) {
            throw std::runtime_error("no token stands for byte " +
                                     std::to_string(static_cast<uint8_t>(text[at])));
        }
        exact.push_back(found->second);
        at++;
    }
    return exact;
}

// How deep parentheses nest, outside of literals, character classes and comments.
int32_t grammar_depth(const std::string & gbnf) {
    int32_t depth = 0;
    int32_t deepest = 0;
    char closing = '\0';  // of the literal, class or comment that is being skipped
    for (size_t at = 0; at < gbnf.size(); at++) {
        const char c = gbnf[at];
        if (closing != '\0') {
            at += c == '\\' && closing != '\n';
            closing = c == closing ? '\0' : closing;
        } else if (c == '"') {
            closing = '"';
        } else if (c == '[') {
            closing = ']';
        } else if (c == '#') {
            closing = '\n';
        } else if (c == '(') {
            deepest = std::max(deepest, ++depth);
        } else if (c == ')') {
            depth--;
        }
    }
    return deepest;
}

void check_finite(float value, const char * name) {
    if (!std::isfinite(value)) {
        throw RequestError("invalid_request",
                           std::string(name) + " is not a finite number; give a plain number.");
    }
}

}  // namespace

GrammarSpec user_grammar(const SamplingParams & params) {
    GrammarSpec spec;
    if (!params.grammar.empty() && !params.json_schema.empty()) {
        throw RequestError("invalid_request",
                           "Both a grammar and a JSON schema were given; give one of them.");
    }
    spec.gbnf = params.grammar;
    if (!params.json_schema.empty()) {
        try {
            spec.gbnf = json_schema_to_grammar(common_json::parse(params.json_schema));
        } catch (const std::exception & error) {
            throw RequestError("invalid_schema", std::string("The JSON schema cannot be used: ") +
                                                     error.what() +
                                                     ". Correct it, or use a GBNF grammar.");
        }
    }
    return spec;
}

Sampler::Sampler(const Model & model, const SamplingParams & params, const GrammarSpec & grammar)
    : model_(model) {
    check_finite(params.temperature, "temperature");
    check_finite(params.frequency_penalty, "frequency_penalty");
    check_finite(params.presence_penalty, "presence_penalty");
    if (!(params.repeat_penalty > 0.0f) || !std::isfinite(params.repeat_penalty)) {
        throw RequestError("invalid_request", "repeat_penalty " +
                                                  std::to_string(params.repeat_penalty) +
                                                  " is not above 0; 1 switches it off.");
    }
    n_logprobs_ = std::min(params.n_logprobs, model.n_vocab());
    seed_ = params.seed ? *params.seed : std::random_device{}() % (LLAMA_DEFAULT_SEED - 1);

    for (const auto & [token, value] : params.logit_bias) {
        if (token < 0 || token >= model.n_vocab()) {
            throw RequestError("invalid_request", "logit_bias names token " +
                                                      std::to_string(token) +
                                                      ", but the vocabulary ends at " +
                                                      std::to_string(model.n_vocab() - 1) + ".");
        }
        bias_.emplace_back(token, value);
    }
    int32_t n_suppressed = 0;
    const llama_token * suppressed = llama_vocab_get_suppress_tokens(model.vocab(), &n_suppressed);
    for (int32_t i = 0; i < n_suppressed; i++) {
        bias_.emplace_back(suppressed[i], -INFINITY);
    }
    if (params.ignore_eos) {
        for (llama_token token = 0; token < model.n_vocab(); token++) {
            if (llama_vocab_is_eog(model.vocab(), token)) {
                bias_.emplace_back(token, -INFINITY);
            }
        }
    }
    build_chain(params);
    build_grammar(grammar);
}

// The order is llama-common's default: penalties, DRY, top-n-sigma, top-k, typical, top-p, min-p,
// XTC, temperature.
void Sampler::build_chain(const SamplingParams & params) {
    const bool has_penalties = params.repeat_last_n != 0 &&
                               (params.repeat_penalty != 1.0f || params.frequency_penalty != 0.0f ||
                                params.presence_penalty != 0.0f);
    const bool has_dry = params.dry_multiplier > 0.0f && params.dry_last_n != 0;
    const bool has_sigma = params.top_n_sigma >= 0.0f;
    needs_history_ = has_penalties || has_dry;
    is_greedy_ = params.temperature <= 0.0f && !needs_history_ && params.mirostat == 0;
    if (!needs_history_ && !has_sigma && params.mirostat == 0 && params.top_k > 0 &&
        params.top_k <= MAX_PRESELECT_K) {
        preselect_k_ = std::min(params.top_k, model_.n_vocab());
    }

    chain_.reset(llama_sampler_chain_init(llama_sampler_chain_default_params()));
    const auto add = [this](llama_sampler * sampler) {
        llama_sampler_chain_add(chain_.get(), sampler);
    };
    if (has_penalties) {
        add(llama_sampler_init_penalties(
            model_.n_vocab(), std::min(params.repeat_last_n, MAX_LAST_N), params.repeat_penalty,
            params.frequency_penalty, params.presence_penalty));
    }
    if (has_dry) {
        static const char * breakers[] = {"\n", ":", "\"", "*"};
        add(llama_sampler_init_dry(model_.vocab(), params.dry_multiplier, params.dry_base,
                                   params.dry_allowed_length,
                                   std::min(params.dry_last_n, MAX_LAST_N), breakers, 4));
    }
    if (params.temperature <= 0.0f) {
        add(llama_sampler_init_greedy());
        return;
    }
    if (params.mirostat == 1) {
        add(llama_sampler_init_temp(params.temperature));
        add(llama_sampler_init_mirostat(model_.n_vocab(), seed_, params.mirostat_tau,
                                        params.mirostat_eta, 100));
        return;
    }
    if (params.mirostat == 2) {
        add(llama_sampler_init_temp(params.temperature));
        add(llama_sampler_init_mirostat_v2(seed_, params.mirostat_tau, params.mirostat_eta));
        return;
    }
    if (has_sigma) {
        add(llama_sampler_init_top_n_sigma(params.top_n_sigma));
    }
    if (params.top_k > 0 && preselect_k_ < 0) {
        add(llama_sampler_init_top_k(params.top_k));
    }
    if (params.typical_p < 1.0f) {
        add(llama_sampler_init_typical(params.typical_p, 1));
    }
    if (params.top_p < 1.0f) {
        add(llama_sampler_init_top_p(params.top_p, 1));
    }
    if (params.min_p > 0.0f) {
        add(llama_sampler_init_min_p(params.min_p, 1));
    }
    if (params.xtc_probability > 0.0f) {
        add(llama_sampler_init_xtc(params.xtc_probability, params.xtc_threshold, 1, seed_));
    }
    if (params.dynatemp_range > 0.0f) {
        add(llama_sampler_init_temp_ext(params.temperature, params.dynatemp_range,
                                        params.dynatemp_exponent));
    } else {
        add(llama_sampler_init_temp(params.temperature));
    }
    add(llama_sampler_init_dist(seed_));
}

void Sampler::build_grammar(const GrammarSpec & spec) {
    if (spec.gbnf.empty()) {
        return;
    }
    if (grammar_depth(spec.gbnf) > MAX_GRAMMAR_DEPTH) {
        throw RequestError("invalid_grammar", "The grammar nests more than " +
                                                  std::to_string(MAX_GRAMMAR_DEPTH) +
                                                  " parentheses; give the inner ones a rule of "
                                                  "their own.");
    }
    std::vector<std::string> patterns;
    std::vector<llama_token> tokens;
    for (const common_grammar_trigger & trigger : spec.triggers) {
        switch (trigger.type) {
            case COMMON_GRAMMAR_TRIGGER_TYPE_TOKEN:
                tokens.push_back(trigger.token);
                break;
            case COMMON_GRAMMAR_TRIGGER_TYPE_WORD:
                patterns.push_back(escape_regex(trigger.value));
                break;
            case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN:
                patterns.push_back(trigger.value);
                break;
            case COMMON_GRAMMAR_TRIGGER_TYPE_PATTERN_FULL:
                patterns.push_back(anchored(trigger.value));
                break;
        }
    }
    std::vector<const char *> pattern_pointers;
    for (const std::string & pattern : patterns) {
        pattern_pointers.push_back(pattern.c_str());
    }
    ErrorCapture errors;
    if (spec.is_lazy) {
        grammar_.reset(llama_sampler_init_grammar_lazy_patterns(
            model_.vocab(), spec.gbnf.c_str(), "root", pattern_pointers.data(),
            pattern_pointers.size(), tokens.data(), tokens.size()));
    } else {
        grammar_.reset(llama_sampler_init_grammar(model_.vocab(), spec.gbnf.c_str(), "root"));
    }
    if (!grammar_) {
        throw RequestError("invalid_grammar",
                           "The grammar does not parse: " + errors.text("no root rule was found") +
                               ". Correct it; its start rule is root.");
    }
    if (spec.is_lazy || spec.generation_prompt.empty()) {
        return;
    }
    try {
        for (const llama_token token : exact_tokens(model_, spec.generation_prompt)) {
            llama_sampler_accept(grammar_.get(), token);
        }
    } catch (const std::exception & error) {
        throw RequestError("invalid_grammar",
                           std::string("The grammar does not fit the start of the answer that the "
                                       "chat template writes: ") +
                               error.what() + ". Use another template, or no tools.");
    }
}

RequestError unusable_logits() {
    return RequestError(
        "nan_logits",
        "The model computed no usable probabilities (NaN, or no token is allowed); its file or its "
        "KV type may be broken. Validate the file, or load it with --kv-type f16.");
}

llama_token Sampler::pick_greedy(const float * logits) const {
    thread_local std::vector<llama_token_data> best;
    if (!select_top_k(logits, model_.n_vocab(), 1, best) || best.empty() ||
        !(best.front().logit < INFINITY)) {
        return LLAMA_TOKEN_NULL;
    }
    return best.front().id;
}

// LLAMA_TOKEN_NULL = the row has a NaN or an infinity, or no token that may be chosen.
llama_token Sampler::pick(const float * logits, bool with_grammar) {
    if (is_greedy_ && !with_grammar) {
        return pick_greedy(logits);
    }
    bool is_sorted = false;
    if (preselect_k_ > 0 && !with_grammar) {
        if (!select_top_k(logits, model_.n_vocab(), preselect_k_, candidates_) ||
            candidates_.empty() || !(candidates_.front().logit < INFINITY)) {
            return LLAMA_TOKEN_NULL;
        }
        is_sorted = true;
    } else {
        candidates_.resize(model_.n_vocab());
        for (int32_t i = 0; i < model_.n_vocab(); i++) {
            if (!(logits[i] < INFINITY)) {
                return LLAMA_TOKEN_NULL;
            }
            candidates_[i] = {i, logits[i], 0.0f};
        }
    }
    llama_token_data_array array = {candidates_.data(), candidates_.size(), -1, is_sorted};
    if (with_grammar) {
        llama_sampler_apply(grammar_.get(), &array);
        if (preselect_k_ > 0) {
            // The chain was built without top-k; here it comes after the grammar.
            llama_sampler_ptr top_k(llama_sampler_init_top_k(preselect_k_));
            llama_sampler_apply(top_k.get(), &array);
        }
    }
    // Samplers of the chain take it for granted that something can be chosen.
    if (std::none_of(array.data, array.data + array.size,
                     [](const llama_token_data & one) { return one.logit > -INFINITY; })) {
        return LLAMA_TOKEN_NULL;
    }
    llama_sampler_apply(chain_.get(), &array);
    if (array.selected < 0 || array.selected >= static_cast<int64_t>(array.size) ||
        !(array.data[array.selected].logit > -INFINITY)) {
        return LLAMA_TOKEN_NULL;
    }
    return array.data[array.selected].id;
}

llama_token Sampler::sample(float * logits) {
    for (const auto & [token, value] : bias_) {
        logits[token] += value;
    }
    llama_token token = pick(logits, false);
    if (grammar_ && token != LLAMA_TOKEN_NULL) {
        // The grammar is checked on the one chosen token first: applying it to the whole vocabulary
        // is the slow part.
        llama_token_data one = {token, 1.0f, 0.0f};
        llama_token_data_array array = {&one, 1, -1, false};
        llama_sampler_apply(grammar_.get(), &array);
        if (!(one.logit > -INFINITY)) {
            token = pick(logits, true);
            if (token == LLAMA_TOKEN_NULL && may_grammar_end()) {
                return LLAMA_TOKEN_NULL;
            }
        }
    }
    if (token == LLAMA_TOKEN_NULL) {
        throw unusable_logits();
    }
    return token;
}

// True when the grammar is complete. A grammar is asked with the tokens that end an answer; where
// a vocabulary has none, nobody can tell a complete one from one that has no token to go on with.
bool Sampler::may_grammar_end() const {
    std::vector<llama_token_data> ends;
    for (llama_token token = 0; token < model_.n_vocab(); token++) {
        if (llama_vocab_is_eog(model_.vocab(), token)) {
            ends.push_back({token, 1.0f, 0.0f});
        }
    }
    llama_token_data_array array = {ends.data(), ends.size(), -1, false};
    llama_sampler_apply(grammar_.get(), &array);
    return ends.empty() || std::any_of(ends.begin(), ends.end(), [](const llama_token_data & one) {
               return one.logit > -INFINITY;
           });
}

void Sampler::accept(llama_token token) {
    if (grammar_) {
        llama_sampler_accept(grammar_.get(), token);
    }
    llama_sampler_accept(chain_.get(), token);
}

void Sampler::accept_prompt(llama_token token) {
    if (needs_history_) {
        llama_sampler_accept(chain_.get(), token);
    }
}

TokenLogprob Sampler::logprob(const float * logits, llama_token token) const {
    const int32_t n_vocab = model_.n_vocab();
    std::vector<llama_token_data> top;
    select_top_k(logits, n_vocab, std::max(n_logprobs_, 1), top);
    const double max = top.empty() ? 0.0 : top.front().logit;
    double sum = 0.0;
    for (int32_t i = 0; i < n_vocab; i++) {
        sum += std::exp(logits[i] - max);
    }
    const double log_sum = max + std::log(sum);
    TokenLogprob result;
    result.token = token;
    result.text = valid_utf8(model_.piece(token, true));
    result.logprob = static_cast<float>(logits[token] - log_sum);
    if (result.logprob < LEAST_LOGPROB) {
        result.logprob = LEAST_LOGPROB;
    }
    for (const llama_token_data & candidate : top) {
        if (static_cast<int32_t>(result.top.size()) < n_logprobs_) {
            result.top.emplace_back(candidate.id, valid_utf8(model_.piece(candidate.id, true)),
                                    static_cast<float>(candidate.logit - log_sum));
        }
    }
    return result;
}

}  // namespace luci
