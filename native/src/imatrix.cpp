#include "luci/imatrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "ggml-backend.h"
#include "gguf.h"
#include "llama-cpp.h"
#include "luci/context.h"
#include "luci/log.h"
#include "luci/model.h"

namespace luci {

namespace {

// Products of fewer rows are not those of a whole chunk: llama.cpp's tool leaves them out as well.
constexpr int64_t MIN_ROWS = 16;
constexpr const char * SUMS_SUFFIX = ".in_sum2";
constexpr const char * COUNTS_SUFFIX = ".counts";

// What was seen of one weight.
struct Sums {
    int64_t n_columns = 0;
    std::vector<float> squares;   // n_columns for each expert
    std::vector<int64_t> counts;  // rows, one for each expert; one in all for a weight without
};

// A weight may be named "CUDA0#blk.0.attn_q.weight#0", which is its copy on a device.
std::string weight_name(const char * name) {
    const char * begin = std::strchr(name, '#');
    if (begin == nullptr) {
        return name;
    }
    begin++;
    const char * end = std::strchr(begin, '#');
    return end == nullptr ? std::string(begin) : std::string(begin, end);
}

// Weights of layers; those of an encoder-decoder model begin with the part that they are of.
bool is_of_layer(const std::string & name) {
    return name.rfind("blk.", 0) == 0 || name.rfind("enc.blk.", 0) == 0 ||
           name.rfind("dec.blk.", 0) == 0;
}

// Watches the compute graph. ggml calls it between nodes, in the thread that decodes.
class Collector {
public:
    std::map<std::string, Sums> sums;
    std::string problem;  // why collecting stopped, "" = it did not

    static bool on_node(ggml_tensor * node, bool is_question, void * user_data) {
        auto * self = static_cast<Collector *>(user_data);
        return is_question ? wants(node) : self->collect(node);
    }

private:
    static bool wants(const ggml_tensor * node) {
        if (node->op == GGML_OP_MUL_MAT_ID) {
            return true;
        }
        return node->op == GGML_OP_MUL_MAT && node->src[1]->type == GGML_TYPE_F32 &&
               node->src[1]->ne[1] >= MIN_ROWS && is_of_layer(weight_name(node->src[0]->name));
    }

    bool stop(const std::string & why) {
        problem = why;
        return false;
    }

    // False ends the computation; nothing may be thrown through ggml.
    bool collect(const ggml_tensor * node) {
        const ggml_tensor * weight = node->src[0];
        const ggml_tensor * input = node->src[1];
        const std::string name = weight_name(weight->name);
        if (input->type != GGML_TYPE_F32 || input->nb[0] != sizeof(float)) {
            return stop("the input of " + name + " is not made of 32-bit floats");
        }
        const bool is_mixture = node->op == GGML_OP_MUL_MAT_ID;
        const int64_t n_matrices = is_mixture ? weight->ne[2] : weight->ne[2] * weight->ne[3];
        Sums & into = sums[name];
        if (into.squares.empty()) {
            into.n_columns = input->ne[0];
            into.squares.resize(static_cast<size_t>(input->ne[0] * n_matrices));
            into.counts.resize(is_mixture ? static_cast<size_t>(n_matrices) : 1);
        } else if (into.n_columns != input->ne[0] ||
                   into.squares.size() != static_cast<size_t>(input->ne[0] * n_matrices) ||
                   (is_mixture && into.counts.size() != static_cast<size_t>(n_matrices))) {
            return stop("the shape of " + name + " changes from one use to the next");
        }
        const char * values = host_data(input, input_copy_);
        return is_mixture ? add_mixture(into, node, values) : add_matrix(into, node, values);
    }

    static const char * host_data(const ggml_tensor * tensor, std::vector<char> & copy) {
        if (ggml_backend_buffer_is_host(tensor->buffer)) {
            return static_cast<const char *>(tensor->data);
        }
        copy.resize(ggml_nbytes(tensor));
        ggml_backend_tensor_get(tensor, copy.data(), 0, copy.size());
        return copy.data();
    }

    static void add_row(float * squares, const char * row, int64_t n_columns) {
        const auto * x = reinterpret_cast<const float *>(row);
        for (int64_t i = 0; i < n_columns; i++) {
            squares[i] += x[i] * x[i];
        }
    }

    static bool all_finite(const float * values, int64_t n) {
        for (int64_t i = 0; i < n; i++) {
            if (!std::isfinite(values[i])) {
                return false;
            }
        }
        return true;
    }

    bool add_matrix(Sums & into, const ggml_tensor * node, const char * values) {
        const ggml_tensor * weight = node->src[0];
        const ggml_tensor * input = node->src[1];
        for (int64_t i3 = 0; i3 < input->ne[3]; i3++) {
            for (int64_t i2 = 0; i2 < input->ne[2]; i2++) {
                const int64_t matrix = (i3 % weight->ne[3]) * weight->ne[2] + i2 % weight->ne[2];
                float * squares = into.squares.data() + matrix * into.n_columns;
                for (int64_t row = 0; row < input->ne[1]; row++) {
                    add_row(squares,
                            values + row * input->nb[1] + i2 * input->nb[2] + i3 * input->nb[3],
                            into.n_columns);
                }
            }
        }
        for (int64_t & count : into.counts) {
            count += ggml_nrows(input) / (weight->ne[2] * weight->ne[3]);
        }
        if (!all_finite(into.squares.data(), static_cast<int64_t>(into.squares.size()))) {
            return stop("the input of " + weight_name(weight->name) + " is not finite");
        }
        return true;
    }

    // input: (columns, experts used or 1, tokens); ids: (experts used, tokens), not contiguous.
    bool add_mixture(Sums & into, const ggml_tensor * node, const char * values) {
        const ggml_tensor * input = node->src[1];
        const ggml_tensor * ids = node->src[2];
        const std::string name = weight_name(node->src[0]->name);
        if (ids->type != GGML_TYPE_I32 || ids->ne[1] != input->ne[2] || input->ne[3] != 1) {
            return stop("the experts of " + name + " are chosen in a way that is not known");
        }
        const char * chosen = host_data(ids, ids_copy_);
        for (int64_t i = 0; i < ids->ne[0]; i++) {
            for (int64_t token = 0; token < input->ne[2]; token++) {
                int32_t expert = 0;
                std::memcpy(&expert, chosen + token * ids->nb[1] + i * ids->nb[0], sizeof(expert));
                if (expert < 0 || static_cast<size_t>(expert) >= into.counts.size()) {
                    return stop(name + " has no expert " + std::to_string(expert));
                }
                add_row(into.squares.data() + expert * into.n_columns,
                        values + (i % input->ne[1]) * input->nb[1] + token * input->nb[2],
                        into.n_columns);
                into.counts[static_cast<size_t>(expert)]++;
            }
        }
        if (!all_finite(into.squares.data(), static_cast<int64_t>(into.squares.size()))) {
            return stop("the input of " + name + " is not finite");
        }
        return true;
    }

    std::vector<char> input_copy_;
    std::vector<char> ids_copy_;
};

llama_context_ptr make_context(llama_model * model, const ImatrixParams & params,
                               Collector & collector) {
    llama_context_params cparams = llama_context_default_params();
    cparams.n_ctx = static_cast<uint32_t>(params.n_ctx);
    cparams.n_batch = cparams.n_ubatch = cparams.n_ctx;
    cparams.n_seq_max = 1;
    cparams.n_threads = params.n_threads > 0 ? params.n_threads : default_threads();
    cparams.n_threads_batch = cparams.n_threads;
    cparams.no_perf = true;
    cparams.cb_eval = Collector::on_node;
    cparams.cb_eval_user_data = &collector;
    ErrorCapture errors;
    llama_context_ptr ctx(llama_init_from_model(model, cparams));
    if (!ctx) {
        throw QuantizeError("A context of " + std::to_string(params.n_ctx) +
                            " tokens could not be made: " + errors.text("not enough memory") +
                            ". Try a smaller --n-ctx.");
    }
    return ctx;
}

// Every row asks for its logits: otherwise the last layer would see one row of the chunk only.
void fill_batch(llama_batch & batch, const llama_token * tokens, int32_t n, llama_token bos) {
    batch.n_tokens = n;
    for (int32_t i = 0; i < n; i++) {
        batch.token[i] = i == 0 && bos != LLAMA_TOKEN_NULL ? bos : tokens[i];
        batch.pos[i] = i;
        batch.n_seq_id[i] = 1;
        batch.seq_id[i][0] = 0;
        batch.logits[i] = 1;
    }
}

void set_values(gguf_context * out, const ImatrixParams & params, int32_t n_chunks) {
    const char * datasets[] = {params.dataset.c_str()};
    gguf_set_val_str(out, "general.type", "imatrix");
    gguf_set_arr_str(out, "imatrix.datasets", datasets, 1);
    gguf_set_val_u32(out, "imatrix.chunk_count", static_cast<uint32_t>(n_chunks));
    gguf_set_val_u32(out, "imatrix.chunk_size", static_cast<uint32_t>(params.n_ctx));
}

struct GgufDeleter {
    void operator()(gguf_context * ctx) const { gguf_free(ctx); }
};
struct GgmlDeleter {
    void operator()(ggml_context * ctx) const { ggml_free(ctx); }
};

void add_floats(ggml_context * ctx, gguf_context * out, const std::string & name,
                const std::vector<float> & values, int64_t n_columns) {
    if (name.size() >= GGML_MAX_NAME) {
        throw QuantizeError("The name " + name +
                            " is too long for a tensor of an imatrix file; this model cannot have "
                            "one.");
    }
    ggml_tensor * tensor = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, n_columns,
                                              static_cast<int64_t>(values.size()) / n_columns);
    ggml_set_name(tensor, name.c_str());
    std::memcpy(tensor->data, values.data(), values.size() * sizeof(float));
    gguf_add_tensor(out, tensor);
}

void write_file(const ImatrixParams & params, const std::map<std::string, Sums> & all,
                int32_t n_chunks) {
    size_t n_bytes = 0;
    for (const auto & [name, sums] : all) {
        n_bytes += 2 * (ggml_tensor_overhead() + 2 * GGML_MEM_ALIGN) +
                   sizeof(float) * (sums.squares.size() + sums.counts.size());
    }
    std::unique_ptr<ggml_context, GgmlDeleter> ctx(ggml_init({n_bytes, nullptr, false}));
    std::unique_ptr<gguf_context, GgufDeleter> out(gguf_init_empty());
    if (!ctx || !out) {
        throw QuantizeError("The imatrix of " + std::to_string(n_bytes) +
                            " bytes does not fit into memory. Close other programs.");
    }
    set_values(out.get(), params, n_chunks);
    for (const auto & [name, sums] : all) {
        add_floats(ctx.get(), out.get(), name + SUMS_SUFFIX, sums.squares, sums.n_columns);
        const std::vector<float> counts(sums.counts.begin(), sums.counts.end());
        add_floats(ctx.get(), out.get(), name + COUNTS_SUFFIX, counts, 1);
    }
    if (!gguf_write_to_file(out.get(), params.out_path.c_str(), false)) {
        throw QuantizeError("The imatrix could not be written to " + params.out_path +
                            ". Check the folder and the free disk space.");
    }
}

// Whole chunks of the text's tokens.
int32_t count_chunks(const ImatrixParams & params, size_t n_tokens) {
    const auto n_chunks = static_cast<int32_t>(n_tokens / static_cast<size_t>(params.n_ctx));
    if (n_chunks == 0) {
        throw QuantizeError("The text has " + std::to_string(n_tokens) +
                            " tokens and one chunk needs " + std::to_string(params.n_ctx) +
                            ". Give a longer text or a smaller --n-ctx.");
    }
    return params.n_chunks > 0 ? std::min(n_chunks, params.n_chunks) : n_chunks;
}

// `step` is llama_encode or llama_decode.
void run_batch(llama_context * ctx, const llama_batch & batch, const Collector & collector,
               const ImatrixParams & params, int32_t chunk,
               int32_t (*step)(llama_context *, llama_batch)) {
    ErrorCapture errors;
    const int32_t code = step(ctx, batch);
    if (!collector.problem.empty()) {
        throw QuantizeError("No imatrix can be made of " + params.model_path + ": " +
                            collector.problem + ".");
    }
    if (code != 0) {
        throw QuantizeError("Chunk " + std::to_string(chunk + 1) + " could not be computed (" +
                            std::to_string(code) + ": " + errors.text("llama.cpp gave no reason") +
                            "). Try a smaller --n-ctx.");
    }
}

// An encoder-decoder model reads the first half of a chunk and is asked for the second.
void run_chunk(const Model & model, llama_context * ctx, llama_batch & batch,
               const llama_token * tokens, const Collector & collector,
               const ImatrixParams & params, int32_t chunk) {
    llama_memory_clear(llama_get_memory(ctx), true);
    const llama_token bos =
        llama_vocab_get_add_bos(model.vocab()) ? llama_vocab_bos(model.vocab()) : LLAMA_TOKEN_NULL;
    if (!model.is_encoder_decoder()) {
        fill_batch(batch, tokens, params.n_ctx, bos);
        run_batch(ctx, batch, collector, params, chunk, llama_decode);
        return;
    }
    const int32_t n_read = params.n_ctx / 2;
    fill_batch(batch, tokens, n_read, LLAMA_TOKEN_NULL);
    run_batch(ctx, batch, collector, params, chunk, llama_encode);
    fill_batch(batch, tokens + n_read, params.n_ctx - n_read, model.decoder_start());
    run_batch(ctx, batch, collector, params, chunk, llama_decode);
}

void run_text(const Model & model, const ImatrixParams & params, Collector & collector,
              ImatrixProgress & progress) {
    const std::vector<llama_token> tokens = model.tokenize(params.text, true, false);
    const int32_t n_chunks = count_chunks(params, tokens.size());
    progress.n_total = n_chunks;
    llama_context_ptr ctx = make_context(model.get(), params, collector);
    llama_batch batch = llama_batch_init(params.n_ctx, 0, 1);
    const std::unique_ptr<llama_batch, void (*)(llama_batch *)> owner(
        &batch, [](llama_batch * one) { llama_batch_free(*one); });
    for (int32_t chunk = 0; chunk < n_chunks; chunk++) {
        if (progress.cancelled) {
            throw QuantizeError("Making the imatrix was cancelled.");
        }
        const size_t first = static_cast<size_t>(chunk) * static_cast<size_t>(params.n_ctx);
        run_chunk(model, ctx.get(), batch, tokens.data() + first, collector, params, chunk);
        progress.n_done = chunk + 1;
    }
    llama_synchronize(ctx.get());
}

ImatrixSummary summarize(const std::map<std::string, Sums> & all, int32_t n_chunks) {
    ImatrixSummary summary;
    summary.n_chunks = n_chunks;
    summary.n_entries = static_cast<int32_t>(all.size());
    for (const auto & [name, sums] : all) {
        summary.n_partial_entries +=
            std::count(sums.counts.begin(), sums.counts.end(), 0) > 0 ? 1 : 0;
    }
    return summary;
}

}  // namespace

ImatrixSummary make_imatrix(const ImatrixParams & params, ImatrixProgress & progress) {
    if (params.n_ctx < MIN_ROWS) {
        throw QuantizeError("--n-ctx " + std::to_string(params.n_ctx) +
                            " is too small for an imatrix. Use 512.");
    }
    LoadParams load;
    load.model_path = params.model_path;
    load.n_gpu_layers = params.n_gpu_layers;
    LoadProgress load_progress;
    const Model model(load, load_progress);
    Collector collector;
    run_text(model, params, collector, progress);
    if (collector.sums.empty()) {
        throw QuantizeError(params.model_path +
                            " has no weight that an imatrix could be made for.");
    }
    write_file(params, collector.sums, progress.n_done);
    return summarize(collector.sums, progress.n_done);
}

}  // namespace luci
