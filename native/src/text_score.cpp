#include "luci/text_score.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "llama-cpp.h"
#include "luci/context.h"
#include "luci/log.h"
#include "luci/model.h"

namespace luci {

namespace {

// Most tokens that are computed, and most rows of logits that are held, at once.
constexpr int32_t MAX_BATCH = 512;
// What is this much less likely than the best counts as this: 16 bits reach no further.
// Source: log_softmax() in llama.cpp's tools/perplexity/perplexity.cpp, as is the file's format.
constexpr float MAX_LOG_RANGE = 16.0f;
constexpr char MAGIC[8] = {'_', 'l', 'o', 'g', 'i', 't', 's', '_'};
// A row of the base's file: the scale and the least log probability as floats, then the values.
constexpr size_t ROW_HEAD = 4;

struct BatchOwner {
    explicit BatchOwner(int32_t n_tokens) : batch(llama_batch_init(n_tokens, 0, 1)) {}
    ~BatchOwner() { llama_batch_free(batch); }
    BatchOwner(const BatchOwner &) = delete;
    BatchOwner & operator=(const BatchOwner &) = delete;

    void add(llama_token token, llama_pos pos, bool has_logits) {
        const int32_t i = batch.n_tokens++;
        batch.token[i] = token;
        batch.pos[i] = pos;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = has_logits ? 1 : 0;
    }

    llama_batch batch;
};

// Calls work(row) for each row, spread over threads.
template <typename Work>
void for_rows(size_t n_rows, int32_t n_threads, const Work & work) {
    std::atomic<size_t> next{0};
    const auto run = [&] {
        for (size_t row = next++; row < n_rows; row = next++) {
            work(row);
        }
    };
    std::vector<std::thread> others;
    for (int32_t i = 1; i < n_threads && static_cast<size_t>(i) < n_rows; i++) {
        others.emplace_back(run);
    }
    run();
    for (std::thread & other : others) {
        other.join();
    }
}

// The parts of a softmax over one row.
struct Norm {
    int32_t top = 0;
    float max = 0;
    float min = 0;
    float log_sum = 0;  // logarithm of the sum of exp(logit - max)

    Norm(const float * logits, int32_t n_vocab) : max(logits[0]), min(logits[0]) {
        for (int32_t i = 1; i < n_vocab; i++) {
            if (logits[i] > max) {
                max = logits[i];
                top = i;
            }
            min = std::min(min, logits[i]);
        }
        double sum = 0;
        for (int32_t i = 0; i < n_vocab; i++) {
            sum += std::exp(logits[i] - max);
        }
        log_sum = static_cast<float>(std::log(sum));
    }

    float log_prob(float logit) const { return logit - max - log_sum; }
};

size_t row_size(int32_t n_vocab) {
    return 2 * ((static_cast<size_t>(n_vocab) + 1) / 2) + ROW_HEAD;
}

void pack_row(const float * logits, const Norm & norm, int32_t n_vocab, uint16_t * row) {
    const float least = std::max(norm.min, norm.max - MAX_LOG_RANGE);
    const float head[2] = {(norm.max - least) / 65535.0f, norm.log_prob(least)};
    std::memcpy(row, head, sizeof(head));
    row += ROW_HEAD;
    const float steps = head[0] > 0.0f ? 1.0f / head[0] : 0.0f;
    for (int32_t i = 0; i < n_vocab; i++) {
        row[i] =
            logits[i] > least ? static_cast<uint16_t>(std::lrint(steps * (logits[i] - least))) : 0;
    }
}

// What one position says.
struct RowScore {
    double nll = 0;
    double kld = 0;
    bool is_same_top = false;
};

void compare_row(const float * logits, const Norm & norm, int32_t n_vocab, const uint16_t * row,
                 RowScore & score) {
    float head[2];
    std::memcpy(head, row, sizeof(head));
    row += ROW_HEAD;
    int32_t base_top = 0;
    for (int32_t i = 0; i < n_vocab; i++) {
        base_top = row[i] > row[base_top] ? i : base_top;
        const float base_log_prob = head[0] * row[i] + head[1];
        if (base_log_prob > -MAX_LOG_RANGE) {
            score.kld += std::exp(base_log_prob) * (base_log_prob - norm.log_prob(logits[i]));
        }
    }
    score.is_same_top = base_top == norm.top;
}

// The file of the base's predictions, written or read row by row in the order of the text.
class BaseFile {
public:
    BaseFile(const TextScoreParams & params, const std::vector<llama_token> & tokens,
             int32_t n_vocab, int32_t n_chunks)
        : is_written_(!params.write_base_path.empty()),
          is_read_(!params.read_base_path.empty()),
          path_(is_written_ ? params.write_base_path : params.read_base_path) {
        if (is_written_) {
            begin_writing(params, tokens, n_vocab, n_chunks);
        } else if (is_read_) {
            begin_reading(params, tokens, n_vocab, n_chunks);
        }
    }

    bool is_written() const { return is_written_; }
    bool is_read() const { return is_read_; }

    void write(const std::vector<uint16_t> & rows, size_t n_values) {
        out_.write(reinterpret_cast<const char *>(rows.data()),
                   static_cast<std::streamsize>(n_values * sizeof(uint16_t)));
        if (!out_) {
            fail("could not be written", "Free disk space, or use fewer chunks.");
        }
    }

    void read(std::vector<uint16_t> & rows, size_t n_values) {
        in_.read(reinterpret_cast<char *>(rows.data()),
                 static_cast<std::streamsize>(n_values * sizeof(uint16_t)));
        if (!in_) {
            fail("end too early", "Make them again.");
        }
    }

    // Makes sure that what was written has left the process.
    void finish() {
        if (is_written_ && !out_.flush()) {
            fail("could not be written", "Free disk space, or use fewer chunks.");
        }
    }

private:
    [[noreturn]] void fail(const std::string & what, const std::string & advice) const {
        throw RequestError("base_file",
                           "The base's predictions in " + path_ + " " + what + ". " + advice);
    }

    void begin_writing(const TextScoreParams & params, const std::vector<llama_token> & tokens,
                       int32_t n_vocab, int32_t n_chunks) {
        const auto n_rows = static_cast<uintmax_t>(n_chunks) *
                            static_cast<uintmax_t>(params.n_ctx - 1 - params.n_ctx / 2);
        const uintmax_t n_bytes = n_rows * row_size(n_vocab) * sizeof(uint16_t);
        std::error_code error;
        const auto folder = std::filesystem::absolute(path_, error).parent_path();
        const auto space = std::filesystem::space(folder, error);
        if (!error && space.available < n_bytes) {
            fail("would have " + std::to_string(n_bytes / 1000000) + " MB and " +
                     std::to_string(space.available / 1000000) + " MB are free",
                 "Use fewer chunks, or another TMPDIR.");
        }
        out_.open(path_, std::ios::binary | std::ios::trunc);
        out_.write(MAGIC, sizeof(MAGIC));
        for (const int32_t value : {params.n_ctx, n_vocab, n_chunks}) {
            out_.write(reinterpret_cast<const char *>(&value), sizeof(value));
        }
        out_.write(reinterpret_cast<const char *>(tokens.data()),
                   static_cast<std::streamsize>(token_bytes(params, n_chunks)));
        if (!out_) {
            fail("could not be written", "Check the folder and the free disk space.");
        }
    }

    void begin_reading(const TextScoreParams & params, const std::vector<llama_token> & tokens,
                       int32_t n_vocab, int32_t n_chunks) {
        in_.open(path_, std::ios::binary);
        char magic[sizeof(MAGIC)] = {};
        in_.read(magic, sizeof(magic));
        int32_t found[3] = {};
        in_.read(reinterpret_cast<char *>(found), sizeof(found));
        if (!in_ || std::memcmp(magic, MAGIC, sizeof(MAGIC)) != 0) {
            fail("cannot be read", "Make them again.");
        }
        if (found[0] != params.n_ctx || found[2] != n_chunks) {
            refuse_other_tokens(params);
        }
        std::vector<llama_token> base_tokens(token_bytes(params, n_chunks) / sizeof(llama_token));
        in_.read(reinterpret_cast<char *>(base_tokens.data()),
                 static_cast<std::streamsize>(token_bytes(params, n_chunks)));
        if (!in_) {
            fail("end too early", "Make them again.");
        }
        if (found[1] != n_vocab ||
            !std::equal(base_tokens.begin(), base_tokens.end(), tokens.begin())) {
            refuse_other_tokens(params);
        }
    }

    static size_t token_bytes(const TextScoreParams & params, int32_t n_chunks) {
        return static_cast<size_t>(params.n_ctx) * static_cast<size_t>(n_chunks) *
               sizeof(llama_token);
    }

    [[noreturn]] static void refuse_other_tokens(const TextScoreParams & params) {
        throw RequestError("other_vocabulary",
                           params.model_path +
                               " has other tokens for this text than the base, so their "
                               "predictions cannot be compared. Compare models of one family.");
    }

    bool is_written_;
    bool is_read_;
    std::string path_;
    std::ofstream out_;
    std::ifstream in_;
};

// Sums over all positions.
class Totals {
public:
    void add(const RowScore & row) {
        n_++;
        nll_ += row.nll;
        nll2_ += row.nll * row.nll;
        kld_ += row.kld;
        kld2_ += row.kld * row.kld;
        max_kld_ = std::max(max_kld_, row.kld);
        n_same_top_ += row.is_same_top ? 1 : 0;
    }

    void fill(TextScore & score, bool has_base) const {
        score.n_scored = n_;
        score.mean_nll = mean(nll_);
        score.perplexity = std::exp(score.mean_nll);
        score.perplexity_error = score.perplexity * error_of(nll_, nll2_);
        if (!has_base) {
            return;
        }
        score.mean_kld = mean(kld_);
        score.kld_error = error_of(kld_, kld2_);
        score.max_kld = max_kld_;
        score.top_agreement = mean(static_cast<double>(n_same_top_));
        score.top_agreement_error =
            n_ > 1 ? std::sqrt(score.top_agreement * (1 - score.top_agreement) / (n_ - 1.0)) : 0;
    }

private:
    double mean(double sum) const { return n_ > 0 ? sum / static_cast<double>(n_) : 0; }

    double error_of(double sum, double sum2) const {
        const double variance = mean(sum2) - mean(sum) * mean(sum);
        return n_ > 1 && variance > 0 ? std::sqrt(variance / (static_cast<double>(n_) - 1)) : 0;
    }

    int64_t n_ = 0;
    int64_t n_same_top_ = 0;
    double nll_ = 0;
    double nll2_ = 0;
    double kld_ = 0;
    double kld2_ = 0;
    double max_kld_ = 0;
};

void require_next_tokens(const Model & model, const std::string & path) {
    const std::string architecture = model.metadata("general.architecture");
    if (!llama_model_has_decoder(model.get()) ||
        model.metadata((architecture + ".attention.causal").c_str()) == "false") {
        throw RequestError("no_perplexity",
                           path +
                               " does not foretell a next token (it makes embeddings), so it has "
                               "no perplexity. Compare its embeddings instead.");
    }
}

llama_context_ptr new_context(const Model & model, int32_t n_ctx, int32_t n_threads) {
    llama_context_params cparams = llama_context_default_params();
    cparams.n_ctx = static_cast<uint32_t>(n_ctx);
    // An encoder takes its whole text at once.
    const bool has_encoder = llama_model_has_encoder(model.get());
    cparams.n_batch = static_cast<uint32_t>(has_encoder ? n_ctx : std::min(n_ctx, MAX_BATCH));
    cparams.n_ubatch = cparams.n_batch;
    cparams.n_seq_max = 1;
    cparams.n_threads = n_threads;
    cparams.n_threads_batch = n_threads;
    cparams.no_perf = true;
    ErrorCapture errors;
    llama_context_ptr ctx(llama_init_from_model(model.get(), cparams));
    if (!ctx) {
        throw ContextError("A context of " + std::to_string(n_ctx) + " tokens could not be made: " +
                           errors.text("not enough memory") + ". Try a smaller --n-ctx.");
    }
    return ctx;
}

void check_code(int32_t code, const ErrorCapture & errors) {
    if (code != 0) {
        throw RequestError("decode_failed", "The text could not be computed (" +
                                                std::to_string(code) + ": " +
                                                errors.text("llama.cpp gave no reason") +
                                                "). Try a smaller --n-ctx.");
    }
}

void decode(llama_context * ctx, const llama_batch & batch) {
    ErrorCapture errors;
    check_code(llama_decode(ctx, batch), errors);
    llama_synchronize(ctx);
}

void encode(llama_context * ctx, const llama_token * tokens, int32_t n_tokens) {
    BatchOwner input(n_tokens);
    for (int32_t i = 0; i < n_tokens; i++) {
        input.add(tokens[i], i, true);
    }
    ErrorCapture errors;
    check_code(llama_encode(ctx, input.batch), errors);
    llama_synchronize(ctx);
}

// Scores the chunks of one text with one model.
class Scorer {
public:
    Scorer(const Model & model, const TextScoreParams & params, BaseFile & base)
        : model_(model),
          params_(params),
          base_(base),
          n_threads_(params.n_threads > 0 ? params.n_threads : default_threads()),
          n_vocab_(model.n_vocab()),
          first_(params.n_ctx / 2),
          ctx_(new_context(model, params.n_ctx, n_threads_)),
          batch_(std::min(params.n_ctx, MAX_BATCH)) {
        if (llama_vocab_get_add_bos(model.vocab())) {
            bos_ = llama_vocab_bos(model.vocab());
        }
    }

    void run_chunk(const llama_token * tokens) {
        llama_memory_clear(llama_get_memory(ctx_.get()), true);
        if (llama_model_has_encoder(model_.get())) {
            encode(ctx_.get(), tokens, first_);
            run_steps(tokens, first_ + 1, [&](int32_t pos) {
                return pos == first_ + 1 ? model_.decoder_start() : tokens[pos - 1];
            });
        } else {
            run_steps(tokens, 1, [&](int32_t pos) {
                return pos == 1 && bos_ != LLAMA_TOKEN_NULL ? bos_ : tokens[pos - 1];
            });
        }
    }

    const Totals & totals() const { return totals_; }

private:
    // Foretells tokens[begin] to the chunk's last one from what `input` gives for the place before
    // each; those after the first half count.
    template <typename Input>
    void run_steps(const llama_token * tokens, int32_t begin, const Input & input) {
        const int32_t n_batch = std::min(params_.n_ctx, MAX_BATCH);
        for (int32_t pos = begin; pos < params_.n_ctx;) {
            batch_.batch.n_tokens = 0;
            int32_t n_before = 0;
            const int32_t start = pos;
            for (; pos < params_.n_ctx && batch_.batch.n_tokens < n_batch; pos++) {
                const bool counts = pos > first_;
                n_before += counts ? 0 : 1;
                batch_.add(input(pos), pos - begin, counts);
            }
            decode(ctx_.get(), batch_.batch);
            if (start + n_before < pos) {
                score_rows(tokens + start + n_before, static_cast<size_t>(pos - start - n_before));
            }
        }
    }

    void score_rows(const llama_token * targets, size_t n_rows) {
        const float * logits = llama_get_logits(ctx_.get());
        const size_t n_values = row_size(n_vocab_);
        packed_.resize(base_.is_read() || base_.is_written() ? n_rows * n_values : 0);
        scores_.assign(n_rows, {});
        if (base_.is_read()) {
            base_.read(packed_, n_rows * n_values);
        }
        for_rows(n_rows, n_threads_, [&](size_t i) {
            const float * row = logits + i * static_cast<size_t>(n_vocab_);
            const Norm norm(row, n_vocab_);
            scores_[i].nll = -norm.log_prob(row[targets[i]]);
            if (base_.is_read()) {
                compare_row(row, norm, n_vocab_, packed_.data() + i * n_values, scores_[i]);
            } else if (base_.is_written()) {
                pack_row(row, norm, n_vocab_, packed_.data() + i * n_values);
            }
        });
        if (base_.is_written()) {
            base_.write(packed_, n_rows * n_values);
        }
        for (const RowScore & score : scores_) {
            totals_.add(score);
        }
    }

    const Model & model_;
    const TextScoreParams & params_;
    BaseFile & base_;
    int32_t n_threads_;
    int32_t n_vocab_;
    int32_t first_;  // a token counts from the one after this place on
    llama_token bos_ = LLAMA_TOKEN_NULL;
    llama_context_ptr ctx_;
    BatchOwner batch_;
    std::vector<uint16_t> packed_;
    std::vector<RowScore> scores_;
    Totals totals_;
};

int32_t count_chunks(const TextScoreParams & params, size_t n_tokens) {
    const auto n_chunks = static_cast<int32_t>(n_tokens / static_cast<size_t>(params.n_ctx));
    if (n_chunks == 0) {
        throw RequestError("text_too_short", "The text has " + std::to_string(n_tokens) +
                                                 " tokens and one chunk needs " +
                                                 std::to_string(params.n_ctx) +
                                                 ". Give a longer text or a smaller --n-ctx.");
    }
    return params.n_chunks > 0 ? std::min(n_chunks, params.n_chunks) : n_chunks;
}

}  // namespace

TextScore score_text(const TextScoreParams & params, TextScoreProgress & progress) {
    if (params.n_ctx < 8) {
        throw RequestError("text_too_short", "--n-ctx " + std::to_string(params.n_ctx) +
                                                 " is too small for a perplexity. Use 512.");
    }
    LoadParams load;
    load.model_path = params.model_path;
    load.n_gpu_layers = params.n_gpu_layers;
    LoadProgress load_progress;
    const Model model(load, load_progress);
    require_next_tokens(model, params.model_path);
    // An end token would stand at the end of the text only, and never in the middle of a chunk.
    std::vector<llama_token> tokens = model.tokenize(params.text, true, false);
    const int32_t n_chunks = count_chunks(params, tokens.size());
    progress.n_total = n_chunks;
    BaseFile base(params, tokens, model.n_vocab(), n_chunks);
    Scorer scorer(model, params, base);
    for (int32_t chunk = 0; chunk < n_chunks; chunk++) {
        if (progress.cancelled) {
            throw RequestError("cancelled", "Measuring the text was cancelled.");
        }
        scorer.run_chunk(tokens.data() +
                         static_cast<size_t>(chunk) * static_cast<size_t>(params.n_ctx));
        progress.n_done = chunk + 1;
    }
    base.finish();
    TextScore score;
    score.n_chunks = n_chunks;
    score.n_vocab = model.n_vocab();
    scorer.totals().fill(score, base.is_read());
    return score;
}

std::vector<std::vector<llama_token>> tokenize_all(const LoadParams & params,
                                                   const std::vector<std::string> & texts,
                                                   bool add_special, bool parse_special) {
    LoadProgress load_progress;
    const Model model(params, load_progress);
    std::vector<std::vector<llama_token>> all;
    all.reserve(texts.size());
    for (const std::string & text : texts) {
        all.push_back(model.tokenize(text, add_special, parse_special));
    }
    return all;
}

std::vector<float> all_logits(const LoadParams & params, const std::vector<llama_token> & tokens) {
    if (tokens.empty() || tokens.size() > static_cast<size_t>(MAX_BATCH)) {
        throw RequestError("invalid_request", "Between 1 and " + std::to_string(MAX_BATCH) +
                                                  " tokens are needed, not " +
                                                  std::to_string(tokens.size()) + ".");
    }
    LoadProgress load_progress;
    const Model model(params, load_progress);
    require_next_tokens(model, params.model_path);
    model.check_tokens(tokens);
    const auto n_tokens = static_cast<int32_t>(tokens.size());
    const int32_t n_threads = params.n_threads > 0 ? params.n_threads : default_threads();
    const llama_context_ptr ctx = new_context(model, std::max(n_tokens, 32), n_threads);
    BatchOwner owner(n_tokens);
    if (llama_model_has_encoder(model.get())) {
        encode(ctx.get(), tokens.data(), n_tokens);
        owner.add(model.decoder_start(), 0, true);
    } else {
        for (int32_t i = 0; i < n_tokens; i++) {
            owner.add(tokens[static_cast<size_t>(i)], i, true);
        }
    }
    decode(ctx.get(), owner.batch);
    const float * logits = llama_get_logits(ctx.get());
    return {logits, logits + static_cast<size_t>(owner.batch.n_tokens) *
                                 static_cast<size_t>(model.n_vocab())};
}

}  // namespace luci
