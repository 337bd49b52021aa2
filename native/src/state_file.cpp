// A slot's cache on disk, so that a long prompt need not be computed again.
//
// Layout, little-endian: magic "LUCISTA1", u32 length of the fingerprint and the fingerprint, u32
// number of tokens and the tokens, u64 length of llama.cpp's state and the state, u64 FNV-1a of all
// that comes before it. llama.cpp reads its state without checking it, so a file that is not whole,
// or of another model, must never reach it.
#include <cstdio>
#include <cstring>
#include <memory>

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#include "luci/engine.h"
#include "luci/errors.h"

namespace luci {

namespace {

constexpr char MAGIC[] = "LUCISTA1";
constexpr size_t MAGIC_BYTES = 8;

struct FileCloser {
    void operator()(std::FILE * file) const { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, FileCloser>;

// Source: the FNV-1a parameters of 64 bits, draft-eastlake-fnv.
uint64_t fnv1a(const std::string & bytes) {
    uint64_t hash = 0xcbf29ce484222325ULL;
    for (const char c : bytes) {
        hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3ULL;
    }
    return hash;
}

template <typename T>
void put(std::string & bytes, T value) {
    bytes.append(reinterpret_cast<const char *>(&value), sizeof(value));
}

// Reads values off the front of a byte string and never past its end.
class Reader {
public:
    Reader(const std::string & bytes, const std::string & path) : bytes_(bytes), path_(path) {}

    std::string take(uint64_t n) {
        if (n > bytes_.size() - at_) {
            throw RequestError("invalid_state", path_ + " is cut short; save the state again.");
        }
        std::string part = bytes_.substr(at_, n);
        at_ += n;
        return part;
    }

    template <typename T>
    T number() {
        T value;
        std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
        return value;
    }

private:
    const std::string & bytes_;
    std::string path_;
    size_t at_ = 0;
};

std::string read_file(const std::string & path) {
    File file(std::fopen(path.c_str(), "rb"));
    if (!file) {
        throw RequestError("invalid_state",
                           path + " cannot be opened: " + std::strerror(errno) + ".");
    }
    std::string bytes;
    char buffer[1 << 16];
    size_t n = 0;
    while ((n = std::fread(buffer, 1, sizeof(buffer), file.get())) > 0) {
        bytes.append(buffer, n);
    }
    return bytes;
}

// Temporary name, fsync, rename: a crash leaves the old file or none.
void write_file(const std::string & path, const std::string & bytes) {
    const std::string part = path + ".part";
    File file(std::fopen(part.c_str(), "wb"));
    bool ok = file != nullptr &&
              std::fwrite(bytes.data(), 1, bytes.size(), file.get()) == bytes.size() &&
              std::fflush(file.get()) == 0;
#if defined(__unix__) || defined(__APPLE__)
    ok = ok && fsync(fileno(file.get())) == 0;
#endif
    const std::string reason = std::strerror(errno);
    file.reset();
    if (!ok || std::rename(part.c_str(), path.c_str()) != 0) {
        const std::string why = ok ? std::strerror(errno) : reason;
        std::remove(part.c_str());
        throw RequestError("invalid_state", path + " cannot be written: " + why + ".");
    }
}

}  // namespace

// What must be equal for a saved state to mean the same here.
std::string Engine::fingerprint() const {
    const ModelInfo model = info();
    std::string adapters;
    for (const LoraSpec & lora : params_.loras) {
        adapters += "|" + lora.path + "*" + std::to_string(lora.scale);
    }
    return model.architecture + "|" + model.name + "|" + model.description + "|" +
           std::to_string(model.size_bytes) + "|" + std::to_string(model.n_params) + "|" +
           params_.kv_type_k + "|" + params_.kv_type_v + "|" + params_.flash_attention + adapters;
}

std::pair<int32_t, uint64_t> Engine::save_state(int32_t slot_number, const std::string & path) {
    const Slot & slot = idle_slot(slot_number);
    if (slot.cache.empty()) {
        throw RequestError("invalid_state",
                           "Slot " + std::to_string(slot_number) + " holds no tokens to save.");
    }
    if (!slot.cache_spans.empty()) {
        throw RequestError("invalid_state",
                           "Slot " + std::to_string(slot_number) +
                               " holds an image or a sound, which a saved state cannot name. "
                               "Save a slot with text alone.");
    }
    if (slot.cache_scales != scheduler_->default_lora_scales()) {
        throw RequestError("invalid_state",
                           "Slot " + std::to_string(slot_number) +
                               " was computed with other LoRA scales than those the model was "
                               "loaded with; save after a request without scales of its own.");
    }
    if (slot.n_exact < slot.n_cached()) {
        throw RequestError("invalid_state",
                           "The context of slot " + std::to_string(slot_number) +
                               " was shifted, so what it holds is not what its tokens alone give. "
                               "Save a slot whose text fits the context.");
    }
    std::string state(llama_state_seq_get_size(context_.get(), slot.seq), '\0');
    state.resize(llama_state_seq_get_data(context_.get(), reinterpret_cast<uint8_t *>(state.data()),
                                          state.size(), slot.seq));
    const std::string model = fingerprint();
    std::string bytes(MAGIC, MAGIC_BYTES);
    put<uint32_t>(bytes, static_cast<uint32_t>(model.size()));
    bytes += model;
    put<uint32_t>(bytes, static_cast<uint32_t>(slot.cache.size()));
    bytes.append(reinterpret_cast<const char *>(slot.cache.data()),
                 slot.cache.size() * sizeof(llama_token));
    put<uint64_t>(bytes, state.size());
    bytes += state;
    put<uint64_t>(bytes, fnv1a(bytes));
    write_file(path, bytes);
    return {slot.n_cached(), bytes.size()};
}

std::pair<int32_t, uint64_t> Engine::restore_state(int32_t slot_number, const std::string & path) {
    Slot & slot = idle_slot(slot_number);
    const std::string bytes = read_file(path);
    if (bytes.size() < MAGIC_BYTES + sizeof(uint64_t) ||
        bytes.compare(0, MAGIC_BYTES, MAGIC) != 0) {
        throw RequestError("invalid_state",
                           path + " is no saved state; choose a file that luci wrote.");
    }
    const std::string body = bytes.substr(0, bytes.size() - sizeof(uint64_t));
    uint64_t checksum = 0;
    std::memcpy(&checksum, bytes.data() + body.size(), sizeof(checksum));
    if (checksum != fnv1a(body)) {
        throw RequestError("invalid_state",
                           path + " is damaged (its checksum is wrong); save the state again.");
    }
    Reader reader(body, path);
    reader.take(MAGIC_BYTES);
    if (reader.take(reader.number<uint32_t>()) != fingerprint()) {
        throw RequestError(
            "invalid_state",
            path + " was saved with another model or other KV types; load those first.");
    }
    const uint32_t n_tokens = reader.number<uint32_t>();
    if (n_tokens > static_cast<uint32_t>(context_.n_ctx)) {
        throw RequestError("context_length_exceeded", path + " holds " + std::to_string(n_tokens) +
                                                          " tokens and the context is " +
                                                          std::to_string(context_.n_ctx) +
                                                          "; use a larger --n-ctx.");
    }
    const std::string tokens = reader.take(static_cast<uint64_t>(n_tokens) * sizeof(llama_token));
    const std::string state = reader.take(reader.number<uint64_t>());
    scheduler_->memory().clear_sequence(slot.seq);
    slot.keep_cache(0);
    if (llama_state_seq_set_data(context_.get(), reinterpret_cast<const uint8_t *>(state.data()),
                                 state.size(), slot.seq) == 0) {
        scheduler_->memory().clear_sequence(slot.seq);
        throw RequestError("invalid_state",
                           path + " does not fit this context; load the model as it was saved.");
    }
    slot.cache.resize(n_tokens);
    std::memcpy(slot.cache.data(), tokens.data(), tokens.size());
    slot.cache_scales = scheduler_->default_lora_scales();
    slot.n_exact = INT32_MAX;
    slot.is_shared = false;
    return {static_cast<int32_t>(n_tokens), bytes.size()};
}

}  // namespace luci
