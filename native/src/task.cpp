#include "luci/task.h"

#include <algorithm>

#include "luci/errors.h"

namespace luci {

Task::Task(uint64_t id, const Request & request, const Model & model, const Chat & chat,
           const std::vector<float> & default_lora_scales)
    : id(id),
      lora_scales(request.lora_scales ? *request.lora_scales : default_lora_scales),
      max_tokens(request.max_tokens),
      n_keep(request.n_keep),
      shift_context(request.shift_context),
      cache_prompt(request.cache_prompt),
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
        prompt = request.tokens ? *request.tokens
                                : model.tokenize(*request.prompt, request.add_bos, false);
    }
    for (size_t i = 0; i < prompt.size(); i++) {
        const llama_token token = prompt[i];
        const bool is_token = token >= 0 && token < model.n_vocab();
        if (!is_token && media_at(static_cast<int32_t>(i)) == nullptr) {
            throw RequestError("invalid_request", "The prompt holds token " +
                                                      std::to_string(token) +
                                                      ", but the vocabulary ends at " +
                                                      std::to_string(model.n_vocab() - 1) + ".");
        }
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
    sampler_ = std::make_unique<Sampler>(model, request.sampling, grammar);
    for (const llama_token token : prompt) {
        if (token >= 0) {  // embeddings of media have no text to repeat
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
    event.prompt_tokens = static_cast<int32_t>(prompt.size());
    event.cached_tokens = cached_tokens;
    event.completion_tokens = completion_tokens;
    event.dropped_tokens = dropped_tokens;
    event.drafted_tokens = drafted_tokens;
    event.accepted_tokens = accepted_tokens;
    event.seed = sampler_->seed();
    const bool was_admitted = admitted_at != Clock::time_point();
    event.queue_ms = ms_between(submitted_at, was_admitted ? admitted_at : Clock::now());
    if (completion_tokens > 0) {
        event.prefill_ms = ms_between(prefill_at, first_token_at);
        event.ttft_ms = ms_between(submitted_at, first_token_at);
        event.decode_ms = ms_between(first_token_at, last_token_at);
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
