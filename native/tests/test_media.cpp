// Images and sound: the same answers as libmtmd's own helper gives, alone and beside others.
#include <cmath>
#include <cstdio>
#include <fstream>

#include "check.h"
#include "llama-cpp.h"
#include "luci/engine.h"
#include "luci/errors.h"
#include "luci/log.h"
#include "mtmd-helper.h"
#include "mtmd.h"
#include "run_requests.h"

namespace {

constexpr int32_t N_ANSWER = 12;

struct Pair {
    const char * model;
    const char * projector;
    bool is_audio;
};
const Pair PAIRS[] = {
    {"llama", "mlp", false},
    {"gemma3", "gemma3", false},
    {"qwen2vl", "qwen2vl_merger", false},
    {"llama", "ultravox", true},
};

std::string file(const std::string & path) {
    std::ifstream stream(path, std::ios::binary);
    return std::string((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
}

luci::MediaInput picture(int32_t seed, uint32_t width = 150, uint32_t height = 100) {
    luci::MediaInput input;
    input.id = "picture " + std::to_string(seed);
    input.width = width;
    input.height = height;
    for (uint32_t i = 0; i < width * height * 3; i++) {
        const uint32_t x = i / 3 % width;
        const uint32_t y = i / 3 / width;
        input.bytes += static_cast<char>(x * (seed + i % 3) + y * 3 * seed);
    }
    return input;
}

luci::MediaInput medium(const std::string & models, bool is_audio, int32_t seed) {
    if (!is_audio) {
        return picture(seed);
    }
    luci::MediaInput input;
    input.is_audio = true;
    input.id = "tone " + std::to_string(seed);
    input.bytes = file(models + "/tone" + std::to_string(seed) + ".wav");
    return input;
}

luci::LoadParams params_for(const std::string & models, const Pair & pair, int32_t n_slots = 1) {
    luci::LoadParams params = load_params(models + "/" + pair.model + ".gguf", n_slots);
    params.mmproj_path = models + "/projectors/" + pair.projector + ".gguf";
    // The projector's threads and the engine's would wait for each other on a small machine.
    params.n_threads = 1;
    return params;
}

luci::Request look_at(const luci::MediaInput & input) {
    luci::Request request;
    request.messages_json =
        "[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"list the files \"},"
        "{\"type\":\"media\",\"index\":0},{\"type\":\"text\",\"text\":\" in it\"}]}]";
    request.media = {input};
    request.max_tokens = N_ANSWER;
    request.sampling.temperature = 0.0f;
    request.sampling.ignore_eos = true;
    return request;
}

std::string rendered(const std::string & content) {
    return "<|im_start|>user\n" + content + "<|im_end|>\n<|im_start|>assistant\n";
}

// The same prompt through mtmd_helper_eval_chunks, and the most likely tokens after it.
std::vector<llama_token> reference(const luci::LoadParams & params,
                                   const luci::MediaInput & input) {
    luci::LoadProgress progress;
    const llama_model_ptr model = luci::load_model_file(params.model_path, params, &progress);
    const llama_context_ptr context = luci::make_context(model.get(), params, params.n_ctx);
    mtmd_context_params mparams = mtmd_context_params_default();
    mparams.use_gpu = false;
    mparams.n_threads = params.n_threads;
    mparams.warmup = false;
    const mtmd::context_ptr projector(
        mtmd_init_from_file(params.mmproj_path.c_str(), model.get(), mparams));
    const auto * bytes = reinterpret_cast<const unsigned char *>(input.bytes.data());
    const mtmd::bitmap_ptr bitmap(
        input.is_audio
            ? mtmd_helper_bitmap_init_from_buf(projector.get(), bytes, input.bytes.size(), false,
                                               mtmd_helper_init_opt_default())
                  .bitmap
            : mtmd_bitmap_init(input.width, input.height, bytes));
    const std::string prompt =
        rendered("list the files " + std::string(mtmd_default_marker()) + " in it");
    const mtmd_input_text text = {prompt.data(), prompt.size(), true, true};
    const mtmd::input_chunks_ptr chunks(mtmd_input_chunks_init());
    const mtmd_bitmap * bitmaps[] = {bitmap.get()};
    CHECK(mtmd_tokenize(projector.get(), chunks.get(), &text, bitmaps, 1) == 0);
    llama_pos position = 0;
    CHECK(mtmd_helper_eval_chunks(projector.get(), context.get(), chunks.get(), 0, 0,
                                  params.n_batch, true, &position) == 0);
    const llama_vocab * vocab = llama_model_get_vocab(model.get());
    std::vector<llama_token> answer;
    llama_batch batch = llama_batch_init(1, 0, 1);
    while (static_cast<int32_t>(answer.size()) < N_ANSWER) {
        const float * logits = llama_get_logits_ith(context.get(), -1);
        llama_token best = -1;
        for (llama_token token = 0; token < llama_vocab_n_tokens(vocab); token++) {
            if (!llama_vocab_is_eog(vocab, token) && (best < 0 || logits[token] > logits[best])) {
                best = token;
            }
        }
        answer.push_back(best);
        batch.n_tokens = 1;
        batch.token[0] = best;
        batch.pos[0] = position++;
        batch.n_seq_id[0] = 1;
        batch.seq_id[0][0] = 0;
        batch.logits[0] = true;
        CHECK(llama_decode(context.get(), batch) == 0);
    }
    llama_batch_free(batch);
    return answer;
}

void test_same_as_helper(const std::string & models, const Pair & pair) {
    const luci::LoadParams params = params_for(models, pair);
    luci::LoadProgress progress;
    luci::Engine engine(params, progress);
    CHECK(engine.info().takes_images == !pair.is_audio);
    CHECK(engine.info().takes_audio == pair.is_audio);
    const luci::MediaInput one = medium(models, pair.is_audio, 1);
    const std::vector<llama_token> expected = reference(params, one);
    const Outcome first = answer(engine, look_at(one));
    CHECK(first.tokens == expected);
    CHECK(first.end.cached_tokens == 0);
    // The same again comes out of the cache; another one does not.
    const Outcome again = answer(engine, look_at(one));
    CHECK(again.tokens == expected);
    CHECK(again.end.cached_tokens == again.end.prompt_tokens - 1);
    const luci::MediaInput two = medium(models, pair.is_audio, 2);
    const Outcome other = answer(engine, look_at(two));
    CHECK(other.tokens == reference(params, two));
    CHECK(other.tokens != expected);
    CHECK(other.end.cached_tokens < again.end.cached_tokens);
    CHECK_THROWS(luci::RequestError, engine.save_state(0, models + "/media.state"));
}

// Several slots at once, with text beside them, give what each gives alone.
void test_beside_others(const std::string & models, const Pair & pair, bool is_unified) {
    luci::LoadParams params = params_for(models, pair, 3);
    params.kv_unified = is_unified;
    params.n_batch = 16;  // an image is decoded in parts, where it may be
    params.n_ubatch = 16;
    luci::LoadProgress progress;
    luci::Engine engine(params, progress);
    const luci::MediaInput one = medium(models, pair.is_audio, 1);
    const luci::MediaInput two = medium(models, pair.is_audio, 2);
    // Short enough never to be cut: parts of another length are summed in another order.
    const luci::Request text = make_request(tokens(8, 3), 40);
    const std::vector<llama_token> alone_text = answer(engine, text).tokens;
    const std::vector<llama_token> alone_one = answer(engine, look_at(one)).tokens;
    const std::vector<llama_token> alone_two = answer(engine, look_at(two)).tokens;
    luci::Engine fresh(params, progress);
    const uint64_t a = fresh.submit(text);
    const uint64_t b = fresh.submit(look_at(one));
    const uint64_t c = fresh.submit(look_at(two));
    const uint64_t d = fresh.submit(look_at(one));  // waits for a slot, or for the prefix of b
    std::map<uint64_t, Outcome> outcomes = drain(fresh);
    CHECK(outcomes[a].tokens == alone_text);
    CHECK(outcomes[b].tokens == alone_one);
    CHECK(outcomes[c].tokens == alone_two);
    CHECK(outcomes[d].tokens == alone_one);
    CHECK(outcomes[d].end.cached_tokens > 16);
}

void test_cancel(const std::string & models) {
    luci::LoadProgress progress;
    luci::Engine engine(params_for(models, PAIRS[0], 2), progress);
    for (int32_t round = 0; round < 20; round++) {
        const uint64_t id = engine.submit(look_at(picture(round)));
        engine.run(round % 4 * 0.5);
        engine.cancel(id);
        const Outcome outcome = drain(engine)[id];
        CHECK(outcome.end.kind == luci::EventKind::DONE);
    }
    // Nothing of them is left: a picture after all of that is answered as by a fresh engine.
    const luci::MediaInput one = picture(1);
    CHECK(answer(engine, look_at(one)).tokens == reference(params_for(models, PAIRS[0]), one));
}

// A conversation goes on: the picture of the first turn is in the cache, in the middle of it.
void test_turns(const std::string & models, const Pair & pair) {
    luci::LoadProgress progress;
    luci::Request second = look_at(medium(models, pair.is_audio, 1));
    second.messages_json = second.messages_json->substr(0, second.messages_json->size() - 1) +
                           ",{\"role\":\"assistant\",\"content\":\"ls\"},"
                           "{\"role\":\"user\",\"content\":[{\"type\":\"media\",\"index\":1}]}]";
    second.media.push_back(medium(models, pair.is_audio, 2));
    luci::LoadParams params = params_for(models, pair);
    params.n_ctx = 1024;
    luci::Engine fresh(params, progress);
    const Outcome expected = answer(fresh, second);
    luci::Engine engine(params, progress);
    answer(engine, look_at(medium(models, pair.is_audio, 1)));
    const Outcome outcome = answer(engine, second);
    CHECK(expected.end.kind == luci::EventKind::DONE);
    CHECK(outcome.tokens == expected.tokens);
    // Gemma's sliding window has moved on, so its prefix is computed again.
    CHECK(outcome.end.cached_tokens > 0 || std::string(pair.model) == "gemma3");
}

std::string refusal(luci::Engine & engine, const luci::Request & request) {
    try {
        return answer(engine, request).end.code;
    } catch (const luci::RequestError & error) {
        return error.code;
    }
}

void test_refusals(const std::string & models) {
    luci::LoadProgress progress;
    luci::Engine blind(load_params(models + "/llama.gguf"), progress);
    CHECK(refusal(blind, look_at(picture(1))) == "media_not_supported");
    luci::Engine engine(params_for(models, PAIRS[0]), progress);
    luci::MediaInput sound = medium(models, true, 1);
    CHECK(refusal(engine, look_at(sound)) == "media_not_supported");
    luci::MediaInput short_of_bytes = picture(1);
    short_of_bytes.bytes.pop_back();
    CHECK(refusal(engine, look_at(short_of_bytes)) == "invalid_image");
    CHECK(refusal(engine, look_at(picture(1, 0, 0))) == "invalid_image");
    luci::Request unplaced = look_at(picture(1));
    unplaced.media.push_back(picture(2));
    CHECK(refusal(engine, unplaced) == "media_not_supported");
    luci::Request unknown = look_at(picture(1));
    unknown.media.clear();
    unknown.messages_json = "[{\"role\":\"user\",\"content\":[{\"type\":\"media\",\"index\":7}]}]";
    CHECK(refusal(engine, unknown) != "");
    // Shapes that a preprocessor could divide by zero with.
    for (const auto & [width, height] :
         {std::pair{1u, 1u}, std::pair{1u, 400u}, std::pair{4096u, 1u}}) {
        CHECK(answer(engine, look_at(picture(1, width, height))).tokens.size() == N_ANSWER);
    }
    luci::Engine ears(params_for(models, PAIRS[3]), progress);
    sound.bytes = "RIFF, and then nothing";
    CHECK(refusal(ears, look_at(sound)) == "invalid_audio");
    luci::LoadParams other = params_for(models, PAIRS[0]);
    other.mmproj_path = models + "/projectors/other-width.gguf";
    CHECK_THROWS(luci::ModelLoadError, luci::Engine(other, progress));
    other = params_for(models, PAIRS[0]);
    other.speculation = "ngram";
    CHECK_THROWS(luci::ModelLoadError, luci::Engine(other, progress));
    luci::LoadParams small = params_for(models, PAIRS[1]);
    small.n_batch = small.n_ubatch = 8;
    luci::Engine narrow(small, progress);
    CHECK(refusal(narrow, look_at(picture(1))) == "invalid_media");
}

}  // namespace

int main(int, char ** argv) {
    const std::string models = argv[1];
    luci::init_backend();
    for (const Pair & pair : PAIRS) {
        std::fprintf(stderr, "%s with %s\n", pair.model, pair.projector);
        test_same_as_helper(models, pair);
        test_turns(models, pair);
        test_beside_others(models, pair, false);
        test_beside_others(models, pair, true);
    }
    test_cancel(models);
    test_refusals(models);
    return check::result();
}
