// Requests to their end, for the tests of the engine.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "luci/engine.h"

struct Outcome {
    std::string text;
    std::vector<llama_token> tokens;
    luci::Event end;
};

inline luci::LoadParams load_params(const std::string & path, int32_t n_slots = 1) {
    luci::LoadParams params;
    params.model_path = path;
    params.n_ctx = 512;
    params.n_slots = n_slots;
    params.n_threads = 2;
    return params;
}

inline luci::Request make_request(std::vector<llama_token> tokens, int32_t max_tokens) {
    luci::Request request;
    request.tokens = std::move(tokens);
    request.max_tokens = max_tokens;
    request.sampling.temperature = 0.0f;
    request.sampling.ignore_eos = true;
    return request;
}

inline std::map<uint64_t, Outcome> drain(luci::Engine & engine) {
    std::map<uint64_t, Outcome> outcomes;
    while (engine.has_work()) {
        for (luci::Event & event : engine.run(1000.0)) {
            Outcome & outcome = outcomes[event.id];
            if (event.kind == luci::EventKind::DELTA) {
                outcome.text += event.text;
                outcome.tokens.insert(outcome.tokens.end(), event.tokens.begin(),
                                      event.tokens.end());
            } else if (event.kind != luci::EventKind::PROGRESS) {
                outcome.end = event;
            }
        }
    }
    return outcomes;
}

inline Outcome answer(luci::Engine & engine, const luci::Request & request) {
    const uint64_t id = engine.submit(request);
    return drain(engine)[id];
}

// Tokens that are the same on every run.
inline std::vector<llama_token> tokens(int32_t n, int32_t seed) {
    std::vector<llama_token> made;
    for (int32_t i = 0; i < n; i++) {
        made.push_back(10 + (i * 37 + seed * 101) % 250);
    }
    return made;
}
