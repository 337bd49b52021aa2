// An encoder-decoder model under the sanitizers: its answers are those of llama.cpp's own calls,
// and a storm of requests, cancels and refusals leaves each with one end.
#include <algorithm>
#include <random>

#include "check.h"
#include "luci/engine.h"
#include "luci/errors.h"
#include "run_requests.h"

// llama_encode, then llama_decode token by token from the decoder's start: what examples/simple of
// llama.cpp does.
static std::vector<llama_token> reference(const std::string & path,
                                          const std::vector<llama_token> & prompt, int32_t n) {
    luci::LoadProgress progress;
    const luci::Model model(load_params(path), progress);
    llama_context_params params = llama_context_default_params();
    params.n_ctx = 512;
    params.n_batch = 512;
    params.n_ubatch = 512;
    params.n_threads = 2;
    llama_context_ptr ctx(llama_init_from_model(model.get(), params));
    std::vector<llama_token> input = prompt;
    CHECK(llama_encode(ctx.get(),
                       llama_batch_get_one(input.data(), static_cast<int32_t>(input.size()))) == 0);
    llama_token token = llama_model_decoder_start_token(model.get());
    std::vector<llama_token> answer;
    for (int32_t i = 0; i < n; i++) {
        CHECK(llama_decode(ctx.get(), llama_batch_get_one(&token, 1)) == 0);
        const float * logits = llama_get_logits_ith(ctx.get(), -1);
        token = 0;
        for (llama_token other = 1; other < model.n_vocab(); other++) {
            const bool is_end = llama_vocab_is_eog(model.vocab(), other);
            token = !is_end && logits[other] > logits[token] ? other : token;
        }
        answer.push_back(token);
    }
    return answer;
}

static void test_reference(const std::string & path) {
    luci::LoadProgress progress;
    luci::Engine engine(load_params(path, 3), progress);
    CHECK(engine.info().n_slots == 1);
    std::map<uint64_t, std::vector<llama_token>> expected;
    for (int32_t seed = 0; seed < 4; seed++) {
        const std::vector<llama_token> prompt = tokens(5 + 40 * seed, seed);
        expected[engine.submit(make_request(prompt, 12))] = reference(path, prompt, 12);
    }
    for (const auto & [id, outcome] : drain(engine)) {
        CHECK(outcome.tokens == expected[id]);
        CHECK(outcome.end.cached_tokens == 0);
    }
}

static void test_storm(const std::string & path) {
    luci::LoadParams params = load_params(path, 4);
    params.n_ctx = 100;
    luci::LoadProgress progress;
    luci::Engine engine(params, progress);
    std::mt19937 random(5);
    std::vector<uint64_t> ids;
    std::map<uint64_t, int> n_ends;
    for (int round = 0; round < 80; round++) {
        if (random() % 3 != 0) {
            const int32_t n_prompt = 1 + static_cast<int32_t>(random() % 110);
            luci::Request request =
                make_request(tokens(n_prompt, round % 3), static_cast<int32_t>(random() % 12));
            request.shift_context = random() % 2 == 0;
            request.sampling.temperature = random() % 2 == 0 ? 0.0f : 0.9f;
            request.sampling.n_logprobs = static_cast<int32_t>(random() % 3);
            if (random() % 5 == 0) {
                request.sampling.grammar = "root ::= [a-z ]+";
            }
            ids.push_back(engine.submit(request));
        }
        if (!ids.empty() && random() % 4 == 0) {
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
    CHECK(engine.bench(64, 8, 1).second > 0.0);
    CHECK(engine.bench(0, 8, 1).second > 0.0);
}

// A context whose length no power of two is, and the longest prompt that it takes.
static void test_context_end(const std::string & path) {
    luci::LoadParams params = load_params(path);
    params.n_ctx = 50;
    params.n_batch = 7;
    params.n_ubatch = 3;
    luci::LoadProgress progress;
    luci::Engine engine(params, progress);
    luci::Request request = make_request(tokens(50, 1), -1);
    request.shift_context = true;
    const Outcome outcome = answer(engine, request);
    CHECK(outcome.end.finish_reason == "length");
    CHECK(outcome.end.completion_tokens == 50);
    CHECK(answer(engine, make_request(tokens(51, 1), 4)).end.code == "context_length_exceeded");
}

static void test_refusals(const std::string & path) {
    luci::LoadParams params = load_params(path);
    luci::LoadProgress progress;
    params.speculation = "ngram";
    CHECK_THROWS(luci::ModelLoadError, luci::Engine(params, progress));
    params.speculation = "none";
    params.embedding = true;
    CHECK_THROWS(luci::ModelLoadError, luci::Engine(params, progress));
    params.embedding = false;
    for (const char * type : {"q8_0", "q4_0", "iq4_nl", "bf16", "f32"}) {
        for (const char * flash_attention : {"auto", "on", "off"}) {
            luci::LoadParams other = load_params(path);
            other.kv_type_k = type;
            other.flash_attention = flash_attention;
            luci::Engine engine(other, progress);
            CHECK(answer(engine, make_request(tokens(20, 1), 4)).tokens.size() == 4);
        }
        const std::string name = type;
        if (name != "bf16" && name != "f32") {
            params.kv_type_v = type;
            CHECK_THROWS(luci::RequestError, luci::Engine(params, progress));
        }
    }
    params.kv_type_v = "f16";
    luci::Engine engine(params, progress);
    luci::Request request = make_request(tokens(20, 1), 4);
    request.prompt_logprobs = true;
    CHECK_THROWS(luci::RequestError, engine.submit(request));
    CHECK_THROWS(luci::RequestError, engine.save_state(0, path + ".state"));
}

int main(int, char ** argv) {
    const std::string path = std::string(argv[1]) + "/t5.gguf";
    test_reference(path);
    test_storm(path);
    test_context_end(path);
    test_refusals(path);
    return check::result();
}
