#include "luci/validate.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "luci/errors.h"
#include "luci/gguf/rules.h"

namespace luci {

namespace {

using gguf::Findings;
using gguf::GgufFile;
using gguf::Kind;
using gguf::Source;

std::string read_text(const Source & source, const gguf::Value & value) {
    std::string text(std::min<uint64_t>(value.n_bytes, (1 << 20) + 1), '\0');
    text.resize(source.read(value.offset, text.data(), text.size()));
    return text;
}

void check_templates(const GgufFile & file, const Source & source, Findings & findings) {
    for (const std::string & key : file.keys) {
        const gguf::Value & value = file.values.at(key);
        if (key.rfind("tokenizer.chat_template", 0) != 0 || value.type != gguf::VALUE_STRING) {
            continue;
        }
        Findings own;
        const std::string text = read_text(source, value);
        gguf::check_template(key, text, value.offset, own);
        if (!own.has_errors()) {
            gguf::parse_template(key, text, value.offset, own);
        }
        for (const gguf::Finding & finding : own.sorted()) {
            findings.error(finding.code.c_str(), finding.offset, finding.message);
        }
    }
}

// All rules but those of the data and of the other shards.
void check_meaning(const GgufFile & file, const Source & source, Findings & findings) {
    gguf::check_numbers(file, source, findings);
    gguf::check_split_keys(file, findings);
    switch (gguf::find_kind(file, findings)) {
        case Kind::MODEL:
            gguf::check_model(file, source, gguf::knows_architecture, findings);
            // An architecture that this build cannot run may do without a tokenizer.
            if (file.find("tokenizer.ggml.model") != nullptr ||
                gguf::knows_architecture(file.text("general.architecture"))) {
                gguf::check_vocabulary(file, source, findings);
            }
            if (gguf::split_count(file) == 1) {
                gguf::check_blocks(file, source, findings);
            }
            break;
        case Kind::VOCABULARY:
            gguf::check_vocabulary(file, source, findings);
            break;
        case Kind::MMPROJ:
            gguf::check_mmproj(file, findings);
            break;
        case Kind::LORA:
            gguf::check_lora(file, findings);
            break;
        case Kind::CONTROL_VECTOR:
            gguf::check_control_vector(file, findings);
            break;
        case Kind::IMATRIX:
            gguf::check_imatrix(file, findings);
            break;
        case Kind::SHARD:
        case Kind::UNKNOWN:
            break;
    }
    check_templates(file, source, findings);
}

GgufFile check_source(const Source & source, const ValidateOptions & options,
                      ValidateProgress & progress, Findings & findings) {
    GgufFile file = gguf::parse(source, findings);
    check_meaning(file, source, findings);
    if (options.deep && !findings.has_errors()) {
        gguf::check_data(file, source, options.n_threads, progress, findings);
    }
    return file;
}

// Path of shard `no` (from 0) of `count`, "" where `path` is not named like a shard.
// Source: llama_split_path in src/llama.cpp.
std::string shard_path(const std::string & path, uint64_t no, uint64_t count) {
    constexpr size_t TAIL = sizeof("-00001-of-00001.gguf") - 1;
    if (path.size() < TAIL) {
        return "";
    }
    char expected[64];
    const std::string tail = path.substr(path.size() - TAIL);
    uint64_t own_no = 0;
    try {
        own_no = std::stoul(tail.substr(1, 5));
    } catch (const std::exception &) {
        return "";
    }
    std::snprintf(expected, sizeof(expected), "-%05u-of-%05u.gguf", static_cast<unsigned>(own_no),
                  static_cast<unsigned>(count));
    if (tail != expected || count > 99'999) {
        return "";
    }
    std::snprintf(expected, sizeof(expected), "-%05u-of-%05u.gguf", static_cast<unsigned>(no + 1),
                  static_cast<unsigned>(count));
    return path.substr(0, path.size() - TAIL) + expected;
}

// M10 over the whole set: `path` has been checked as `first`, read from `source`.
void check_shards(const std::string & path, const GgufFile & first, const Source & source,
                  Findings & findings) {
    const uint64_t count = gguf::split_count(first);
    const uint64_t offset = first.offset_of("split.count");
    const auto number_of = [](const GgufFile & file, const char * key) {
        const gguf::Value * value = file.find(key);
        return value == nullptr ? -1 : value->integer().value_or(-1);
    };
    const int64_t own_no = number_of(first, "split.no");
    if (own_no < 0 || shard_path(path, static_cast<uint64_t>(own_no), count) != path) {
        findings.error("M10", offset,
                       "The file is shard " + std::to_string(own_no + 1) + " of " +
                           std::to_string(count) +
                           " and is not named so; its name has to end in -" +
                           "00001-of-0000N.gguf. Give it its name back.");
        return;
    }
    std::set<std::string> names;
    int64_t n_tensors = 0;
    GgufFile all = first;  // with the tensors of every shard
    all.tensors.clear();
    all.tensor_by_name.clear();
    for (uint64_t no = 0; no < count; ++no) {
        const std::string name = shard_path(path, no, count);
        Findings own;
        GgufFile shard;
        try {
            const gguf::FileSource part(name, own);
            shard = gguf::parse(part, own);
        } catch (const gguf::Unreadable &) {
        }
        if (own.has_errors()) {
            const gguf::Finding why = own.sorted().front();
            findings.error("M10", offset,
                           "Shard " + std::to_string(no + 1) + " of " + std::to_string(count) +
                               " cannot be used (" + why.code + "): " + why.message);
            return;
        }
        if (number_of(shard, "split.count") != static_cast<int64_t>(count) ||
            number_of(shard, "split.no") != static_cast<int64_t>(no)) {
            findings.error("M10", offset,
                           "Shard " + std::to_string(no + 1) +
                               " belongs to another model: its split.no or "
                               "split.count differs.");
        }
        const std::string architecture = shard.text("general.architecture");
        if (!architecture.empty() && architecture != first.text("general.architecture") &&
            !first.text("general.architecture").empty()) {
            findings.error("M10", offset,
                           "Shard " + std::to_string(no + 1) + " has the architecture " +
                               gguf::shown(architecture) + ", not that of the first.");
        }
        for (const gguf::Tensor & tensor : shard.tensors) {
            if (!names.insert(tensor.name).second) {
                findings.error("M10", offset,
                               "Tensor " + gguf::shown(tensor.name) + " stands in two shards.");
            }
            all.tensor_by_name.emplace(tensor.name, all.tensors.size());
            all.tensors.push_back(tensor);
            all.tensors.back().info_offset = offset;
        }
        n_tensors += static_cast<int64_t>(shard.tensors.size());
    }
    const int64_t wanted = number_of(first, "split.tensors.count");
    if (wanted >= 0 && wanted != n_tensors) {
        findings.error("M10", first.offset_of("split.tensors.count"),
                       "The shards hold " + std::to_string(n_tensors) +
                           " tensors and split.tensors.count is " + std::to_string(wanted) + ".");
    }
    if (own_no == 0) {
        gguf::check_blocks(all, source, findings);
    }
}

}  // namespace

std::vector<gguf::Finding> validate_file(const std::string & path, const ValidateOptions & options,
                                         ValidateProgress & progress) {
    Findings findings;
    try {
        const gguf::FileSource source(path, findings);
        const GgufFile file = check_source(source, options, progress, findings);
        if (gguf::split_count(file) > 1 && !findings.has_errors()) {
            check_shards(path, file, source, findings);
        }
        source.check_unchanged(findings);
    } catch (const gguf::Unreadable &) {
        // The reason is among the findings.
    }
    return findings.sorted();
}

std::vector<gguf::Finding> validate_bytes(std::string_view bytes, const ValidateOptions & options) {
    Findings findings;
    ValidateProgress progress;
    try {
        check_source(gguf::BufferSource(bytes), options, progress, findings);
    } catch (const gguf::Unreadable &) {
        // The reason is among the findings.
    }
    return findings.sorted();
}

bool is_rejected(const std::vector<gguf::Finding> & findings) {
    return std::any_of(findings.begin(), findings.end(), [](const gguf::Finding & finding) {
        return finding.severity == gguf::Severity::ERROR;
    });
}

}  // namespace luci
