// What the metadata and the tensors of a file that parse() has read must agree on: M01 to M12.
#pragma once

#include <functional>
#include <string>

#include "luci/gguf/file.h"

namespace luci::gguf {

enum class Kind { MODEL, VOCABULARY, SHARD, MMPROJ, LORA, CONTROL_VECTOR, IMATRIX, UNKNOWN };

// Tells whether this build can run an architecture; false only brings a warning.
using KnowsArchitecture = std::function<bool(const std::string &)>;

// What a file is for, from general.type, general.architecture and its tensors; M01.
Kind find_kind(const GgufFile & file, Findings & findings);

void check_model(const GgufFile & file, const Source & source, const KnowsArchitecture & knows,
                 Findings & findings);
void check_vocabulary(const GgufFile & file, const Source & source, Findings & findings);
// `source` is where the metadata stands; the tensors may be those of several shards.
void check_blocks(const GgufFile & file, const Source & source, Findings & findings);
void check_mmproj(const GgufFile & file, Findings & findings);
void check_lora(const GgufFile & file, Findings & findings);
void check_control_vector(const GgufFile & file, Findings & findings);
void check_imatrix(const GgufFile & file, Findings & findings);
// Finite numbers everywhere in the metadata; M09.
void check_numbers(const GgufFile & file, const Source & source, Findings & findings);

// Split models. The keys of one file; M10.
void check_split_keys(const GgufFile & file, Findings & findings);
uint64_t split_count(const GgufFile & file);  // 1 = not split

// Reads an integer of exactly `type`, reports another type or a value outside the range under
// `code`; `fallback` where the key is missing or wrong.
struct Range {
    int64_t low;
    int64_t high;
};
std::string in_words(Range range);  // "1 to 5", or "only 4"
int64_t checked_integer(const GgufFile & file, const std::string & key, uint32_t type, Range range,
                        int64_t fallback, const char * code, Findings & findings);

// Templates: T01 to T03, in template_rules.cpp. `offset` is where the text begins in the file.
void check_template(const std::string & key, const std::string & text, uint64_t offset,
                    Findings & findings);

}  // namespace luci::gguf
