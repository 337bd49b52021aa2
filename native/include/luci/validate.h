// The validator: reads files with luci's own bounded parser and tells what is wrong with them.
// Nothing of ggml reads a file before it has passed here.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "luci/gguf/file.h"
#include "luci/gguf/findings.h"

namespace luci {

// Shared between the checking thread and any other: progress out, cancel in.
struct ValidateProgress {
    std::atomic<uint64_t> done_bytes{0};
    std::atomic<uint64_t> total_bytes{0};  // 0 until the tensors are known
    std::atomic<bool> cancelled{false};
};

struct ValidateOptions {
    bool deep = false;      // read every tensor block too
    int32_t n_threads = 0;  // for the deep check; 0 = one per CPU
};

// Checks one file, and the other shards of a split set beside it. Throws Error when cancelled;
// whatever is wrong with the file is a finding. Thread-safe.
std::vector<gguf::Finding> validate_file(const std::string & path, const ValidateOptions & options,
                                         ValidateProgress & progress);

// Checks bytes in memory with the same rules, as one file that is not split.
std::vector<gguf::Finding> validate_bytes(std::string_view bytes, const ValidateOptions & options);

// Whether a list of findings rejects the file.
bool is_rejected(const std::vector<gguf::Finding> & findings);

namespace gguf {

// D01 and D03: looks for NaN and infinity in every block of every tensor.
void check_data(const GgufFile & file, const Source & source, int32_t n_threads,
                ValidateProgress & progress, Findings & findings);

// T02: parses a template that check_template() has passed with llama-common's engine.
void parse_template(const std::string & key, const std::string & text, uint64_t offset,
                    Findings & findings);

// Whether the pinned llama.cpp can run an architecture.
bool knows_architecture(const std::string & name);

}  // namespace gguf

}  // namespace luci
