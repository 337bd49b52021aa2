// The part of a step that puts images and sound into the caches: embeddings in place of tokens.
#include <algorithm>

#include "luci/scheduler.h"

namespace luci {

namespace {

// How long a step waits for the projector when nothing else is to be done.
constexpr double WAIT_MS = 10.0;
// While a picture is encoded no step ends, and a worker without steps counts as stuck. Beyond this
// time the projector itself does.
constexpr double ENCODE_PATIENCE_MS = 15 * 60 * 1000.0;

}  // namespace

// The piece that the slot's prompt goes on with; null = a token, or nothing.
MediaPiece * Scheduler::next_media(Slot & slot) const {
    return slot.state == SlotState::PREFILL ? slot.task->media_at(slot.n_cached()) : nullptr;
}

// Whether a step can do something for the slot.
bool Scheduler::is_ready(Slot & slot) const {
    if (slot.state == SlotState::DECODE) {
        return true;
    }
    const MediaPiece * piece = next_media(slot);
    return piece != nullptr
               ? piece->encoding->state.load(std::memory_order_acquire) != Encoding::WAITING
               : slot.state == SlotState::PREFILL;
}

// Fails what could not be encoded, and decodes one piece that is there: that of the oldest request.
void Scheduler::step_media(std::vector<Event> & events) {
    Slot * next = nullptr;
    bool is_encoding = false;
    for (Slot & slot : slots_) {
        MediaPiece * piece = next_media(slot);
        if (piece == nullptr) {
            continue;
        }
        switch (piece->encoding->state.load(std::memory_order_acquire)) {
            case Encoding::WAITING:
                is_encoding = true;
                break;
            case Encoding::FAILED:
                fail(slot, "media_failed",
                     "An image or a sound could not be encoded: " + piece->encoding->error +
                         ". Send another one, or text alone.",
                     events);
                break;
            case Encoding::DONE:
                if (slot.task->lora_scales == active_scales_ &&
                    (next == nullptr || slot.task->id < next->task->id)) {
                    next = &slot;
                }
                break;
        }
    }
    if (next != nullptr) {
        decode_media(*next, *next_media(*next), events);
    } else if (is_encoding && batch_.n_tokens == 0) {
        projector_->wait(WAIT_MS);
        n_steps_ += projector_->busy_ms() < ENCODE_PATIENCE_MS;
    }
}

void Scheduler::decode_media(Slot & slot, MediaPiece & piece, std::vector<Event> & events) {
    Task & task = *slot.task;
    const int32_t first = slot.n_cached() - piece.span.begin;
    int32_t n = piece.span.n_tokens - first;
    if (piece.is_causal) {
        // Like a chunk of a prompt: as much as fits beside those who decode.
        n = std::min(n, prompt_budget(context_.n_batch));
    }
    const bool is_last = piece.span.end() == static_cast<int32_t>(task.prompt.size()) &&
                         first + n == piece.span.n_tokens;
    // The position where the piece begins, also in its later parts.
    const int32_t position = position_of(task.spans, piece.span.begin);
    const auto decode = [&] {
        return projector_->decode(context_.get(), piece, first, n, position, slot.seq, is_last);
    };
    int32_t result = decode();
    while (result == 1 && free_idle_cache()) {
        result = decode();
    }
    if (result != 0) {
        fail_decode(slot, result, events);
        return;
    }
    n_steps_++;
    slot.last_step = n_steps_;
    slot.cache.insert(slot.cache.end(), n, task.prompt[slot.n_cached()]);
    prompt_tokens_total_ += n;
    if (first + n == piece.span.n_tokens) {
        slot.cache_spans.push_back(piece.span);
        piece.encoding.reset();  // its rows are not needed again
    }
    if (is_last) {
        slot.batch_index = n - 1;
        sample_all(events);
    } else {
        report_progress(slot, events);
    }
}

}  // namespace luci
