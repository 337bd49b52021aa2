#include "luci/task.h"

#include <algorithm>

#include "luci/errors.h"
#include "luci/prompt_logprobs.h"

namespace luci {

namespace {

// The text between `prompt` and `suffix` is asked for in the order prefix, suffix, middle. Source:
// format_prompt_infill in llama.cpp's tools/server/server-common.cpp.
std::vector<llama_token> fill_in_prompt(const Model & model, const Request & request) {
    const llama_vocab * vocab = model.vocab();
    const llama_token prefix = llama_vocab_fim_pre(vocab);
    const llama_token suffix = llama_vocab_fim_suf(vocab);
    const llama_token middle = llama_vocab_fim_mid(vocab);
    if (prefix == LLAMA_TOKEN_NULL || suffix == LLAMA_TOKEN_NULL || middle == LLAMA_TOKEN_NULL) {
        throw RequestError("no_fill_in",
                           "This model was not trained to fill in text: its vocabulary has no "
                           "tokens for it. Leave suffix out, or use a model for code.");
    }
    std::vector<llama_token> tokens;
    const auto append = [&](llama_token mark, const std::string & text) {
        tokens.push_back(mark);
        const std::vector<llama_token> more = model.tokenize(text, false, false);
        tokens.insert(tokens.end(), more.begin(), more.end());
    };
    if (request.add_bos && llama_vocab_get_add_bos(vocab)) {
        tokens.push_back(llama_vocab_bos(vocab));
    }
    append(prefix, *request.prompt);
    append(suffix, *request.suffix);
    tokens.push_back(middle);
    return tokens;
}

}  // namespace

Task::Task(uint64_t id, const Request & request, const Model & model, const Chat & chat,
           const std::vector<float> & default_lora_scales)
    : id(id),
      lora_scales(request.lora_scales ? *request.lora_scales : default_lora_scales),
      max_tokens(request.max_tokens),
      n_keep(std::max(request.n_keep, 0)),
      shift_context(request.shift_context),
      cache_prompt(request.cache_prompt && !request.prompt_logprobs && !model.is_encoder_decoder()),
      has_prompt_logprobs(request.prompt_logprobs),
      delivery_ms(request.delivery_ms),
      n_logprobs(request.sampling.n_logprobs),
      model_(model) {
    const int n_sources =
        (request.prompt ? 1 : 0) + (request.tokens ? 1 : 0) + (request.messages_json ? 1 : 0);
    if (n_sources != 1) {
        throw RequestError("invalid_request",
                           "A request needs exactly one of prompt, tokens and messages; " +
                               std::to_string(n_sources) + " were given.");
    }
    if (request.suffix && !request.prompt) {
        throw RequestError("invalid_request",
                           "A suffix needs a prompt that is text; send the prompt as text.");
    }
    if (lora_scales.size() != default_lora_scales.size()) {
        throw RequestError("invalid_request",
                           std::to_string(lora_scales.size()) + " LoRA scales were given for " +
                               std::to_string(default_lora_scales.size()) + " loaded adapters.");
    }
    std::vector<std::string> stops = request.stop;
    GrammarSpec grammar;
    if (request.messages_json) {
        RenderedChat rendered = chat.render(request);
        prompt = std::move(rendered.tokens);
        media = std::move(rendered.media);
        for (const MediaPiece & piece : media) {
            spans.push_back(piece.span);
        }
        grammar = std::move(rendered.grammar);
        preserved_tokens_ = std::move(rendered.preserved_tokens);
        parser_ = std::move(rendered.parser);
        stops.insert(stops.end(), rendered.stops.begin(), rendered.stops.end());
    } else {
        if (!request.media.empty()) {
            throw RequestError("invalid_request",
                               "Images and sound come with messages, not with a bare prompt.");
        }
        grammar = user_grammar(request.sampling);
        prompt = request.suffix   ? fill_in_prompt(model, request)
                 : request.tokens ? *request.tokens
                                  : model.tokenize(*request.prompt, request.add_bos, false);
        model.check_tokens(prompt);
    }
    if (has_prompt_logprobs && model.is_encoder_decoder()) {
        throw RequestError("invalid_request",
                           "An encoder-decoder model reads a prompt and does not foretell it, so "
                           "the prompt has no probabilities; ask for those of the answer.");
    }
    if (has_prompt_logprobs && !media.empty()) {
        throw RequestError("invalid_request",
                           "An image or a sound has no probabilities; ask for those of text.");
    }
    if (prompt.empty()) {
        const llama_token bos = llama_vocab_bos(model.vocab());
        if (bos == LLAMA_TOKEN_NULL) {
            throw RequestError(
                "invalid_request",
                "The prompt is empty and this model has no BOS token; write a prompt.");
        }
        prompt.push_back(bos);
    }
    prompt_tokens = static_cast<int32_t>(prompt.size());
    if (has_prompt_logprobs) {
        const bool has_text = request.prompt && !request.suffix;
        prompt_offsets_ = token_offsets(model, prompt, has_text ? &*request.prompt : nullptr);
    }
    sampler_ = std::make_unique<Sampler>(model, request.sampling, grammar);
    for (const llama_token token : prompt) {
        // Embeddings of media have no text to repeat, and what an encoder reads is another text
        // than that of the answer.
        if (token >= 0 && !model.is_encoder_decoder()) {
            sampler_->accept_prompt(token);
        }
    }
    stream_ = TextStream(std::move(stops));
    pending_.kind = EventKind::DELTA;
    pending_.id = id;
}

MediaPiece * Task::media_at(int32_t n) {
    for (MediaPiece & piece : media) {
        if (piece.span.begin <= n && n < piece.span.end()) {
            return &piece;
        }
    }
    return nullptr;
}

void Task::add_end(llama_token token, const float * logits) {
    if (n_logprobs > 0 && has_prompt_logprobs) {
        pending_.logprobs.push_back(sampler_->logprob(logits, token));
    }
}

bool Task::add_token(llama_token token, const float * logits) {
    pending_.tokens.push_back(token);
    if (n_logprobs > 0) {
        pending_.logprobs.push_back(sampler_->logprob(logits, token));
    }
    const bool is_preserved = std::find(preserved_tokens_.begin(), preserved_tokens_.end(),
                                        token) != preserved_tokens_.end();
    return stream_.push(model_.piece(token, is_preserved));
}

Event Task::take_delta() {
    Event event = std::move(pending_);
    pending_ = Event();
    pending_.id = id;
    const std::string text = stream_.take();
    if (parser_) {
        parser_->feed(text, false, event);
    } else {
        event.text = text;
    }
    return event;
}

Event Task::take_last_delta() {
    Event event = std::move(pending_);
    pending_ = Event();
    pending_.id = id;
    const std::string text = stream_.take() + stream_.finish();
    if (parser_) {
        parser_->feed(text, true, event);
    } else {
        event.text = text;
    }
    return event;
}

Event Task::done(const std::string & finish_reason) const {
    Event event;
    event.kind = EventKind::DONE;
    event.id = id;
    event.finish_reason = finish_reason;
    event.stop_text = stream_.stop_text();
    event.prompt_tokens = prompt_tokens;
    event.cached_tokens = cached_tokens;
    event.completion_tokens = completion_tokens;
    event.dropped_tokens = dropped_tokens;
    event.drafted_tokens = drafted_tokens;
    event.accepted_tokens = accepted_tokens;
    event.seed = sampler_->seed();
    const bool was_admitted = admitted_at != Clock::time_point();
    event.queue_ms = ms_between(submitted_at, was_admitted ? admitted_at : Clock::now());
    if (completion_tokens > 0) {
        event.ttft_ms = ms_between(submitted_at, first_token_at);
        event.decode_ms = ms_between(first_token_at, last_token_at);
    }
    if (first_token_at != Clock::time_point()) {
        event.prefill_ms = ms_between(prefill_at, first_token_at);
    }
    return event;
}

Event Task::failed(const std::string & code, const std::string & message) const {
    Event event;
    event.kind = EventKind::FAILED;
    event.id = id;
    event.code = code;
    event.message = message;
    return event;
}

}  // namespace luci
