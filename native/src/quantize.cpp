#include "luci/quantize.h"

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <regex>

#include "gguf.h"
#include "llama-cpp.h"
#include "luci/context.h"
#include "luci/log.h"

namespace luci {

namespace {

// Rows that llama.cpp keeps in memory for one tensor; its own 8 GiB would be too much beside a
// model that is loaded. The output does not depend on it.
constexpr size_t MAX_BUFFER_BYTES = 512u * 1024 * 1024;
constexpr size_t OUTPUT_ALIGNMENT = GGUF_DEFAULT_ALIGNMENT;

struct GgufDeleter {
    void operator()(gguf_context * ctx) const { gguf_free(ctx); }
};
struct GgmlDeleter {
    void operator()(ggml_context * ctx) const { ggml_free(ctx); }
};
using GgufPtr = std::unique_ptr<gguf_context, GgufDeleter>;
using GgmlPtr = std::unique_ptr<ggml_context, GgmlDeleter>;

std::string lower(std::string text) {
    std::transform(text.begin(), text.end(), text.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return text;
}

std::string strip(const std::string & text) {
    const size_t begin = text.find_first_not_of(" \n=");
    const size_t end = text.find_last_not_of(" \n=");
    return begin == std::string::npos ? "" : text.substr(begin, end - begin + 1);
}

const QuantizeType & type_by_name(const std::string & name) {
    for (const QuantizeType & type : quantize_types()) {
        if (lower(type.name) == lower(name)) {
            return type;
        }
    }
    throw QuantizeError("'" + name + "' is no quant type. Try Q4_K_M.");
}

ggml_type tensor_type_by_name(const std::string & name) {
    for (const std::string & known : quantize_tensor_types()) {
        if (lower(known) != lower(name)) {
            continue;
        }
        for (int i = 0; i < GGML_TYPE_COUNT; i++) {
            const auto type = static_cast<ggml_type>(i);
            if (ggml_type_name(type) != nullptr && known == ggml_type_name(type)) {
                return type;
            }
        }
    }
    throw QuantizeError("'" + name + "' is no type that a tensor can be made. Try q8_0 or q6_K.");
}

// What llama_model_quantize gets, with everything its pointers point to.
struct LlamaParams {
    llama_model_quantize_params params = llama_model_quantize_default_params();

    explicit LlamaParams(const QuantizeParams & wanted) : type(type_by_name(wanted.type)) {
        params.ftype = static_cast<llama_ftype>(type.ftype);
        params.only_copy = type.name == "COPY";
        params.nthread = wanted.n_threads > 0 ? wanted.n_threads : default_threads();
        params.pure = wanted.pure;
        params.quantize_output_tensor = !wanted.leave_output;
        params.allow_requantize = wanted.allow_requantize;
        params.keep_split = wanted.keep_split;
        params.max_buf_size = MAX_BUFFER_BYTES;
        if (!wanted.output_type.empty()) {
            params.output_tensor_type = tensor_type_by_name(wanted.output_type);
        }
        if (!wanted.embedding_type.empty()) {
            params.token_embedding_type = tensor_type_by_name(wanted.embedding_type);
        }
        set_tensor_types(wanted);
        set_imatrix(wanted);
    }

    const QuantizeType & type;
    std::vector<llama_model_kv_override> overrides;  // values that quantizing adds to the file

private:
    void set_tensor_types(const QuantizeParams & wanted) {
        for (const auto & [pattern, name] : wanted.tensor_types) {
            try {
                std::regex compiled(lower(pattern));
            } catch (const std::regex_error &) {
                throw QuantizeError("'" + pattern +
                                    "' is no regular expression. Name a part of a tensor's name, "
                                    "such as ffn_down.");
            }
            // llama-quantize compares in lower case, and all names of llama.cpp are.
            patterns_.push_back(lower(pattern));
        }
        for (size_t i = 0; i < patterns_.size(); i++) {
            tensor_types_.push_back(
                {patterns_[i].c_str(), tensor_type_by_name(wanted.tensor_types[i].second)});
        }
        if (!patterns_.empty()) {
            tensor_types_.push_back({nullptr, GGML_TYPE_COUNT});
            params.tt_overrides = tensor_types_.data();
        }
    }

    void set_imatrix(const QuantizeParams & wanted) {
        if (wanted.imatrix.empty()) {
            return;
        }
        for (const ImatrixEntry & entry : wanted.imatrix) {
            imatrix_.push_back({entry.name.c_str(), entry.values.data(), entry.values.size()});
        }
        imatrix_.push_back({nullptr, nullptr, 0});
        params.imatrix = imatrix_.data();
        add_text("quantize.imatrix.file", wanted.imatrix_path);
        if (!wanted.imatrix_dataset.empty()) {
            add_text("quantize.imatrix.dataset", wanted.imatrix_dataset);
        }
        add_number("quantize.imatrix.entries_count", static_cast<int64_t>(wanted.imatrix.size()));
        if (wanted.imatrix_chunks > 0) {
            add_number("quantize.imatrix.chunks_count", wanted.imatrix_chunks);
        }
        overrides.push_back({});  // an empty key ends the list
        params.kv_overrides = overrides.data();
    }

    llama_model_kv_override & add(const char * key, llama_model_kv_override_type tag) {
        overrides.push_back({});
        llama_model_kv_override & made = overrides.back();
        std::strncpy(made.key, key, sizeof(made.key) - 1);
        made.tag = tag;
        return made;
    }

    void add_text(const char * key, const std::string & text) {
        auto & made = add(key, LLAMA_KV_OVERRIDE_TYPE_STR);
        // As llama-quantize cuts it, but never inside a character.
        size_t n_bytes = std::min(text.size(), sizeof(made.val_str) - 1);
        while (n_bytes < text.size() && n_bytes > 0 && (text[n_bytes] & 0xC0) == 0x80) {
            n_bytes--;
        }
        std::memcpy(made.val_str, text.data(), n_bytes);
    }

    void add_number(const char * key, int64_t value) {
        add(key, LLAMA_KV_OVERRIDE_TYPE_INT).val_i64 = value;
    }

    std::vector<std::string> patterns_;
    std::vector<llama_model_tensor_override> tensor_types_;
    std::vector<llama_model_imatrix_data> imatrix_;
};

// The header of one shard of the source.
struct Shard {
    GgufPtr gguf;
    GgmlPtr tensors;
};

std::vector<Shard> read_shards(const std::vector<std::string> & paths) {
    std::vector<Shard> shards;
    for (const std::string & path : paths) {
        ggml_context * tensors = nullptr;
        ErrorCapture errors;
        GgufPtr gguf(gguf_init_from_file(path.c_str(), {/*no_alloc*/ true, /*ctx*/ &tensors}));
        GgmlPtr owned(tensors);
        if (!gguf || !owned) {
            throw QuantizeError(path +
                                " could not be read: " + errors.text("llama.cpp gave no reason") +
                                ". Check the file with `luci validate`.");
        }
        shards.push_back({std::move(gguf), std::move(owned)});
    }
    return shards;
}

// Follows the log of llama_model_quantize, which is the only place where it says what it does.
class QuantizeLog : public LogWatch {
public:
    std::string reason;  // why it failed, "" = no reason seen

protected:
    // A tensor is next: its number from 1, how many there are, its name.
    virtual void on_tensor(int number, int total, const std::string & name) = 0;
    virtual void on_new_type(const std::string & type) = 0;
    virtual void on_refused_type(const std::string & name, const std::string & type) = 0;
    virtual void on_between_tensors() = 0;

private:
    void on_piece(int level, const std::string & text) override {
        if (level == GGML_LOG_LEVEL_ERROR) {
            keep_reason(text);
        } else if (level == GGML_LOG_LEVEL_WARN) {
            see_warning(text);
        } else if (level == GGML_LOG_LEVEL_INFO) {
            see_info(text);
        }
    }

    // "llama_model_quantize: failed to quantize: REASON" comes last and holds the exception's text.
    void keep_reason(const std::string & text) {
        const std::string mark = "failed to quantize: ";
        const size_t found = text.find(mark);
        const std::string words =
            strip(found == std::string::npos ? text : text.substr(found + mark.size()));
        if (!words.empty()) {
            reason = words;
        }
    }

    // "warning: NAME - ncols N not divisible by B (required for type T) "
    void see_warning(const std::string & text) {
        const std::string start = "warning: ";
        const std::string mark = "(required for type";
        const size_t name_end = text.rfind(" - ncols ");
        const size_t type_begin = text.rfind(mark);
        if (text.rfind(start, 0) == 0 && name_end != std::string::npos &&
            type_begin != std::string::npos) {
            const size_t type_end = text.find(')', type_begin);
            on_refused_type(
                strip(text.substr(start.size(), name_end - start.size())),
                strip(text.substr(type_begin + mark.size(), type_end - type_begin - mark.size())));
        }
    }

    // "[   1/  21] NAME - [ 256, 512, 1, 1], type =    f16, ", then "converting to T .. ", then
    // "size = A MiB -> B MiB (T)"; the last two only as far as they apply.
    void see_info(const std::string & text) {
        int number = 0;
        int total = 0;
        int n_read = 0;
        const size_t name_end = text.rfind(" - [");
        if (name_end != std::string::npos &&
            std::sscanf(text.c_str(), "[%d/%d] %n", &number, &total, &n_read) == 2 && n_read > 0 &&
            static_cast<size_t>(n_read) < name_end) {
            on_tensor(number, total, strip(text.substr(n_read, name_end - n_read)));
            return;
        }
        const bool is_size = text.rfind("size = ", 0) == 0;
        if (is_size && text.size() > 2 && text.compare(text.size() - 2, 2, ")\n") == 0) {
            const size_t begin = text.rfind('(');
            on_new_type(text.substr(begin + 1, text.size() - begin - 3));
        }
        // Both are short, so that llama.cpp holds no memory for the text that a throw would leak,
        // and its worker threads have ended.
        if (is_size || text.rfind("converting to ", 0) == 0) {
            on_between_tensors();
        }
    }
};

class PlanLog : public QuantizeLog {
public:
    explicit PlanLog(std::map<std::string, TensorPlan> & tensors) : tensors_(tensors) {}

    size_t n_seen = 0;

private:
    void on_tensor(int, int, const std::string & name) override {
        const auto found = tensors_.find(name);
        current_ = found == tensors_.end() ? nullptr : &found->second;
        n_seen += current_ != nullptr;
    }
    void on_new_type(const std::string & type) override {
        if (current_ != nullptr) {
            current_->target_type = type;
        }
    }
    void on_refused_type(const std::string & name, const std::string & type) override {
        const auto found = tensors_.find(name);
        if (found != tensors_.end()) {
            found->second.refused_type = type;
        }
    }
    void on_between_tensors() override {}

    std::map<std::string, TensorPlan> & tensors_;
    TensorPlan * current_ = nullptr;
};

struct Cancelled : std::exception {
    const char * what() const noexcept override { return "cancelled"; }
};

class WorkLog : public QuantizeLog {
public:
    WorkLog(QuantizeProgress & progress, const std::map<std::string, int64_t> & source_bytes)
        : progress_(progress), source_bytes_(source_bytes) {}

private:
    void on_tensor(int number, int total, const std::string & name) override {
        progress_.n_total = total;
        progress_.n_done = number - 1;
        progress_.bytes_done += bytes_in_work_;
        const auto found = source_bytes_.find(name);
        bytes_in_work_ = found == source_bytes_.end() ? 0 : found->second;
        progress_.set_tensor(name);
    }
    void on_new_type(const std::string &) override {}
    void on_refused_type(const std::string &, const std::string &) override {}
    void on_between_tensors() override {
        if (progress_.cancelled && !has_thrown_) {
            has_thrown_ = true;  // what llama.cpp logs about it must not throw again
            throw Cancelled();
        }
    }

    QuantizeProgress & progress_;
    const std::map<std::string, int64_t> & source_bytes_;
    int64_t bytes_in_work_ = 0;
    bool has_thrown_ = false;
};

ggml_type type_of(const std::string & name) {
    for (int i = 0; i < GGML_TYPE_COUNT; i++) {
        const auto type = static_cast<ggml_type>(i);
        if (ggml_type_name(type) != nullptr && name == ggml_type_name(type)) {
            return type;
        }
    }
    throw QuantizeError("llama.cpp names a tensor type '" + name + "' that this build lacks.");
}

// Source: tensor_requires_imatrix in src/llama-quant.cpp, and ggml_quantize_chunk, which aborts.
bool needs_imatrix(const TensorPlan & tensor, const std::string & file_type) {
    if (tensor.target_type == tensor.source_type) {
        return false;
    }
    const ggml_type type = type_of(tensor.target_type);
    if (ggml_quantize_requires_imatrix(type)) {
        return true;
    }
    const bool is_end = tensor.name == "token_embd.weight" || tensor.name == "output.weight" ||
                        tensor.name == "per_layer_token_embd.weight";
    return !is_end &&
           (type == GGML_TYPE_IQ3_XXS || type == GGML_TYPE_IQ2_XXS || type == GGML_TYPE_IQ2_XS ||
            type == GGML_TYPE_IQ2_S || type == GGML_TYPE_IQ1_M || type == GGML_TYPE_IQ1_S ||
            (type == GGML_TYPE_Q2_K && file_type == "Q2_K_S"));
}

std::map<std::string, TensorPlan> source_tensors(const std::vector<Shard> & shards) {
    std::map<std::string, TensorPlan> tensors;
    for (const Shard & shard : shards) {
        for (ggml_tensor * tensor = ggml_get_first_tensor(shard.tensors.get()); tensor != nullptr;
             tensor = ggml_get_next_tensor(shard.tensors.get(), tensor)) {
            TensorPlan & plan = tensors[ggml_get_name(tensor)];
            plan.name = ggml_get_name(tensor);
            plan.shape.assign(tensor->ne, tensor->ne + ggml_n_dims(tensor));
            plan.source_type = plan.target_type = ggml_type_name(tensor->type);
            plan.source_bytes = plan.target_bytes = static_cast<int64_t>(ggml_nbytes(tensor));
        }
    }
    return tensors;
}

void set_sizes(std::map<std::string, TensorPlan> & tensors, const std::string & file_type) {
    for (auto & [name, tensor] : tensors) {
        int64_t n_rows = 1;
        for (size_t i = 1; i < tensor.shape.size(); i++) {
            n_rows *= tensor.shape[i];
        }
        const ggml_type type = type_of(tensor.target_type);
        tensor.target_bytes =
            static_cast<int64_t>(ggml_row_size(type, tensor.shape.at(0))) * n_rows;
        tensor.needs_imatrix = needs_imatrix(tensor, file_type);
    }
}

void add_values(gguf_context * out, const gguf_context * source, const LlamaParams & llama) {
    gguf_set_kv(out, source);
    gguf_set_val_u32(out, "general.quantization_version", GGML_QNT_VERSION);
    gguf_set_val_u32(out, "general.file_type", 0);
    for (const char * key : {"split.no", "split.count", "split.tensors.count"}) {
        gguf_remove_key(out, key);
    }
    for (const llama_model_kv_override & one : llama.overrides) {
        if (one.key[0] == '\0') {
            break;
        }
        if (one.tag == LLAMA_KV_OVERRIDE_TYPE_STR) {
            gguf_set_val_str(out, one.key, one.val_str);
        } else {
            gguf_set_val_u32(out, one.key, static_cast<uint32_t>(one.val_i64));
        }
    }
}

// The sizes of the files: the same metadata that llama.cpp writes, measured by the same library.
std::vector<int64_t> file_sizes(const std::vector<Shard> & shards,
                                const std::map<std::string, TensorPlan> & tensors,
                                const LlamaParams & llama) {
    const bool keep_split = llama.params.keep_split;
    std::vector<GgufPtr> outs;
    std::vector<int64_t> sizes;
    for (size_t i = 0; i < (keep_split ? shards.size() : 1); i++) {
        outs.emplace_back(gguf_init_empty());
        sizes.push_back(0);
    }
    add_values(outs[0].get(), shards[0].gguf.get(), llama);
    for (size_t i = 0; i < shards.size(); i++) {
        const size_t i_out = keep_split ? i : 0;
        for (ggml_tensor * tensor = ggml_get_first_tensor(shards[i].tensors.get());
             tensor != nullptr; tensor = ggml_get_next_tensor(shards[i].tensors.get(), tensor)) {
            gguf_add_tensor(outs[i_out].get(), tensor);
            const int64_t n_bytes = tensors.at(ggml_get_name(tensor)).target_bytes;
            sizes[i_out] += static_cast<int64_t>(GGML_PAD(n_bytes, OUTPUT_ALIGNMENT));
        }
    }
    for (size_t i = 0; i < outs.size(); i++) {
        if (outs.size() > 1) {
            gguf_set_val_u16(outs[i].get(), "split.no", 0);
            gguf_set_val_u16(outs[i].get(), "split.count", 0);
            gguf_set_val_i32(outs[i].get(), "split.tensors.count", 0);
        }
        sizes[i] += static_cast<int64_t>(gguf_get_meta_size(outs[i].get()));
    }
    return sizes;
}

[[noreturn]] void throw_failed(const QuantizeParams & params, const std::string & reason) {
    throw QuantizeError(params.sources.at(0) + " could not be quantized to " + params.type + ": " +
                        (reason.empty() ? "llama.cpp gave no reason" : reason) + ".");
}

}  // namespace

std::string QuantizeProgress::tensor() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return tensor_;
}

void QuantizeProgress::set_tensor(const std::string & name) {
    std::lock_guard<std::mutex> lock(mutex_);
    tensor_ = name;
}

QuantizePlan plan_quantize(const QuantizeParams & params) {
    init_backend();
    LlamaParams llama(params);
    llama.params.dry_run = true;
    const std::vector<Shard> shards = read_shards(params.sources);
    std::map<std::string, TensorPlan> tensors = source_tensors(shards);
    {
        PlanLog log(tensors);
        const uint32_t code = llama_model_quantize(params.sources.at(0).c_str(), "", &llama.params);
        if (code != 0) {
            throw_failed(params, log.reason);
        }
        if (log.n_seen != tensors.size()) {
            throw QuantizeError("This llama.cpp reported " + std::to_string(log.n_seen) + " of " +
                                std::to_string(tensors.size()) + " tensors of " +
                                params.sources.at(0) + ". Build luci with the pinned llama.cpp.");
        }
    }
    set_sizes(tensors, llama.type.name);
    QuantizePlan plan;
    plan.file_bytes = file_sizes(shards, tensors, llama);
    for (auto & [name, tensor] : tensors) {
        int64_t n_values = 1;
        for (const int64_t n : tensor.shape) {
            n_values *= n;
        }
        plan.n_params += n_values;
        plan.source_bytes += tensor.source_bytes;
        plan.target_bytes += tensor.target_bytes;
        plan.tensors.push_back(tensor);
    }
    return plan;
}

void quantize(const QuantizeParams & params, QuantizeProgress & progress) {
    init_backend();
    LlamaParams llama(params);
    std::map<std::string, int64_t> source_bytes;
    int64_t bytes_total = 0;
    for (const auto & [name, tensor] : source_tensors(read_shards(params.sources))) {
        source_bytes[name] = tensor.source_bytes;
        bytes_total += tensor.source_bytes;
    }
    progress.bytes_total = bytes_total;
    WorkLog log(progress, source_bytes);
    const uint32_t code = llama_model_quantize(params.sources.at(0).c_str(),
                                               params.destination.c_str(), &llama.params);
    if (code != 0 && progress.cancelled) {
        throw QuantizeError("Quantizing " + params.sources.at(0) + " was cancelled.");
    }
    if (code != 0) {
        throw_failed(params, log.reason);
    }
    progress.n_done = progress.n_total.load();
    progress.bytes_done = bytes_total;
}

}  // namespace luci
