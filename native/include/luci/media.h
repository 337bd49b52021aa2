// Images and sound in a prompt. A projector file (mmproj) turns them into embeddings, which stand
// among the tokens of the prompt. The one part of luci that knows llama.cpp's libmtmd.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "luci/model.h"
#include "luci/types.h"

struct mtmd_context;
struct mtmd_input_chunk;

namespace luci {

// A place in a prompt that embeddings take. Models with M-RoPE give a picture fewer positions than
// it has embeddings.
struct MediaSpan {
    int32_t begin = 0;  // index of its first embedding in the prompt
    int32_t n_tokens = 0;
    int32_t n_positions = 0;

    int32_t end() const { return begin + n_tokens; }
};

// Position in the sequence of the n-th entry of a prompt; n is no place inside a span.
int32_t position_of(const std::vector<MediaSpan> & spans, int32_t n);
// n, or the beginning of the span that it would cut in two.
int32_t without_cut_span(const std::vector<MediaSpan> & spans, int32_t n);

// What the projector's thread makes of one piece. Shared between that thread and the scheduler.
struct Encoding {
    enum State { WAITING, DONE, FAILED };

    std::atomic<State> state{WAITING};
    std::shared_ptr<const mtmd_input_chunk> chunk;
    std::vector<float> rows;  // DONE: (n_tokens, n_embd_inp)
    std::string error;        // FAILED: why
};

// One picture, or a part of one, or a stretch of sound, in a prompt.
struct MediaPiece {
    MediaSpan span;
    bool is_causal = true;  // false: its embeddings see each other, so they go through one ubatch
    std::shared_ptr<const mtmd_input_chunk> chunk;
    std::shared_ptr<Encoding> encoding;  // null = not asked for yet
};

// A rendered prompt in pieces: text, or the number of a medium of the request.
struct PromptPart {
    std::string text;
    bool parse_special = false;
    int32_t media = -1;
};

struct MediaPrompt {
    // Each embedding has a negative number in place of a token; the same medium gets the same
    // number each time, so that prefixes can be compared.
    std::vector<llama_token> tokens;
    std::vector<MediaPiece> pieces;
};

class Projector {
public:
    // Throws ModelLoadError with libmtmd's reason.
    Projector(const Model & model, const LoadParams & params, int32_t n_threads, int32_t n_ubatch);
    ~Projector();
    Projector(const Projector &) = delete;
    Projector & operator=(const Projector &) = delete;

    bool takes_images() const;
    bool takes_audio() const;

    // One thread. Throws RequestError for media that this projector cannot take.
    MediaPrompt tokenize(const std::vector<PromptPart> & parts,
                         const std::vector<MediaInput> & media);

    // Asks for the embeddings of a piece. A request whose Encoding nobody holds is left out.
    std::shared_ptr<Encoding> encode(const MediaPiece & piece);
    // Waits until an encoding has ended, or for `ms`.
    void wait(double ms);
    // How long the encoding that runs has taken so far; 0 = none runs.
    double busy_ms();

    // Puts the embeddings [first, first + n) of a piece through the model, at the place in `seq`
    // that begins at `position`. The result is that of llama_decode.
    int32_t decode(llama_context * context, const MediaPiece & piece, int32_t first, int32_t n,
                   int32_t position, int32_t seq, bool has_logits) const;

private:
    struct Bitmap;
    void run();
    void encode_now(Encoding & encoding);
    int32_t key_of(const std::string & id);
    std::unique_ptr<Bitmap> bitmap_of(const MediaInput & input) const;
    void add_chunk(const mtmd_input_chunk * chunk, int32_t number, MediaPrompt & prompt);

    mtmd_context * context_ = nullptr;
    int32_t n_embd_ = 0;
    int32_t n_ubatch_ = 0;
    std::unordered_map<std::string, int32_t> keys_;
    int32_t next_key_ = -2;  // -1 is no token

    std::mutex mutex_;
    std::condition_variable wanted_;
    std::condition_variable ended_;
    std::deque<std::weak_ptr<Encoding>> queue_;
    bool is_leaving_ = false;
    bool is_busy_ = false;
    std::chrono::steady_clock::time_point busy_since_;
    std::thread thread_;
};

}  // namespace luci
