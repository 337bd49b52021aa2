// The file's first bytes and its metadata: rules S01 to S12.
#include <algorithm>
#include <cctype>
#include <cstring>

#include "luci/gguf/file.h"

namespace luci::gguf {

namespace {

constexpr uint64_t HEADER_BYTES = 24;
constexpr uint64_t MAX_ENTRIES = 65'536;     // most values and most tensors
constexpr uint64_t LEAST_VALUE_BYTES = 13;   // key length, type, one byte
constexpr uint64_t LEAST_TENSOR_BYTES = 24;  // name length, n_dims, type, offset
constexpr uint64_t MAX_KEY_BYTES = 65'535;   // Source: docs/gguf.md
constexpr uint64_t MAX_STRING_BYTES = 64ull << 20;
constexpr uint64_t USUAL_STRING_BYTES = 1ull << 20;
constexpr uint64_t MAX_ITEM_BYTES = 64 * 1024;  // of one string in an array, e.g. a token
constexpr uint64_t MAX_ARRAY_BYTES = 256ull << 20;
constexpr uint64_t MAX_STRINGS = 4ull << 20;  // in one array
constexpr uint64_t MAX_KEPT_TEXT = 32ull << 20;
constexpr uint64_t MIN_ALIGNMENT = 8;
constexpr uint64_t MAX_ALIGNMENT = 4096;
constexpr uint64_t USUAL_ALIGNMENT = 64;

bool is_control(char c) {
    return static_cast<uint8_t>(c) < 0x20 || c == 0x7F;
}

bool starts_with_any(std::string_view text, std::initializer_list<std::string_view> starts) {
    return std::any_of(starts.begin(), starts.end(), [&](std::string_view start) {
        return text.substr(0, start.size()) == start;
    });
}

void check_magic(const Source & source, Findings & findings) {
    char start[512];
    const size_t n_start = source.read(0, start, sizeof(start));
    std::string low(start, n_start);
    if (low.substr(0, 4) == "GGUF") {
        if (n_start < HEADER_BYTES) {
            findings.fatal("S01", source.size(),
                           "The file has " + std::to_string(source.size()) +
                               " bytes; a GGUF header alone has 24. Download it again.");
        }
        return;
    }
    if (n_start == 0) {
        findings.fatal("S01", 0, "The file is empty (0 bytes). Download it again.");
    }
    const std::string first = shown(low.substr(0, 4));
    low.erase(0, std::min(low.find_first_not_of(" \t\r\n"), low.size()));
    std::transform(low.begin(), low.end(), low.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const std::string wanted = "The file is no GGUF file: ";
    if (starts_with_any(low, {"<!doctype", "<html", "<?xml", "<head"})) {
        findings.fatal("S02", 0,
                       wanted +
                           "it is a web page (HTML), perhaps a login or an error "
                           "in place of the model. Download it again.");
    }
    if (starts_with_any(low, {"version https://git-lfs"})) {
        findings.fatal("S02", 0,
                       wanted +
                           "it is a Git LFS pointer, not the model itself. Run `git "
                           "lfs pull` where it came from, or download the file.");
    }
    if (starts_with_any(low, {"lmgg", "fmgg", "tjgg", "algg", "ggml", "ggmf", "ggjt", "ggla"})) {
        findings.fatal("S02", 0,
                       wanted +
                           "it has the older GGML format, which llama.cpp no longer "
                           "reads. Download a GGUF conversion of the model.");
    }
    if (starts_with_any(low, {"pk\x03\x04"}) || (n_start > 8 && start[8] == '{')) {
        findings.fatal("S02", 0,
                       wanted +
                           "it looks like PyTorch or safetensors weights. Convert "
                           "it to GGUF first.");
    }
    findings.fatal("S02", 0,
                   wanted + "it starts with " + first +
                       " where 'GGUF' is expected. "
                       "Choose a .gguf file, or convert this one first.");
}

void check_version(uint32_t version, Findings & findings) {
    if (version == 2 || version == 3) {
        return;
    }
    if (version == 1) {
        findings.fatal("S03", 4,
                       "The file is GGUF version 1, which llama.cpp no longer reads. "
                       "Download a newer conversion of the model.");
    }
    if ((version & 0xFFFF) == 0 && version != 0) {
        findings.fatal("S03", 4,
                       "The file is a big-endian GGUF file, which this machine cannot "
                       "use. Download the little-endian one.");
    }
    findings.fatal("S03", 4,
                   "The file says GGUF version " + std::to_string(version) +
                       "; versions 2 and 3 exist. Download it again.");
}

// Reads a key; S06 and S07.
std::string read_key(Cursor & cursor, const GgufFile & file, Findings & findings) {
    const uint64_t start = cursor.offset();
    const uint64_t n_bytes = cursor.u64();
    if (n_bytes == 0 || n_bytes > MAX_KEY_BYTES) {
        findings.fatal("S06", start,
                       "A key of " + std::to_string(n_bytes) +
                           " bytes is not allowed; keys have 1 to 65535. The file "
                           "is damaged or hostile.");
    }
    const std::string key(cursor.bytes(n_bytes));
    const bool is_plain = std::all_of(key.begin(), key.end(), [](char c) {
        return std::islower(static_cast<unsigned char>(c)) ||
               std::isdigit(static_cast<unsigned char>(c)) || c == '_' || c == '.' || c == '-';
    });
    if (std::any_of(key.begin(), key.end(), is_control)) {
        findings.error("S06", start,
                       "The key " + shown(key) +
                           " holds control characters; programs that read it as a C "
                           "string see another key.");
    } else if (!is_utf8(key)) {
        findings.error("S06", start, "The key " + shown(key) + " is no text (UTF-8).");
    } else if (!is_plain) {
        findings.warning(
            "S06", start,
            "The key " + shown(key) + " has other characters than a-z, 0-9, '_', '.', '-'.");
    }
    if (file.values.count(key) != 0) {
        findings.error(
            "S07", start,
            "The key " + shown(key) + " occurs twice, so readers disagree about its value.");
    }
    return key;
}

// Reads a string value; S10.
void read_string(Cursor & cursor, const std::string & key, Value & value, uint64_t & n_kept,
                 Findings & findings) {
    const uint64_t start = cursor.offset();
    value.n_bytes = cursor.u64();
    value.offset = cursor.offset();
    if (value.n_bytes <= cursor.left() && value.n_bytes > MAX_STRING_BYTES) {
        findings.fatal("S10", start,
                       "The value of " + shown(key) + " has " + std::to_string(value.n_bytes) +
                           " bytes; no more than 64 MiB are read.");
    }
    if (value.n_bytes > cursor.left()) {
        findings.fatal("S10", start,
                       "The value of " + shown(key) + " claims " + std::to_string(value.n_bytes) +
                           " bytes and " + std::to_string(cursor.left()) +
                           " are left. The file is cut off, damaged or hostile.");
    }
    const bool is_template = key.rfind("tokenizer.chat_template", 0) == 0;
    if (value.n_bytes > USUAL_STRING_BYTES && !is_template && key != "tokenizer.huggingface.json") {
        findings.warning("S10", start,
                         "The value of " + shown(key) + " has " + std::to_string(value.n_bytes) +
                             " bytes, which is unusual.");
    }
    value.text = cursor.bytes(std::min<uint64_t>(value.n_bytes, Value::KEPT_BYTES));
    cursor.skip(value.n_bytes - value.text.size());
    n_kept += value.text.size();
    if (n_kept > MAX_KEPT_TEXT) {
        findings.fatal("S10", start,
                       "The metadata holds more than 32 MiB of text; no honest model "
                       "does. The file is damaged or hostile.");
    }
    if (value.text.find('\0') != std::string::npos) {
        findings.error("S10", start,
                       "The value of " + shown(key) +
                           " holds a zero byte; programs that read it as a C string "
                           "see another value.");
    } else if (value.text.size() == value.n_bytes && !is_utf8(value.text)) {
        findings.warning("S10", start, "The value of " + shown(key) + " is no text (UTF-8).");
    } else if (std::any_of(value.text.begin(), value.text.end(), [](char c) {
                   return is_control(c) && c != '\n' && c != '\t' && c != '\r';
               })) {
        findings.warning("S10", start,
                         "The value of " + shown(key) +
                             " holds control characters, which can drive a terminal; "
                             "luci never shows them as they are.");
    }
}

void skip_strings(Cursor & cursor, const std::string & key, const Value & value,
                  Findings & findings) {
    if (value.n_items > MAX_STRINGS) {
        findings.fatal("S11", value.offset,
                       "The array " + shown(key) + " has " + std::to_string(value.n_items) +
                           " strings; no more than 4194304 are read.");
    }
    for (uint64_t i = 0; i < value.n_items; ++i) {
        const uint64_t start = cursor.offset();
        const uint64_t n_bytes = cursor.u64();
        if (n_bytes > cursor.left()) {
            findings.fatal("S10", start,
                           "String " + std::to_string(i) + " of " + shown(key) + " claims " +
                               std::to_string(n_bytes) + " bytes and " +
                               std::to_string(cursor.left()) +
                               " are left. The file is cut off, damaged or hostile.");
        }
        if (n_bytes > MAX_ITEM_BYTES) {
            findings.error("S10", start,
                           "String " + std::to_string(i) + " of " + shown(key) + " has " +
                               std::to_string(n_bytes) + " bytes; 65536 are the most.");
        }
        cursor.skip(n_bytes);
    }
}

// Reads an array and steps over its items; S11, S09 in arrays of bool.
void read_array(Cursor & cursor, const std::string & key, Value & value, Findings & findings) {
    const uint64_t start = cursor.offset();
    value.item_type = cursor.u32();
    value.n_items = cursor.u64();
    value.offset = cursor.offset();
    if (value.item_type == VALUE_ARRAY || value.item_type > VALUE_F64) {
        findings.fatal(
            "S11", start,
            "The array " + shown(key) +
                (value.item_type == VALUE_ARRAY
                     ? " holds arrays, which llama.cpp refuses."
                     : " holds items of unknown type " + std::to_string(value.item_type) + "."));
    }
    if (value.item_type == VALUE_STRING) {
        skip_strings(cursor, key, value, findings);
    } else {
        const size_t item_bytes = value_type_bytes(value.item_type);
        if (value.n_items > cursor.left() / item_bytes) {
            findings.fatal("S11", start,
                           "The array " + shown(key) + " claims " + std::to_string(value.n_items) +
                               " items and " + std::to_string(cursor.left()) +
                               " bytes are left. The file is cut off, damaged or "
                               "hostile.");
        }
        if (value.n_items * item_bytes > MAX_ARRAY_BYTES) {
            findings.fatal("S11", start,
                           "The array " + shown(key) + " has " +
                               std::to_string(value.n_items * item_bytes) +
                               " bytes; no more than 256 MiB are read.");
        }
        bool has_bad_bool = false;
        for (uint64_t left = value.n_items * item_bytes; left > 0;) {
            const uint64_t n_bytes = std::min<uint64_t>(left, 16 * 1024);
            if (value.item_type == VALUE_BOOL) {
                const std::string_view part = cursor.bytes(n_bytes);
                has_bad_bool |=
                    std::any_of(part.begin(), part.end(), [](char c) { return c != 0 && c != 1; });
                left -= n_bytes;
            } else {
                cursor.skip(left);
                left = 0;
            }
        }
        if (has_bad_bool) {
            findings.error("S09", start,
                           "The array " + shown(key) + " of bool holds other values than 0 and 1.");
        }
    }
    value.n_bytes = cursor.offset() - value.offset;
}

void read_scalar(Cursor & cursor, const std::string & key, Value & value, Findings & findings) {
    value.offset = cursor.offset();
    value.n_bytes = value_type_bytes(value.type);
    const std::string_view view = cursor.bytes(value.n_bytes);
    for (size_t i = view.size(); i-- > 0;) {
        value.bits = (value.bits << 8) | static_cast<uint8_t>(view[i]);
    }
    if (value.type == VALUE_BOOL && value.bits > 1) {
        findings.error("S09", value.offset,
                       "The bool " + shown(key) + " has the value " + std::to_string(value.bits) +
                           "; 0 and 1 exist.");
    }
}

void check_alignment(GgufFile & file, Findings & findings) {
    const Value * value = file.find("general.alignment");
    if (value == nullptr) {
        return;
    }
    const uint64_t alignment = value->bits;
    const bool is_power = alignment != 0 && (alignment & (alignment - 1)) == 0;
    if (value->type != VALUE_U32 || !is_power || alignment < MIN_ALIGNMENT ||
        alignment > MAX_ALIGNMENT) {
        findings.fatal("S12", value->offset,
                       "general.alignment is " +
                           (value->type == VALUE_U32
                                ? std::to_string(alignment)
                                : std::string("of type ") + value_type_name(value->type)) +
                           "; it has to be a u32 and a power of two from 8 to 4096.");
    }
    if (alignment > USUAL_ALIGNMENT) {
        findings.warning(
            "S12", value->offset,
            "general.alignment is " + std::to_string(alignment) + ", which is unusual.");
    }
    file.alignment = alignment;
}

}  // namespace

void parse_values(Cursor & cursor, uint64_t n_values, GgufFile & file, Findings & findings) {
    uint64_t n_kept = 0;
    for (uint64_t i = 0; i < n_values; ++i) {
        const std::string key = read_key(cursor, file, findings);
        Value value;
        const uint64_t start = cursor.offset();
        value.type = cursor.u32();
        if (value.type > VALUE_F64) {
            findings.fatal("S08", start,
                           "The value of " + shown(key) + " has the unknown type " +
                               std::to_string(value.type) + ". The file is damaged or hostile.");
        }
        if (value.type == VALUE_STRING) {
            read_string(cursor, key, value, n_kept, findings);
        } else if (value.type == VALUE_ARRAY) {
            read_array(cursor, key, value, findings);
        } else {
            read_scalar(cursor, key, value, findings);
        }
        if (file.values.emplace(key, std::move(value)).second) {
            file.keys.push_back(key);
        }
    }
}

GgufFile parse(const Source & source, Findings & findings) {
    check_magic(source, findings);
    Cursor cursor(source, findings, 4, "S21");
    GgufFile file;
    file.version = cursor.u32();
    check_version(file.version, findings);
    const uint64_t n_tensors = cursor.u64();
    const uint64_t n_values = cursor.u64();
    if (n_values > MAX_ENTRIES || n_values > cursor.left() / LEAST_VALUE_BYTES) {
        findings.fatal("S04", 16,
                       "The file claims " + std::to_string(n_values) +
                           " metadata values, more than it can hold or than any model "
                           "has. It is cut off, damaged or hostile.");
    }
    if (n_tensors > MAX_ENTRIES || n_tensors > cursor.left() / LEAST_TENSOR_BYTES) {
        findings.fatal("S05", 8,
                       "The file claims " + std::to_string(n_tensors) +
                           " tensors, more than it can hold or than any model has. It is "
                           "cut off, damaged or hostile.");
    }
    parse_values(cursor, n_values, file, findings);
    check_alignment(file, findings);
    parse_tensors(cursor, source, n_tensors, file, findings);
    return file;
}

}  // namespace luci::gguf
