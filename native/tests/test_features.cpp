// Speculation, LoRA, states, embeddings, chat and bench under the sanitizers.
#include <cstdio>
#include <fstream>

#include "check.h"
#include "luci/engine.h"
#include "luci/errors.h"
#include "run_requests.h"

static void test_speculation(const std::string & models) {
    luci::LoadProgress progress;
    luci::Engine plain(load_params(models + "/llama.gguf"), progress);
    std::vector<llama_token> prompt;
    for (int32_t i = 0; i < 20; i++) {
        prompt.insert(prompt.end(), {20, 30, 40});
    }
    const std::vector<llama_token> expected = answer(plain, make_request(prompt, 60)).tokens;
    for (const char * kind : {"ngram", "draft"}) {
        luci::LoadParams params = load_params(models + "/llama.gguf", 2);
        params.speculation = kind;
        params.draft_model_path = models + "/llama.gguf";
        luci::Engine engine(params, progress);
        engine.submit(make_request(prompt, 60));
        engine.submit(make_request(prompt, 60));
        for (const auto & [id, outcome] : drain(engine)) {
            CHECK(outcome.end.id == id);
            CHECK(outcome.tokens == expected);
        }
        luci::Request request = make_request(prompt, 40);
        request.sampling.ignore_eos = false;
        request.sampling.grammar = "root ::= \"yes \" [a-z]{3,30}";
        CHECK(answer(engine, request).text.rfind("yes ", 0) == 0);
    }
}

static void test_lora(const std::string & models) {
    luci::LoadParams params = load_params(models + "/llama.gguf", 2);
    params.loras.push_back({models + "/lora.gguf", 0.0f});
    luci::LoadProgress progress;
    luci::Engine engine(params, progress);
    luci::Request request = make_request(tokens(30, 1), 20);
    const std::vector<llama_token> bare = answer(engine, request).tokens;
    request.lora_scales = std::vector<float>{1.0f};
    const uint64_t with = engine.submit(request);
    request.lora_scales = std::vector<float>{0.0f};
    const uint64_t without = engine.submit(request);
    std::map<uint64_t, Outcome> outcomes = drain(engine);
    CHECK(outcomes[without].tokens == bare);
    CHECK(outcomes[with].tokens != bare);
}

static void test_state(const std::string & models) {
    const std::string path = models + "/slot.state";
    luci::LoadProgress progress;
    luci::Engine engine(load_params(models + "/llama.gguf"), progress);
    answer(engine, make_request(tokens(50, 2), 1));
    CHECK(engine.save_state(0, path).first == 50);
    CHECK(engine.restore_state(0, path).first == 50);
    std::ifstream file(path, std::ios::binary);
    const std::string whole((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
    for (size_t n = 0; n < whole.size(); n += 1 + whole.size() / 50) {
        std::ofstream(path, std::ios::binary) << whole.substr(0, n);
        CHECK_THROWS(luci::RequestError, engine.restore_state(0, path));
    }
    CHECK_THROWS(luci::RequestError, engine.save_state(5, path));
    std::remove(path.c_str());
}

static void test_embeddings(const std::string & models) {
    luci::LoadParams params = load_params(models + "/bert.gguf", 3);
    params.embedding = true;
    luci::LoadProgress progress;
    luci::Engine bert(params, progress);
    CHECK(bert.embed({"list files", "show", "count lines", "name"}, true).first.size() == 4);
    CHECK_THROWS(luci::RequestError, bert.submit(make_request({20}, 1)));
    params.model_path = models + "/reranker.gguf";
    params.pooling = "rank";
    luci::Engine ranker(params, progress);
    CHECK(ranker.rerank("files", {"list", "show", "count"}).first.size() == 3);
    CHECK_THROWS(luci::RequestError, ranker.embed({"list"}, true));
    CHECK_THROWS(luci::RequestError, ranker.embed_tokens({{5}}, true));
}

// Row by row, the probabilities of a prompt's tokens, and the order of one that is filled in.
static void test_prompt(const std::string & models) {
    luci::LoadProgress progress;
    luci::Engine engine(load_params(models + "/llama.gguf", 2), progress);
    luci::Request request = make_request(tokens(100, 4), 0);
    request.prompt_logprobs = true;
    request.sampling.n_logprobs = 3;
    const uint64_t id = engine.submit(request);
    engine.submit(make_request(tokens(100, 4), 8));
    int32_t n_scored = 0;
    while (engine.has_work()) {
        for (const luci::Event & event : engine.run(1000.0)) {
            for (const luci::PromptLogprob & one : event.prompt_logprobs) {
                CHECK(event.id == id);
                CHECK(one.is_first == (n_scored == 0));
                CHECK(one.token == (*request.tokens)[n_scored]);
                CHECK(one.logprob <= 0.0f);
                CHECK(one.top.size() == (n_scored == 0 ? 0 : 3));
                n_scored++;
            }
        }
    }
    CHECK(n_scored == 100);
    CHECK_THROWS(luci::RequestError, engine.detokenize({20, -1}, true));
    luci::Request filled = request;
    filled.tokens.reset();
    filled.prompt = "list";
    filled.suffix = "files";
    CHECK_THROWS(luci::RequestError, engine.submit(filled));
}

static void test_chat(const std::string & models) {
    luci::LoadProgress progress;
    luci::Engine engine(load_params(models + "/llama.gguf"), progress);
    luci::Request request;
    request.messages_json = "[{\"role\": \"user\", \"content\": \"list <|im_end|> files\"}]";
    request.max_tokens = 20;
    CHECK(answer(engine, request).end.finish_reason != "");
    for (const char * messages :
         {"", "[]", "[1]", "{\"role\": 1}", "[{\"role\": \"user\", \"content\": [{}]}]"}) {
        request.messages_json = messages;
        try {
            engine.cancel(engine.submit(request));
            drain(engine);
        } catch (const luci::RequestError & error) {
            CHECK(!error.message.empty());
        }
    }
}

static void test_bench(const std::string & models) {
    luci::LoadProgress progress;
    luci::Engine engine(load_params(models + "/llama.gguf", 4), progress);
    const auto [prefill, decode] = engine.bench(64, 8, 4);
    CHECK(prefill > 0.0 && decode > 0.0);
    CHECK_THROWS(luci::RequestError, engine.bench(64, 8, 5));
}

int main(int, char ** argv) {
    const std::string models = argv[1];
    test_speculation(models);
    test_lora(models);
    test_state(models);
    test_embeddings(models);
    test_prompt(models);
    test_chat(models);
    test_bench(models);
    return check::result();
}
