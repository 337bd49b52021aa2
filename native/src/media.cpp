#include "luci/media.h"

#include <algorithm>
#include <chrono>

#include "llama-cpp.h"
#include "luci/errors.h"
#include "luci/log.h"
#include "mtmd-helper.h"
#include "mtmd.h"

namespace luci {

namespace {

// Longer sound would hold up the other requests while its spectrum is computed.
constexpr int32_t MAX_AUDIO_S = 600;
// Forgetting a key costs a prefix that is computed again, so a bound is harmless.
constexpr size_t MAX_KEYS = 4096;
// M-RoPE: time, height, width and one that is not used yet.
constexpr int32_t N_MROPE = 4;

}  // namespace

struct Projector::Bitmap {
    explicit Bitmap(mtmd_bitmap * bitmap) : pointer(bitmap) {}
    ~Bitmap() { mtmd_bitmap_free(pointer); }
    Bitmap(const Bitmap &) = delete;
    Bitmap & operator=(const Bitmap &) = delete;

    mtmd_bitmap * pointer;
};

int32_t position_of(const std::vector<MediaSpan> & spans, int32_t n) {
    int32_t position = n;
    for (const MediaSpan & span : spans) {
        if (span.end() <= n) {
            position -= span.n_tokens - span.n_positions;
        }
    }
    return position;
}

int32_t without_cut_span(const std::vector<MediaSpan> & spans, int32_t n) {
    for (const MediaSpan & span : spans) {
        if (span.begin < n && n < span.end()) {
            return span.begin;
        }
    }
    return n;
}

Projector::Projector(const Model & model, const LoadParams & params, int32_t n_threads,
                     int32_t n_ubatch)
    : n_embd_(llama_model_n_embd_inp(model.get())), n_ubatch_(n_ubatch) {
    mtmd_context_params cparams = mtmd_context_params_default();
    cparams.use_gpu = params.n_gpu_layers != 0;
    cparams.print_timings = false;
    cparams.n_threads = n_threads;
    cparams.warmup = false;
    ErrorCapture errors;
    context_ = mtmd_init_from_file(params.mmproj_path.c_str(), model.get(), cparams);
    if (context_ == nullptr) {
        throw ModelLoadError("The projector " + params.mmproj_path +
                             " could not be loaded: " + errors.text("libmtmd gave no reason") +
                             ". Use the mmproj file that belongs to " + params.model_path + ".");
    }
    thread_ = std::thread([this] { run(); });
}

Projector::~Projector() {
    {
        std::lock_guard<std::mutex> lock(mutex_);
        is_leaving_ = true;
    }
    wanted_.notify_all();
    if (thread_.joinable()) {
        thread_.join();
    }
    mtmd_free(context_);
}

bool Projector::takes_images() const {
    return mtmd_support_vision(context_);
}

bool Projector::takes_audio() const {
    return mtmd_support_audio(context_);
}

int32_t Projector::key_of(const std::string & id) {
    const auto known = keys_.find(id);
    if (known != keys_.end()) {
        return known->second;
    }
    if (keys_.size() >= MAX_KEYS) {
        keys_.clear();
    }
    return keys_[id] = next_key_--;
}

std::unique_ptr<Projector::Bitmap> Projector::bitmap_of(const MediaInput & input) const {
    if (!(input.is_audio ? takes_audio() : takes_images())) {
        throw RequestError("media_not_supported", std::string("This model takes no ") +
                                                      (input.is_audio ? "sound" : "images") +
                                                      ": its projector has no part for them. " +
                                                      "Send text alone.");
    }
    mtmd_bitmap * bitmap = nullptr;
    if (input.is_audio) {
        ErrorCapture errors;
        bitmap = mtmd_helper_bitmap_init_from_buf(
                     context_, reinterpret_cast<const unsigned char *>(input.bytes.data()),
                     input.bytes.size(), false, mtmd_helper_init_opt_default())
                     .bitmap;
        if (bitmap == nullptr || !mtmd_bitmap_is_audio(bitmap)) {
            mtmd_bitmap_free(bitmap);
            throw RequestError("invalid_audio", "The sound could not be decoded: " +
                                                    errors.text("it is no wav, mp3 or flac") +
                                                    ". Encode it again.");
        }
        const size_t n_samples = mtmd_bitmap_get_n_bytes(bitmap) / sizeof(float);
        const int32_t rate = std::max(mtmd_get_audio_sample_rate(context_), 1);
        if (n_samples / rate > MAX_AUDIO_S) {
            mtmd_bitmap_free(bitmap);
            throw RequestError("invalid_audio", "The sound lasts " +
                                                    std::to_string(n_samples / rate) +
                                                    " s; at most " + std::to_string(MAX_AUDIO_S) +
                                                    " s are taken at once. Send a part of it.");
        }
    } else {
        const size_t n_bytes = size_t{3} * input.width * input.height;
        if (n_bytes == 0 || n_bytes != input.bytes.size()) {
            throw RequestError("invalid_image",
                               "An image of " + std::to_string(input.width) + " x " +
                                   std::to_string(input.height) + " pixels came with " +
                                   std::to_string(input.bytes.size()) + " bytes; three a pixel.");
        }
        bitmap = mtmd_bitmap_init(input.width, input.height,
                                  reinterpret_cast<const unsigned char *>(input.bytes.data()));
    }
    mtmd_bitmap_set_id(bitmap, input.id.c_str());
    return std::make_unique<Bitmap>(bitmap);
}

MediaPrompt Projector::tokenize(const std::vector<PromptPart> & parts,
                                const std::vector<MediaInput> & media) {
    std::vector<std::unique_ptr<Bitmap>> bitmaps;
    for (const MediaInput & input : media) {
        bitmaps.push_back(bitmap_of(input));
    }
    std::vector<mtmd_input_text> texts(parts.size());
    std::vector<mtmd_input_part> inputs(parts.size());
    std::vector<const mtmd_input_part *> pointers;
    for (size_t i = 0; i < parts.size(); i++) {
        if (parts[i].media >= 0) {
            inputs[i] = {nullptr, bitmaps.at(parts[i].media)->pointer};
        } else {
            texts[i] = {parts[i].text.data(), parts[i].text.size(), false, parts[i].parse_special};
            inputs[i] = {&texts[i], nullptr};
        }
        pointers.push_back(&inputs[i]);
    }
    ErrorCapture errors;
    const std::unique_ptr<mtmd_input_chunks, void (*)(mtmd_input_chunks *)> chunks(
        mtmd_input_chunks_init(), mtmd_input_chunks_free);
    if (mtmd_tokenize_from_parts(context_, chunks.get(), pointers.data(), pointers.size(), true) !=
        0) {
        throw RequestError("invalid_media", "An image or a sound could not be prepared: " +
                                                errors.text("libmtmd gave no reason") +
                                                ". Send another one.");
    }
    MediaPrompt prompt;
    for (size_t i = 0; i < mtmd_input_chunks_size(chunks.get()); i++) {
        add_chunk(mtmd_input_chunks_get(chunks.get(), i), static_cast<int32_t>(i), prompt);
    }
    return prompt;
}

void Projector::add_chunk(const mtmd_input_chunk * chunk, int32_t number, MediaPrompt & prompt) {
    if (mtmd_input_chunk_get_type(chunk) == MTMD_INPUT_CHUNK_TYPE_TEXT) {
        size_t n = 0;
        const llama_token * tokens = mtmd_input_chunk_get_tokens_text(chunk, &n);
        prompt.tokens.insert(prompt.tokens.end(), tokens, tokens + n);
        return;
    }
    MediaPiece piece;
    piece.span.begin = static_cast<int32_t>(prompt.tokens.size());
    piece.span.n_tokens = static_cast<int32_t>(mtmd_input_chunk_get_n_tokens(chunk));
    piece.span.n_positions = mtmd_input_chunk_get_n_pos(chunk);
    piece.is_causal = !mtmd_decode_use_non_causal(context_, chunk);
    if (!piece.is_causal && piece.span.n_tokens > n_ubatch_) {
        throw RequestError("invalid_media",
                           "An image takes " + std::to_string(piece.span.n_tokens) +
                               " tokens that must be computed at once, and n_ubatch is " +
                               std::to_string(n_ubatch_) +
                               ". Load the model with a larger n_ubatch, or send a smaller image.");
    }
    // A picture that is cut into several pieces gives them one id, so their order tells them apart.
    const char * id = mtmd_input_chunk_get_id(chunk);
    const int32_t key = key_of(std::string(id != nullptr ? id : "") + "/" + std::to_string(number) +
                               "/" + std::to_string(piece.span.n_tokens));
    piece.chunk.reset(mtmd_input_chunk_copy(chunk), [](const mtmd_input_chunk * copy) {
        mtmd_input_chunk_free(const_cast<mtmd_input_chunk *>(copy));
    });
    prompt.tokens.insert(prompt.tokens.end(), piece.span.n_tokens, key);
    prompt.pieces.push_back(std::move(piece));
}

std::shared_ptr<Encoding> Projector::encode(const MediaPiece & piece) {
    auto encoding = std::make_shared<Encoding>();
    encoding->chunk = piece.chunk;
    {
        std::lock_guard<std::mutex> lock(mutex_);
        queue_.push_back(encoding);
    }
    wanted_.notify_one();
    return encoding;
}

void Projector::wait(double ms) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (is_busy_ || !queue_.empty()) {
        ended_.wait_for(lock, std::chrono::duration<double, std::milli>(ms));
    }
}

double Projector::busy_ms() {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto since = std::chrono::steady_clock::now() - busy_since_;
    return is_busy_ ? std::chrono::duration<double, std::milli>(since).count() : 0.0;
}

// The projector's own thread, so that a picture that takes seconds does not hold up answers that
// are being written.
void Projector::run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
        wanted_.wait(lock, [this] { return is_leaving_ || !queue_.empty(); });
        if (is_leaving_) {
            return;
        }
        const std::shared_ptr<Encoding> encoding = queue_.front().lock();
        queue_.pop_front();
        if (encoding) {
            is_busy_ = true;
            busy_since_ = std::chrono::steady_clock::now();
            lock.unlock();
            encode_now(*encoding);
            lock.lock();
            is_busy_ = false;
        }
        ended_.notify_all();
    }
}

void Projector::encode_now(Encoding & encoding) {
    ErrorCapture errors;
    try {
        if (mtmd_encode_chunk(context_, encoding.chunk.get()) == 0) {
            const float * rows = mtmd_get_output_embd(context_);
            const size_t n_rows = mtmd_input_chunk_get_n_tokens(encoding.chunk.get());
            encoding.rows.assign(rows, rows + n_rows * n_embd_);
            encoding.state.store(Encoding::DONE, std::memory_order_release);
            return;
        }
        encoding.error = errors.text("libmtmd gave no reason");
    } catch (const std::exception & error) {
        encoding.error = error.what();
    }
    encoding.state.store(Encoding::FAILED, std::memory_order_release);
}

int32_t Projector::decode(llama_context * context, const MediaPiece & piece, int32_t first,
                          int32_t n, int32_t position, int32_t seq, bool has_logits) const {
    const bool is_mrope = mtmd_decode_use_mrope(context_);
    std::vector<mtmd_decoder_pos> places;
    if (is_mrope && mtmd_input_chunk_get_type(piece.chunk.get()) == MTMD_INPUT_CHUNK_TYPE_IMAGE) {
        places.resize(piece.span.n_tokens);
        mtmd_helper_image_get_decoder_pos(mtmd_input_chunk_get_tokens_image(piece.chunk.get()),
                                          position, places.data());
    }
    const llama_batch_ext_ptr batch(llama_batch_ext_init(context));
    for (int32_t i = first; i < first + n; i++) {
        const llama_embd row = {piece.encoding->rows.data() + size_t(i) * n_embd_, 1,
                                static_cast<size_t>(n_embd_)};
        const int32_t at = llama_batch_ext_add_embd(batch.get(), seq, row);
        if (at < 0) {
            return at;
        }
        // Without M-RoPE only the first one is read.
        llama_pos where[N_MROPE] = {position + i, position + i, position + i, position + i};
        if (!places.empty()) {
            // Source: the order of sections in libmtmd's own helper, time, height, width.
            where[0] = static_cast<llama_pos>(places[i].t);
            where[1] = static_cast<llama_pos>(places[i].y);
            where[2] = static_cast<llama_pos>(places[i].x);
            where[3] = static_cast<llama_pos>(places[i].z);
        }
        llama_batch_ext_set_pos(batch.get(), at, where);
        if (has_logits && i + 1 == piece.span.n_tokens) {
            llama_batch_ext_set_output_logits(batch.get(), at, true);
        }
    }
    if (!piece.is_causal) {
        llama_set_causal_attn(context, false);
    }
    const int32_t result = llama_process(context, LLAMA_PROCESS_TYPE_DECODE, batch.get());
    if (!piece.is_causal) {
        llama_set_causal_attn(context, true);
    }
    return result;
}

}  // namespace luci
