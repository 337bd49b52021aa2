// Perplexity and KL divergence: a model against itself and against others, and what is refused.
#include <cmath>
#include <filesystem>
#include <fstream>

#include "check.h"
#include "luci/text_score.h"

namespace fs = std::filesystem;

namespace {

std::string some_text() {
    std::string text;
    for (int i = 0; i < 400; i++) {
        text += i % 3 == 0 ? "list the files " : "show a name and count lines ";
    }
    return text;
}

luci::TextScoreParams params_of(const fs::path & model) {
    luci::TextScoreParams params;
    params.model_path = model.string();
    params.text = some_text();
    params.n_ctx = 64;
    params.n_chunks = 4;
    params.n_threads = 2;
    return params;
}

luci::TextScore score(const luci::TextScoreParams & params) {
    luci::TextScoreProgress progress;
    const luci::TextScore made = luci::score_text(params, progress);
    CHECK(progress.n_done == made.n_chunks && progress.n_total == made.n_chunks);
    return made;
}

bool is_refused(const luci::TextScoreParams & params, const std::string & code) {
    luci::TextScoreProgress progress;
    try {
        luci::score_text(params, progress);
    } catch (const luci::RequestError & error) {
        return error.code == code;
    }
    return false;
}

void test_model_agrees_with_itself(const fs::path & models, const fs::path & base) {
    for (const char * name : {"llama.gguf", "gemma3.gguf", "mamba.gguf", "jamba.gguf"}) {
        auto params = params_of(models / name);
        params.write_base_path = base.string();
        const luci::TextScore alone = score(params);
        CHECK(alone.n_chunks == 4 && alone.n_scored == 4 * 31);
        CHECK(alone.perplexity > 1 && std::isfinite(alone.perplexity));
        CHECK(std::abs(std::exp(alone.mean_nll) - alone.perplexity) < 1e-6 * alone.perplexity);
        params.write_base_path.clear();
        params.read_base_path = base.string();
        const luci::TextScore again = score(params);
        CHECK(std::abs(again.perplexity - alone.perplexity) < 1e-4 * alone.perplexity);
        CHECK(std::abs(again.mean_kld) < 1e-5 && again.top_agreement > 0.99);
    }
}

void test_chunks_longer_than_a_batch(const fs::path & models) {
    auto params = params_of(models / "llama.gguf");
    params.n_ctx = 700;
    params.n_chunks = 1;
    CHECK(score(params).n_scored == 349);
}

void test_other_models(const fs::path & models, const fs::path & base) {
    auto params = params_of(models / "llama.gguf");
    params.write_base_path = base.string();
    score(params);
    auto other = params_of(models / "qwen3.gguf");
    other.read_base_path = base.string();
    CHECK(score(other).mean_kld > 0);
    other.n_ctx = 32;
    CHECK(is_refused(other, "other_vocabulary"));
    fs::resize_file(base, fs::file_size(base) - 2);
    other.n_ctx = 64;
    CHECK(is_refused(other, "base_file"));
    std::ofstream(base, std::ios::trunc) << "no predictions";
    CHECK(is_refused(other, "base_file"));
}

void test_refusals(const fs::path & models) {
    CHECK(is_refused(params_of(models / "bert.gguf"), "no_perplexity"));
    auto params = params_of(models / "llama.gguf");
    params.text = "the";
    CHECK(is_refused(params, "text_too_short"));
    luci::TextScoreProgress cancelled;
    cancelled.cancelled = true;
    CHECK_THROWS(luci::RequestError, luci::score_text(params_of(models / "llama.gguf"), cancelled));
    CHECK_THROWS(luci::ModelLoadError, score(params_of(models / "none.gguf")));
}

void test_logits(const fs::path & models) {
    luci::LoadParams load;
    load.model_path = (models / "llama.gguf").string();
    const auto tokens = luci::tokenize_all(load, {"list the files"}, true, false).at(0);
    const std::vector<float> logits = luci::all_logits(load, tokens);
    CHECK(logits.size() % tokens.size() == 0 && !logits.empty());
    CHECK_THROWS(luci::RequestError, luci::all_logits(load, {}));
    CHECK_THROWS(luci::RequestError, luci::all_logits(load, {-1}));
}

}  // namespace

int main(int argc, char ** argv) {
    const fs::path models = argc > 1 ? argv[1] : ".";
    const fs::path base = fs::temp_directory_path() / "luci-test-text-score-base";
    test_model_agrees_with_itself(models, base);
    test_chunks_longer_than_a_batch(models);
    test_other_models(models, base);
    test_refusals(models);
    test_logits(models);
    fs::remove(base);
    return check::result();
}
