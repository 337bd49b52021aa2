// What this build can compute on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace luci {

struct Device {
    std::string name;         // ggml's name, e.g. "CPU" or "CUDA0"
    std::string description;  // the vendor's name
    std::string kind;         // "cpu", "gpu", "igpu" or "accel"
    uint64_t total_bytes;     // memory of the device; for the CPU, the machine's RAM
    uint64_t free_bytes;      // free memory as the back end reports it
};

// Source of the llama.cpp tree this build was made from.
const char * llama_commit();
// The accelerator chosen at build time: "cpu", "cuda", "metal", "vulkan" or "hip".
const char * accelerator();
// The CPU features this build uses, as llama.cpp prints them.
std::string system_info();

std::vector<Device> list_devices();

}  // namespace luci
