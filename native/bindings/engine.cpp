// Engine, its parameters and its events for Python. luci_tui/_native.pyi is the reference.
#include "luci/engine.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.h"
#include "luci/errors.h"

namespace py = pybind11;
using luci::Engine;
using luci::Event;

using ReleaseGil = py::call_guard<py::gil_scoped_release>;

namespace {

const char * kind_name(const Event & event) {
    switch (event.kind) {
        case luci::EventKind::PROGRESS:
            return "progress";
        case luci::EventKind::DELTA:
            return "delta";
        case luci::EventKind::DONE:
            return "done";
        case luci::EventKind::FAILED:
            return "failed";
    }
    return "failed";
}

std::vector<std::pair<std::string, float>> get_loras(const luci::LoadParams & params) {
    std::vector<std::pair<std::string, float>> loras;
    for (const luci::LoraSpec & lora : params.loras) {
        loras.emplace_back(lora.path, lora.scale);
    }
    return loras;
}

void set_loras(luci::LoadParams & params,
               const std::vector<std::pair<std::string, float>> & loras) {
    params.loras.clear();
    for (const auto & [path, scale] : loras) {
        params.loras.push_back({path, scale});
    }
}

// (is it sound, id, bytes, width, height) of each medium; the bytes of Python are no text.
using MediaTuple = std::tuple<bool, std::string, py::bytes, uint32_t, uint32_t>;

std::vector<MediaTuple> get_media(const luci::Request & request) {
    std::vector<MediaTuple> media;
    for (const luci::MediaInput & one : request.media) {
        media.emplace_back(one.is_audio, one.id, py::bytes(one.bytes), one.width, one.height);
    }
    return media;
}

void set_media(luci::Request & request, const std::vector<MediaTuple> & media) {
    request.media.clear();
    for (const auto & [is_audio, id, bytes, width, height] : media) {
        request.media.push_back({is_audio, id, bytes, width, height});
    }
}

void register_params(py::module_ & m) {
    py::class_<luci::LoadProgress>(m, "LoadProgress")
        .def(py::init<>())
        .def_property_readonly("fraction",
                               [](const luci::LoadProgress & p) { return p.fraction.load(); })
        .def("cancel", [](luci::LoadProgress & p) { p.cancelled.store(true); });

    using P = luci::LoadParams;
    py::class_<P>(m, "LoadParams")
        .def(py::init<>())
        .def_readwrite("model_path", &P::model_path)
        .def_readwrite("n_ctx", &P::n_ctx)
        .def_readwrite("n_slots", &P::n_slots)
        .def_readwrite("n_batch", &P::n_batch)
        .def_readwrite("n_ubatch", &P::n_ubatch)
        .def_readwrite("n_threads", &P::n_threads)
        .def_readwrite("n_gpu_layers", &P::n_gpu_layers)
        .def_readwrite("kv_type_k", &P::kv_type_k)
        .def_readwrite("kv_type_v", &P::kv_type_v)
        .def_readwrite("flash_attention", &P::flash_attention)
        .def_readwrite("kv_unified", &P::kv_unified)
        .def_readwrite("use_mmap", &P::use_mmap)
        .def_readwrite("use_mlock", &P::use_mlock)
        .def_property("loras", &get_loras, &set_loras)
        .def_readwrite("embedding", &P::embedding)
        .def_readwrite("pooling", &P::pooling)
        .def_readwrite("speculation", &P::speculation)
        .def_readwrite("draft_model_path", &P::draft_model_path)
        .def_readwrite("draft_n_max", &P::draft_n_max)
        .def_readwrite("mmproj_path", &P::mmproj_path)
        .def_readwrite("chat_template", &P::chat_template)
        .def_readwrite("rpc_servers", &P::rpc_servers)
        .def_readwrite("force", &P::force);

    using S = luci::SamplingParams;
    py::class_<S>(m, "SamplingParams")
        .def(py::init<>())
        .def_readwrite("temperature", &S::temperature)
        .def_readwrite("top_k", &S::top_k)
        .def_readwrite("top_p", &S::top_p)
        .def_readwrite("min_p", &S::min_p)
        .def_readwrite("typical_p", &S::typical_p)
        .def_readwrite("top_n_sigma", &S::top_n_sigma)
        .def_readwrite("xtc_probability", &S::xtc_probability)
        .def_readwrite("xtc_threshold", &S::xtc_threshold)
        .def_readwrite("repeat_penalty", &S::repeat_penalty)
        .def_readwrite("repeat_last_n", &S::repeat_last_n)
        .def_readwrite("frequency_penalty", &S::frequency_penalty)
        .def_readwrite("presence_penalty", &S::presence_penalty)
        .def_readwrite("dry_multiplier", &S::dry_multiplier)
        .def_readwrite("dry_base", &S::dry_base)
        .def_readwrite("dry_allowed_length", &S::dry_allowed_length)
        .def_readwrite("dry_last_n", &S::dry_last_n)
        .def_readwrite("mirostat", &S::mirostat)
        .def_readwrite("mirostat_tau", &S::mirostat_tau)
        .def_readwrite("mirostat_eta", &S::mirostat_eta)
        .def_readwrite("dynatemp_range", &S::dynatemp_range)
        .def_readwrite("dynatemp_exponent", &S::dynatemp_exponent)
        .def_readwrite("seed", &S::seed)
        .def_readwrite("logit_bias", &S::logit_bias)
        .def_readwrite("ignore_eos", &S::ignore_eos)
        .def_readwrite("grammar", &S::grammar)
        .def_readwrite("json_schema", &S::json_schema)
        .def_readwrite("n_logprobs", &S::n_logprobs);

    using R = luci::Request;
    py::class_<R>(m, "Request")
        .def(py::init<>())
        .def_readwrite("prompt", &R::prompt)
        .def_readwrite("suffix", &R::suffix)
        .def_readwrite("tokens", &R::tokens)
        .def_readwrite("messages_json", &R::messages_json)
        .def_property("media", &get_media, &set_media)
        .def_readwrite("tools_json", &R::tools_json)
        .def_readwrite("tool_choice", &R::tool_choice)
        .def_readwrite("parallel_tool_calls", &R::parallel_tool_calls)
        .def_readwrite("enable_thinking", &R::enable_thinking)
        .def_readwrite("add_bos", &R::add_bos)
        .def_readwrite("max_tokens", &R::max_tokens)
        .def_readwrite("prompt_logprobs", &R::prompt_logprobs)
        .def_readwrite("stop", &R::stop)
        .def_readwrite("sampling", &R::sampling)
        .def_readwrite("shift_context", &R::shift_context)
        .def_readwrite("n_keep", &R::n_keep)
        .def_readwrite("lora_scales", &R::lora_scales)
        .def_readwrite("cache_prompt", &R::cache_prompt)
        .def_readwrite("delivery_ms", &R::delivery_ms);
}

void register_results(py::module_ & m) {
    using I = luci::ModelInfo;
    py::class_<I>(m, "ModelInfo")
        .def_readonly("name", &I::name)
        .def_readonly("architecture", &I::architecture)
        .def_readonly("description", &I::description)
        .def_readonly("size_bytes", &I::size_bytes)
        .def_readonly("n_params", &I::n_params)
        .def_readonly("n_vocab", &I::n_vocab)
        .def_readonly("n_ctx", &I::n_ctx)
        .def_readonly("n_ctx_train", &I::n_ctx_train)
        .def_readonly("n_embd", &I::n_embd)
        .def_readonly("n_slots", &I::n_slots)
        .def_readonly("n_threads", &I::n_threads)
        .def_readonly("bos_token", &I::bos_token)
        .def_readonly("eos_token", &I::eos_token)
        .def_readonly("has_chat_template", &I::has_chat_template)
        .def_readonly("can_rewind", &I::can_rewind)
        .def_readonly("takes_images", &I::takes_images)
        .def_readonly("takes_audio", &I::takes_audio);

    py::class_<luci::TokenLogprob>(m, "TokenLogprob")
        .def_readonly("token", &luci::TokenLogprob::token)
        .def_readonly("text", &luci::TokenLogprob::text)
        .def_readonly("logprob", &luci::TokenLogprob::logprob)
        .def_readonly("top", &luci::TokenLogprob::top);

    py::class_<luci::PromptLogprob, luci::TokenLogprob>(m, "PromptLogprob")
        .def_readonly("is_first", &luci::PromptLogprob::is_first)
        .def_readonly("offset", &luci::PromptLogprob::offset);

    py::class_<luci::ToolCallDelta>(m, "ToolCallDelta")
        .def_readonly("index", &luci::ToolCallDelta::index)
        .def_readonly("id", &luci::ToolCallDelta::id)
        .def_readonly("name", &luci::ToolCallDelta::name)
        .def_readonly("arguments", &luci::ToolCallDelta::arguments);

    py::class_<Event>(m, "Event")
        .def_property_readonly("kind", &kind_name)
        .def_readonly("id", &Event::id)
        .def_readonly("n_done", &Event::n_done)
        .def_readonly("n_total", &Event::n_total)
        .def_readonly("text", &Event::text)
        .def_readonly("reasoning", &Event::reasoning)
        .def_readonly("tool_calls", &Event::tool_calls)
        .def_readonly("tokens", &Event::tokens)
        .def_readonly("logprobs", &Event::logprobs)
        .def_readonly("prompt_logprobs", &Event::prompt_logprobs)
        .def_readonly("finish_reason", &Event::finish_reason)
        .def_readonly("stop_text", &Event::stop_text)
        .def_readonly("prompt_tokens", &Event::prompt_tokens)
        .def_readonly("cached_tokens", &Event::cached_tokens)
        .def_readonly("completion_tokens", &Event::completion_tokens)
        .def_readonly("dropped_tokens", &Event::dropped_tokens)
        .def_readonly("drafted_tokens", &Event::drafted_tokens)
        .def_readonly("accepted_tokens", &Event::accepted_tokens)
        .def_readonly("queue_ms", &Event::queue_ms)
        .def_readonly("prefill_ms", &Event::prefill_ms)
        .def_readonly("decode_ms", &Event::decode_ms)
        .def_readonly("ttft_ms", &Event::ttft_ms)
        .def_readonly("seed", &Event::seed)
        .def_readonly("code", &Event::code)
        .def_readonly("message", &Event::message);

    using T = luci::EngineStatus;
    py::class_<T>(m, "EngineStatus")
        .def_readonly("slots", &T::slots)
        .def_readonly("n_queued", &T::n_queued)
        .def_readonly("n_active", &T::n_active)
        .def_readonly("n_steps", &T::n_steps)
        .def_readonly("prompt_tokens_total", &T::prompt_tokens_total)
        .def_readonly("cached_tokens_total", &T::cached_tokens_total)
        .def_readonly("completion_tokens_total", &T::completion_tokens_total);
}

}  // namespace

void register_engine(py::module_ & m) {
    register_params(m);
    register_results(m);
    py::class_<Engine>(m, "Engine")
        .def(py::init<const luci::LoadParams &, luci::LoadProgress &>(), py::arg("params"),
             py::arg("progress"), ReleaseGil())
        .def("info", &Engine::info)
        .def("submit", &Engine::submit, py::arg("request"), ReleaseGil())
        .def("cancel", &Engine::cancel, py::arg("request_id"))
        .def("run", &Engine::run, py::arg("max_ms"), ReleaseGil())
        .def("interrupt", &Engine::interrupt)
        .def("memory", &Engine::memory)
        .def("has_work", &Engine::has_work)
        .def("status", &Engine::status)
        .def("tokenize", &Engine::tokenize, py::arg("text"), py::arg("add_special"),
             py::arg("parse_special"), ReleaseGil())
        .def(
            "pieces",
            [](const Engine & engine, const std::vector<llama_token> & tokens, bool special) {
                std::vector<py::bytes> pieces;
                for (const std::string & piece : engine.pieces(tokens, special)) {
                    pieces.emplace_back(piece);
                }
                return pieces;
            },
            py::arg("tokens"), py::arg("special") = false)
        .def(
            "detokenize",
            [](const Engine & engine, const std::vector<llama_token> & tokens, bool special) {
                return py::bytes(engine.detokenize(tokens, special));
            },
            py::arg("tokens"), py::arg("special") = false)
        .def("embed", &Engine::embed, py::arg("texts"), py::arg("normalize"), ReleaseGil())
        .def("embed_tokens", &Engine::embed_tokens, py::arg("inputs"), py::arg("normalize"),
             ReleaseGil())
        .def("rerank", &Engine::rerank, py::arg("query"), py::arg("documents"), ReleaseGil())
        .def("save_state", &Engine::save_state, py::arg("slot"), py::arg("path"), ReleaseGil())
        .def("restore_state", &Engine::restore_state, py::arg("slot"), py::arg("path"),
             ReleaseGil())
        .def("bench", &Engine::bench, py::arg("n_prompt"), py::arg("n_gen"), py::arg("n_streams"),
             ReleaseGil());
}
