#include "luci/engine.h"

#include <algorithm>

#include "luci/errors.h"
#include "luci/text_stream.h"

namespace luci {

static std::unique_ptr<Projector> make_projector(const Model & model, const Context & context,
                                                 const LoadParams & params) {
    if (params.mmproj_path.empty()) {
        return nullptr;
    }
    if (params.embedding) {
        throw RequestError("invalid_request",
                           "An engine for embeddings takes no projector; load the model without "
                           "one of the two.");
    }
    const int32_t n_ubatch = static_cast<int32_t>(llama_n_ubatch(context.get()));
    return std::make_unique<Projector>(model, params, context.n_threads, n_ubatch);
}

// What the model makes of `params`. An encoder-decoder model needs a token to begin an answer with.
static LoadParams require_runnable(const Model & model, const LoadParams & params) {
    if (model.is_encoder_decoder()) {
        const llama_token start = model.decoder_start();
        if (start < 0 || start >= model.n_vocab()) {
            throw ModelLoadError(params.model_path +
                                 " names no token of its vocabulary that begins an answer "
                                 "(decoder_start_token_id). Convert the model again.");
        }
    }
    return params_for(model.get(), params);
}

Engine::Engine(const LoadParams & params, LoadProgress & progress)
    : model_(params, progress),
      params_(require_runnable(model_, params)),
      context_(model_, params_),
      projector_(make_projector(model_, context_, params_)),
      chat_(model_, params_.chat_template, projector_.get()) {
    scheduler_ = std::make_unique<Scheduler>(model_, context_, chat_, projector_.get(), params_);
    progress.fraction.store(1.0f, std::memory_order_relaxed);
}

ModelInfo Engine::info() const {
    const llama_model * model = model_.get();
    ModelInfo info;
    info.name = model_.metadata("general.name");
    info.architecture = model_.metadata("general.architecture");
    char description[256];
    llama_model_desc(model, description, sizeof(description));
    info.description = description;
    info.size_bytes = llama_model_size(model);
    info.n_params = llama_model_n_params(model);
    info.n_vocab = model_.n_vocab();
    info.n_ctx = context_.n_ctx;
    info.n_ctx_train = llama_model_n_ctx_train(model);
    info.n_embd = llama_model_n_embd(model);
    info.n_slots = params_.n_slots;
    info.n_threads = context_.n_threads;
    const llama_token bos = llama_vocab_bos(model_.vocab());
    const llama_token eos = llama_vocab_eos(model_.vocab());
    info.bos_token = bos == LLAMA_TOKEN_NULL ? "" : valid_utf8(model_.piece(bos, true));
    info.eos_token = eos == LLAMA_TOKEN_NULL ? "" : valid_utf8(model_.piece(eos, true));
    info.has_chat_template = chat_.has_template();
    info.can_rewind = context_.can_rewind;
    info.takes_images = projector_ && projector_->takes_images();
    info.takes_audio = projector_ && projector_->takes_audio();
    return info;
}

uint64_t Engine::submit(const Request & request) {
    if (params_.embedding) {
        throw RequestError("invalid_request",
                           "This engine was loaded for embeddings and generates no text; load it "
                           "without --embedding.");
    }
    if (!llama_model_has_decoder(model_.get())) {
        throw RequestError("invalid_request",
                           "A " + model_.metadata("general.architecture") +
                               " model generates no text; use it with `luci embed`.");
    }
    auto task =
        std::make_unique<Task>(next_id_, request, model_, chat_, scheduler_->default_lora_scales());
    scheduler_->submit(std::move(task));
    return next_id_++;
}

std::vector<Event> Engine::run(double max_ms) {
    std::vector<Event> events;
    const Clock::time_point begin = Clock::now();
    while (!interrupted_.exchange(false, std::memory_order_acq_rel)) {
        if (!scheduler_->has_work()) {
            break;
        }
        scheduler_->step(events);
        const Clock::time_point now = Clock::now();
        const bool is_due = ms_between(delivered_at_, now) >= scheduler_->delivery_ms();
        scheduler_->deliver(events, !is_due);
        if (is_due) {
            delivered_at_ = now;
        }
        if (!events.empty() || ms_between(begin, now) >= max_ms) {
            break;
        }
    }
    return events;
}

std::vector<std::string> Engine::pieces(const std::vector<llama_token> & tokens,
                                        bool special) const {
    model_.check_tokens(tokens);
    std::vector<std::string> pieces;
    for (const llama_token token : tokens) {
        pieces.push_back(model_.piece(token, special));
    }
    return pieces;
}

std::string Engine::detokenize(const std::vector<llama_token> & tokens, bool special) const {
    std::string bytes;
    for (const std::string & piece : pieces(tokens, special)) {
        bytes += piece;
    }
    return bytes;
}

Slot & Engine::idle_slot(int32_t slot) {
    if (model_.is_encoder_decoder()) {
        throw RequestError(
            "invalid_state",
            "The state of an encoder-decoder model cannot be saved or restored: what "
            "its encoder read is no part of a slot. Ask it again instead.");
    }
    if (slot < 0 || slot >= params_.n_slots) {
        throw RequestError("invalid_request", "There is no slot " + std::to_string(slot) +
                                                  "; this engine has slots 0 to " +
                                                  std::to_string(params_.n_slots - 1) + ".");
    }
    Slot & found = scheduler_->slots()[slot];
    if (found.state != SlotState::IDLE) {
        throw RequestError(
            "slot_busy", "Slot " + std::to_string(slot) + " is busy; wait for its request to end.");
    }
    return found;
}

}  // namespace luci
