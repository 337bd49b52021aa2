// The log-probabilities of a prompt's own tokens. They are taken from each chunk's logits at once,
// so that nothing but the results is kept.
#include "luci/prompt_logprobs.h"

#include <algorithm>
#include <cmath>

#include "luci/errors.h"
#include "luci/scheduler.h"
#include "luci/text_stream.h"

namespace luci {

namespace {

int32_t n_characters(const std::string & text) {
    return static_cast<int32_t>(std::count_if(text.begin(), text.end(), [](char byte) {
        return (static_cast<uint8_t>(byte) & 0xC0) != 0x80;
    }));
}

}  // namespace

std::vector<int32_t> token_offsets(const Model & model, const std::vector<llama_token> & tokens,
                                   const std::string * text) {
    std::vector<int32_t> offsets;
    TextStream stream;
    std::string bytes;
    int32_t n_before = 0;
    for (const llama_token token : tokens) {
        // A BOS that the tokenizer put there is not in the text.
        const std::string piece = model.piece(token, text == nullptr);
        offsets.push_back(n_before);
        stream.push(piece);
        n_before += n_characters(stream.take());
        bytes += piece;
    }
    if (text == nullptr) {
        return offsets;
    }
    // A SentencePiece tokenizer puts a space before the first word.
    const int32_t n_added = bytes == " " + *text ? 1 : 0;
    const int32_t end = n_characters(*text);
    for (int32_t & offset : offsets) {
        // A tokenizer that rewrites its text makes it another length.
        offset = std::clamp(offset - n_added, 0, end);
    }
    return offsets;
}

PromptLogprob Task::prompt_logprob(int32_t position, const float * logits) const {
    const llama_token token = prompt[position];
    PromptLogprob result;
    if (logits != nullptr) {
        static_cast<TokenLogprob &>(result) = sampler_->logprob(logits, token);
    } else {
        result.token = token;
        result.text = valid_utf8(model_.piece(token, true));
        result.logprob = 0.0f;
    }
    result.is_first = logits == nullptr;
    result.offset = prompt_offsets_[position];
    return result;
}

// The logits of a token tell how likely the next one was, so those of a chunk's last token are for
// the first token of the next chunk.
void Scheduler::score_prompts(std::vector<Event> & events) {
    for (Slot & slot : slots_) {
        if (slot.n_prompt_added == 0 || !slot.task->is_scoring()) {
            continue;
        }
        const Task & task = *slot.task;
        const int32_t begin = slot.n_cached();
        const int32_t first = begin == 0 ? 0 : begin + 1;
        const int32_t n_prompt = static_cast<int32_t>(task.prompt.size());
        const int32_t end = std::min(begin + slot.n_prompt_added + 1, n_prompt);
        std::vector<const float *> rows;
        for (int32_t position = first; position < end; position++) {
            rows.push_back(position == 0
                               ? nullptr
                               : llama_get_logits_ith(context_.get(),
                                                      slot.batch_begin + position - 1 - begin));
        }
        Event event;
        event.kind = EventKind::DELTA;
        event.id = task.id;
        event.prompt_logprobs.resize(rows.size());
        const int32_t n_rows = static_cast<int32_t>(rows.size());
#pragma omp parallel for schedule(dynamic) num_threads(context_.n_threads)
        for (int32_t i = 0; i < n_rows; i++) {
            event.prompt_logprobs[i] = task.prompt_logprob(first + i, rows[i]);
        }
        const bool has_nan =
            std::any_of(event.prompt_logprobs.begin(), event.prompt_logprobs.end(),
                        [](const PromptLogprob & one) { return std::isnan(one.logprob); });
        if (has_nan) {
            const RequestError error = unusable_logits();
            memory_.clear_sequence(slot.seq);
            slot.cache.clear();
            fail(slot, error.code, error.message, events);
        } else if (n_rows > 0) {
            events.push_back(std::move(event));
        }
    }
}

}  // namespace luci
