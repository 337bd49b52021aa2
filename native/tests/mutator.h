// Damages GGUF files in ways that reach the rules behind the first ones: most mutations hit the
// metadata, and half of those hit a value where it lies.
#pragma once

#include <dirent.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "luci/gguf/file.h"

struct Seed {
    std::string name;
    std::string bytes;
    uint64_t header_bytes = 0;            // where the tensor data starts
    std::vector<uint64_t> value_offsets;  // of metadata values, and of the fields of tensors
};

// Reads all .gguf files of a folder in the order of their names.
inline std::vector<Seed> read_seeds(const std::string & folder) {
    std::vector<Seed> seeds;
    DIR * listing = opendir(folder.c_str());
    for (dirent * entry = listing ? readdir(listing) : nullptr; entry; entry = readdir(listing)) {
        const std::string name = entry->d_name;
        if (name.size() < 5 || name.substr(name.size() - 5) != ".gguf") {
            continue;
        }
        std::ifstream file(folder + "/" + name, std::ios::binary);
        Seed seed;
        seed.name = name;
        seed.bytes.assign(std::istreambuf_iterator<char>(file), {});
        luci::gguf::Findings findings;
        const luci::gguf::BufferSource source(seed.bytes);
        const luci::gguf::GgufFile parsed = luci::gguf::parse(source, findings);
        seed.header_bytes = std::min<uint64_t>(parsed.data_start, seed.bytes.size());
        for (const auto & [key, value] : parsed.values) {
            seed.value_offsets.push_back(value.offset);
            seed.value_offsets.push_back(value.offset - 4);  // a type or a length
            seed.value_offsets.push_back(value.offset - 8);
        }
        for (const luci::gguf::Tensor & tensor : parsed.tensors) {
            for (uint64_t field = 0; field < 5; ++field) {
                seed.value_offsets.push_back(tensor.info_offset + 8 + tensor.name.size() +
                                             4 * field);
            }
        }
        std::sort(seed.value_offsets.begin(), seed.value_offsets.end());
        seeds.push_back(std::move(seed));
    }
    if (listing) {
        closedir(listing);
    }
    std::sort(seeds.begin(), seeds.end(),
              [](const Seed & a, const Seed & b) { return a.name < b.name; });
    return seeds;
}

class Mutator {
public:
    explicit Mutator(uint64_t seed) : random_(seed) {}

    std::string mutate(const Seed & seed, const std::vector<Seed> & all) {
        std::string bytes = seed.bytes;
        const uint64_t n_changes = 1 + below(below(4) == 0 ? 8 : 2);
        for (uint64_t i = 0; i < n_changes && !bytes.empty(); ++i) {
            change(bytes, seed, all);
        }
        return bytes;
    }
    uint64_t below(uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }

private:
    uint64_t place(const std::string & bytes, const Seed & seed) {
        const uint64_t kind = below(10);
        uint64_t at = below(bytes.size());
        if (kind < 5 && !seed.value_offsets.empty()) {
            at = seed.value_offsets[below(seed.value_offsets.size())] + (kind == 0 ? below(8) : 0);
        } else if (kind < 9) {
            at = below(std::max<uint64_t>(seed.header_bytes, 1));
        }
        return std::min<uint64_t>(at, bytes.size() - 1);
    }

    void write(std::string & bytes, uint64_t at, uint64_t value, size_t n_bytes) {
        for (size_t i = 0; i < n_bytes && at + i < bytes.size(); ++i) {
            bytes[at + i] = static_cast<char>(value >> (8 * i));
        }
    }

    uint64_t number() {
        static const uint64_t NUMBERS[] = {
            0,          1,          2,          3,          4,          5,          7,
            8,          9,          12,         13,         15,         16,         17,
            31,         32,         33,         63,         64,         65,         100,
            127,        128,        255,        256,        257,        511,        512,
            513,        1000,       1024,       1025,       4096,       65535,      65536,
            1u << 20,   0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1ull << 32, 1ull << 40, 1ull << 62,
            1ull << 63, UINT64_MAX, 0x7FC00000, 0x7F800000, 0x3F800000, 0xBF800000, 0x00000001,
        };
        return below(4) == 0 ? random_() >> below(64)
                             : NUMBERS[below(sizeof(NUMBERS) / sizeof(NUMBERS[0]))];
    }

    void change(std::string & bytes, const Seed & seed, const std::vector<Seed> & all) {
        const uint64_t at = place(bytes, seed);
        switch (below(12)) {
            case 0:
                bytes[at] = static_cast<char>(bytes[at] ^ (1 << below(8)));
                break;
            case 1:
                bytes[at] = static_cast<char>(random_());
                break;
            case 2:
                bytes.resize(at);
                break;
            case 3:
                bytes.erase(at, 1 + below(64));
                break;
            case 4:
                bytes.insert(at, bytes.substr(place(bytes, seed), 1 + below(64)));
                break;
            case 5: {
                const std::string & other = all[below(all.size())].bytes;
                const uint64_t from = below(other.size());
                const std::string part = other.substr(from, 1 + below(200));
                bytes.replace(at, part.size(), part);
                break;
            }
            case 6:
                write(bytes, at, number(), 8);
                break;
            default:
                write(bytes, at, number(), below(6) == 0 ? 1 : 4);
        }
    }

    std::mt19937_64 random_;
};
