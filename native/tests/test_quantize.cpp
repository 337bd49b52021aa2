// Every quant type beside llama-quantize of the same tree, plans, cancel and refusals.
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "check.h"
#include "luci/imatrix.h"
#include "luci/quantize.h"

namespace fs = std::filesystem;

namespace {

std::string bytes_of(const fs::path & path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

luci::QuantizeParams params_of(const fs::path & source, const fs::path & destination,
                               const std::string & type) {
    luci::QuantizeParams params;
    params.sources = {source.string()};
    params.destination = destination.string();
    params.type = type;
    params.n_threads = 2;
    return params;
}

// Runs llama-quantize without its output.
bool run_peer(const std::string & tool, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), tool);
    std::vector<char *> argv;
    for (std::string & argument : arguments) {
        argv.push_back(argument.data());
    }
    argv.push_back(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        if (std::freopen("/dev/null", "w", stdout) != nullptr &&
            std::freopen("/dev/null", "w", stderr) != nullptr) {
            execv(tool.c_str(), argv.data());
        }
        _exit(127);
    }
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// An imatrix without meaning but with a value for every column.
std::vector<luci::ImatrixEntry> made_up_imatrix(const fs::path & source) {
    std::vector<luci::ImatrixEntry> entries;
    for (const luci::TensorPlan & tensor :
         luci::plan_quantize(params_of(source, "", "F16")).tensors) {
        const int64_t n = tensor.shape[0] * (tensor.shape.size() > 2 ? tensor.shape[2] : 1);
        std::vector<float> values(static_cast<size_t>(n));
        for (size_t i = 0; i < values.size(); i++) {
            values[i] = 0.5f + 0.4f * std::sin(static_cast<float>(i));
        }
        entries.push_back({tensor.name, values});
    }
    return entries;
}

bool wants_imatrix(const luci::QuantizePlan & plan) {
    for (const luci::TensorPlan & tensor : plan.tensors) {
        if (tensor.needs_imatrix) {
            return true;
        }
    }
    return false;
}

void test_types_equal_those_of_the_tool(const std::string & tool, const fs::path & models,
                                        const fs::path & work) {
    for (const char * name : {"wide.gguf", "wide-moe.gguf", "../jamba.gguf"}) {
        for (const luci::QuantizeType & type : luci::quantize_types()) {
            auto params = params_of(models / name, work / "ours.gguf", type.name);
            luci::QuantizePlan plan;
            try {
                plan = luci::plan_quantize(params);
            } catch (const luci::QuantizeError &) {
                // No type stands in for this one where the rows are too short; the tool says so
                // too.
                CHECK(!run_peer(tool, {(models / name).string(), (work / "theirs.gguf").string(),
                                       type.name, "2"}));
                continue;
            }
            if (wants_imatrix(plan)) {
                luci::QuantizeProgress refused;
                CHECK_THROWS(luci::QuantizeError, luci::quantize(params, refused));
                continue;  // with an imatrix these are compared where files of one are made
            }
            luci::QuantizeProgress progress;
            luci::quantize(params, progress);
            CHECK(run_peer(
                tool, {(models / name).string(), (work / "theirs.gguf").string(), type.name, "2"}));
            const std::string ours = bytes_of(work / "ours.gguf");
            CHECK(ours == bytes_of(work / "theirs.gguf"));
            CHECK(static_cast<int64_t>(ours.size()) == plan.file_bytes.at(0));
            CHECK(progress.n_done == progress.n_total && progress.n_total > 0);
            CHECK(progress.bytes_done == plan.source_bytes);
        }
    }
}

void test_types_with_an_imatrix_have_the_planned_size(const fs::path & models,
                                                      const fs::path & work) {
    for (const char * type : {"IQ1_S", "IQ2_XXS", "IQ3_XXS", "Q2_K_S"}) {
        auto params = params_of(models / "wide-moe.gguf", work / "ours.gguf", type);
        params.imatrix = made_up_imatrix(models / "wide-moe.gguf");
        params.imatrix_path = std::string(130, 'x') + "\xC3\xA9";
        params.imatrix_chunks = 3;
        const luci::QuantizePlan plan = luci::plan_quantize(params);
        CHECK(wants_imatrix(plan));
        luci::QuantizeProgress progress;
        luci::quantize(params, progress);
        CHECK(static_cast<int64_t>(fs::file_size(work / "ours.gguf")) == plan.file_bytes.at(0));
    }
}

void test_cancel_ends_before_the_next_tensor(const fs::path & models, const fs::path & work) {
    const auto params = params_of(models / "wide.gguf", work / "ours.gguf", "Q4_K_M");
    luci::QuantizeProgress early;
    early.cancelled = true;
    CHECK_THROWS(luci::QuantizeError, luci::quantize(params, early));
    CHECK(early.n_done == 0);
    luci::QuantizeProgress late;
    std::thread canceller([&] {
        while (late.n_total == 0) {
            std::this_thread::yield();
        }
        late.cancelled = true;
    });
    try {
        luci::quantize(params, late);
    } catch (const luci::QuantizeError & error) {
        CHECK(std::string(error.what()).find("cancelled") != std::string::npos);
        CHECK(late.n_done < late.n_total);
    }
    canceller.join();
    luci::QuantizeProgress again;
    luci::quantize(params, again);
    CHECK(again.n_done == again.n_total);
}

void test_refusals_say_why(const fs::path & models, const fs::path & work) {
    auto params = params_of(models / "wide.gguf", work / "ours.gguf", "Q9");
    CHECK_THROWS(luci::QuantizeError, luci::plan_quantize(params));
    params.type = "Q4_K_M";
    params.tensor_types = {{"ffn_(", "q8_0"}};
    CHECK_THROWS(luci::QuantizeError, luci::plan_quantize(params));
    params.tensor_types = {{"ffn", "i32"}};
    CHECK_THROWS(luci::QuantizeError, luci::plan_quantize(params));
    params.tensor_types.clear();
    params.sources = {(models / "missing.gguf").string()};
    CHECK_THROWS(luci::QuantizeError, luci::plan_quantize(params));
    params.sources = {(models / "wide.gguf").string()};
    params.destination = "/dev/full";
    luci::QuantizeProgress progress;
    CHECK_THROWS(luci::QuantizeError, luci::quantize(params, progress));
}

void test_imatrix_counts_every_token(const fs::path & models, const fs::path & work) {
    luci::ImatrixParams params;
    params.model_path = (models / "wide-moe.gguf").string();
    for (int i = 0; i < 200; i++) {
        params.text += "list the files ";
    }
    params.dataset = "text";
    params.out_path = (work / "imatrix.gguf").string();
    params.n_ctx = 64;
    params.n_chunks = 3;
    params.n_threads = 1;
    luci::ImatrixProgress progress;
    const luci::ImatrixSummary summary = luci::make_imatrix(params, progress);
    CHECK(summary.n_chunks == 3 && progress.n_done == 3);
    CHECK(summary.n_entries == 8);  // seven matrices and the router
    CHECK(fs::file_size(work / "imatrix.gguf") > 0);
    params.text = "short";
    CHECK_THROWS(luci::QuantizeError, luci::make_imatrix(params, progress));
}

}  // namespace

int main(int, char ** argv) {
    const fs::path models = argv[1];
    const fs::path work = models / "quantized";
    fs::create_directories(work);
    test_types_equal_those_of_the_tool(argv[2], models, work);
    test_types_with_an_imatrix_have_the_planned_size(models, work);
    test_cancel_ends_before_the_next_tensor(models, work);
    test_refusals_say_why(models, work);
    test_imatrix_counts_every_token(models, work);
    fs::remove_all(work);
    return check::result();
}
