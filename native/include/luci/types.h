// The plain structs that cross the border of luci_core. Names and meanings are those of
// luci_tui/engine/frames.py and load_spec.py.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "llama.h"

namespace luci {

struct LoraSpec {
    std::string path;
    float scale = 1.0f;  // 0 = loaded, without effect until a request names another scale
};

struct LoadParams {
    std::string model_path;
    int32_t n_ctx = 0;  // tokens of context per slot; 0 = as trained, at most 8192
    int32_t n_slots = 1;
    int32_t n_batch = 2048;     // most tokens in one llama_decode
    int32_t n_ubatch = 512;     // most tokens computed at once
    int32_t n_threads = 0;      // 0 = one per physical core
    int32_t n_gpu_layers = -1;  // -1 = all
    std::string kv_type_k = "f16";
    std::string kv_type_v = "f16";
    std::string flash_attention = "auto";  // "auto", "on" or "off"
    bool kv_unified = false;
    bool use_mmap = true;
    bool use_mlock = false;
    std::vector<LoraSpec> loras;
    bool embedding = false;
    std::string pooling = "model";     // "model", "mean", "cls", "last" or "rank"
    std::string speculation = "none";  // "none", "ngram" or "draft"
    std::string draft_model_path;
    int32_t draft_n_max = 8;
    std::string mmproj_path;               // projector for images and sound; empty = none
    std::string chat_template;             // Jinja source; empty = the model's own
    std::vector<std::string> rpc_servers;  // host:port of llama.cpp RPC servers
    bool force = false;                    // allow n_ctx beyond the trained context
};

// Shared between the loading thread and any other: progress out, cancel in.
struct LoadProgress {
    std::atomic<float> fraction{0.0f};  // 0 to 1
    std::atomic<bool> cancelled{false};
};

struct SamplingParams {
    float temperature = 0.8f;   // 0 = most likely token
    int32_t top_k = 40;         // 0 = off
    float top_p = 0.95f;        // 1 = off
    float min_p = 0.05f;        // 0 = off
    float typical_p = 1.0f;     // 1 = off
    float top_n_sigma = -1.0f;  // negative = off
    float xtc_probability = 0.0f;
    float xtc_threshold = 0.1f;
    float repeat_penalty = 1.0f;  // 1 = off
    int32_t repeat_last_n = 64;
    float frequency_penalty = 0.0f;
    float presence_penalty = 0.0f;
    float dry_multiplier = 0.0f;  // 0 = off
    float dry_base = 1.75f;
    int32_t dry_allowed_length = 2;
    int32_t dry_last_n = 1024;
    int32_t mirostat = 0;  // 0 = off, 1, 2
    float mirostat_tau = 5.0f;
    float mirostat_eta = 0.1f;
    float dynatemp_range = 0.0f;
    float dynatemp_exponent = 1.0f;
    std::optional<uint32_t> seed;  // empty = random
    std::vector<std::pair<llama_token, float>> logit_bias;
    bool ignore_eos = false;
    std::string grammar;      // GBNF; excludes json_schema
    std::string json_schema;  // JSON text
    int32_t n_logprobs = 0;   // 0 = none
};

// A picture or a sound that comes with a request.
struct MediaInput {
    bool is_audio = false;
    std::string id;     // the same for the same content, e.g. its hash
    std::string bytes;  // image: RGB, rows from the top; audio: a whole wav, mp3 or flac file
    uint32_t width = 0;
    uint32_t height = 0;
};

struct Request {
    std::optional<std::string> prompt;
    std::optional<std::string> suffix;  // the answer stands between `prompt` and this
    std::optional<std::vector<llama_token>> tokens;
    std::optional<std::string> messages_json;
    // A part {"type": "media", "index": i} of a message's content stands for media[i].
    std::vector<MediaInput> media;
    std::string tools_json;
    std::string tool_choice = "auto";  // "auto", "required" or "none"
    bool parallel_tool_calls = false;
    bool enable_thinking = true;
    bool add_bos = true;
    int32_t max_tokens = -1;       // -1 = until the model ends or the context is full
    bool prompt_logprobs = false;  // report the prompt's own tokens as well
    std::vector<std::string> stop;
    SamplingParams sampling;
    bool shift_context = false;
    int32_t n_keep = 0;
    std::optional<std::vector<float>> lora_scales;  // one per LoadParams::loras
    bool cache_prompt = true;
    int32_t delivery_ms = 25;
};

struct TokenLogprob {
    llama_token token;
    std::string text;
    float logprob;
    std::vector<std::tuple<llama_token, std::string, float>> top;  // most likely first
};

// A token of the prompt. The first one of a prompt has no log-probability and no rivals: nothing
// stands before it.
struct PromptLogprob : TokenLogprob {
    bool is_first;
    int32_t offset;  // character of the prompt's text at which the token begins
};

struct ToolCallDelta {
    int32_t index;
    std::string id;
    std::string name;
    std::string arguments;  // to be appended
};

enum class EventKind { PROGRESS, DELTA, DONE, FAILED };

// One thing that happened to one request. Only the fields of its kind mean something.
struct Event {
    EventKind kind = EventKind::DELTA;
    uint64_t id = 0;

    // PROGRESS: prompt tokens in the KV cache
    int32_t n_done = 0;
    int32_t n_total = 0;

    // DELTA: whole UTF-8 characters
    std::string text;
    std::string reasoning;
    std::vector<ToolCallDelta> tool_calls;
    std::vector<llama_token> tokens;
    std::vector<TokenLogprob> logprobs;
    std::vector<PromptLogprob> prompt_logprobs;

    // DONE
    std::string finish_reason;  // "stop", "length", "tool_calls" or "cancelled"
    std::string stop_text;
    int32_t prompt_tokens = 0;
    int32_t cached_tokens = 0;
    int32_t completion_tokens = 0;
    int32_t dropped_tokens = 0;
    int32_t drafted_tokens = 0;
    int32_t accepted_tokens = 0;
    double queue_ms = 0;
    double prefill_ms = 0;
    double decode_ms = 0;
    double ttft_ms = 0;
    uint32_t seed = 0;

    // FAILED
    std::string code;
    std::string message;
};

struct ModelInfo {
    std::string name;
    std::string architecture;
    std::string description;
    uint64_t size_bytes = 0;
    uint64_t n_params = 0;
    int32_t n_vocab = 0;
    int32_t n_ctx = 0;  // per slot
    int32_t n_ctx_train = 0;
    int32_t n_embd = 0;
    int32_t n_slots = 0;
    int32_t n_threads = 0;
    std::string bos_token;  // text; empty = the vocabulary has none
    std::string eos_token;
    bool has_chat_template = false;
    bool can_rewind = false;
    bool takes_images = false;
    bool takes_audio = false;
};

struct EngineStatus {
    std::vector<std::tuple<int32_t, std::string, int32_t>>
        slots;  // (slot, state, tokens in its KV cache)
    int32_t n_queued = 0;
    int32_t n_active = 0;
    uint64_t n_steps = 0;
    uint64_t prompt_tokens_total = 0;
    uint64_t cached_tokens_total = 0;
    uint64_t completion_tokens_total = 0;
};

}  // namespace luci
