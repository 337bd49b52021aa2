// The scheduler under the sanitizers: many requests over few slots on each kind of memory, with
// every way to end.
#include "luci/engine.h"

#include <cmath>
#include <random>

#include "check.h"
#include "luci/errors.h"
#include "run_requests.h"

static const char * ARCHS[] = {"llama", "gemma3", "mamba", "jamba", "qwen3next"};

// Requests with shared beginnings, random lengths, cancels in the middle; everybody gets exactly
// one end.
static void test_storm(const std::string & path, bool kv_unified) {
    luci::LoadParams params = load_params(path, 4);
    params.kv_unified = kv_unified;
    luci::LoadProgress progress;
    luci::Engine engine(params, progress);
    std::mt19937 random(11);
    std::vector<uint64_t> ids;
    std::map<uint64_t, int> n_ends;
    for (int round = 0; round < 60; round++) {
        if (random() % 3 != 0) {
            std::vector<llama_token> prompt = tokens(60, static_cast<int32_t>(random() % 3));
            const std::vector<llama_token> own =
                tokens(1 + static_cast<int32_t>(random() % 30), round);
            prompt.insert(prompt.end(), own.begin(), own.end());
            luci::Request request = make_request(prompt, 1 + static_cast<int32_t>(random() % 20));
            request.shift_context = random() % 2 == 0;
            request.cache_prompt = random() % 5 != 0;
            if (random() % 4 == 0) {
                request.sampling.temperature = 0.9f;
                request.sampling.n_logprobs = 2;
            }
            if (random() % 6 == 0) {
                request.sampling.grammar = "root ::= [a-z ]+";
            }
            if (random() % 4 == 0) {
                request.prompt_logprobs = true;
                request.max_tokens = static_cast<int32_t>(random() % 3);
            }
            ids.push_back(engine.submit(request));
        }
        if (!ids.empty() && random() % 5 == 0) {
            engine.cancel(ids[random() % ids.size()]);
        }
        for (const luci::Event & event : engine.run(0.0)) {
            n_ends[event.id] +=
                event.kind == luci::EventKind::DONE || event.kind == luci::EventKind::FAILED;
        }
    }
    for (const auto & [id, outcome] : drain(engine)) {
        n_ends[id] += outcome.end.id == id;
    }
    for (const uint64_t id : ids) {
        CHECK(n_ends[id] == 1);
    }
}

static void test_context_end(const std::string & path) {
    luci::LoadParams params = load_params(path);
    params.n_ctx = 256;
    luci::LoadProgress progress;
    luci::Engine engine(params, progress);
    luci::Request request = make_request(tokens(200, 1), -1);
    CHECK(answer(engine, request).end.finish_reason == "length");
    request.max_tokens = 400;
    request.shift_context = true;
    request.n_keep = 4;
    const Outcome outcome = answer(engine, request);
    CHECK(outcome.end.finish_reason == "length");
    request = make_request(tokens(300, 1), 4);
    CHECK(answer(engine, request).end.code == "context_length_exceeded");
}

// A grammar that allows nothing more ends the answer, whoever may not choose the end.
static void test_grammar_end(const std::string & path) {
    for (const char * speculation : {"none", "ngram"}) {
        luci::LoadParams params = load_params(path);
        params.speculation = speculation;
        luci::LoadProgress progress;
        luci::Engine engine(params, progress);
        for (const float temperature : {0.0f, 0.8f}) {
            luci::Request request = make_request(tokens(30, 1), 50);
            request.sampling.temperature = temperature;
            request.sampling.grammar = "root ::= \"ab\" | \"cd\"";
            const Outcome outcome = answer(engine, request);
            CHECK(outcome.end.finish_reason == "stop");
            CHECK(outcome.text == "ab" || outcome.text == "cd");
            CHECK(outcome.end.completion_tokens == static_cast<int32_t>(outcome.tokens.size()));
            request.sampling.grammar = "root ::= [a-z]{1,40}";
            CHECK(answer(engine, request).end.finish_reason == "stop");
            // Every letter is banned: the grammar is not complete, and nothing can be chosen.
            for (llama_token token = 5; token < engine.info().n_vocab; token++) {
                request.sampling.logit_bias.emplace_back(token, -INFINITY);
            }
            CHECK(answer(engine, request).end.code == "nan_logits");
        }
    }
}

// A step decodes a token for each slot and each guess, whatever n_batch says.
static void test_small_batch(const std::string & path) {
    for (const char * speculation : {"none", "ngram"}) {
        luci::LoadParams params = load_params(path, 6);
        params.n_batch = 3;
        params.speculation = speculation;
        luci::LoadProgress progress;
        luci::Engine engine(params, progress);
        for (int32_t i = 0; i < 8; i++) {
            std::vector<llama_token> prompt;
            for (int32_t repeat = 0; repeat < 12; repeat++) {
                prompt.insert(prompt.end(), {20 + i, 30, 40});
            }
            engine.submit(make_request(prompt, 40));
        }
        for (const auto & [id, outcome] : drain(engine)) {
            CHECK(outcome.end.finish_reason == "length");
        }
    }
}

static void test_bad_requests(const std::string & path) {
    luci::LoadProgress progress;
    luci::Engine engine(load_params(path), progress);
    luci::Request request = make_request({}, 4);
    CHECK(answer(engine, request).end.completion_tokens == 4);  // an empty prompt starts from BOS
    request.prompt = "both";
    CHECK_THROWS(luci::RequestError, engine.submit(request));
    request = make_request({-5}, 4);
    CHECK_THROWS(luci::RequestError, engine.submit(request));
    for (const char * grammar :
         {"root ::= (", "root ::= undefined", "x ::= \"a\"", "\"", "root ::= [z-a]{9999999}"}) {
        request = make_request({20}, 4);
        request.sampling.grammar = grammar;
        CHECK_THROWS(luci::RequestError, engine.submit(request));
    }
    for (const char * schema : {"", "[", "{\"type\": 5}", "{\"$ref\": \"#/nowhere\"}"}) {
        request = make_request({20}, 4);
        request.sampling.json_schema = schema;
        if (*schema != '\0') {
            CHECK_THROWS(luci::RequestError, engine.submit(request));
        }
    }
    luci::LoadProgress other;
    CHECK_THROWS(luci::ModelLoadError, luci::Engine(load_params(path + ".missing"), other));
}

int main(int, char ** argv) {
    const std::string models = argv[1];
    for (const char * arch : ARCHS) {
        for (const bool kv_unified : {false, true}) {
            test_storm(models + "/" + arch + ".gguf", kv_unified);
        }
        test_context_end(models + "/" + arch + ".gguf");
    }
    test_grammar_end(models + "/llama.gguf");
    test_small_batch(models + "/llama.gguf");
    test_bad_requests(models + "/llama.gguf");
    return check::result();
}
