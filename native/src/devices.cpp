#include "luci/devices.h"

#include "ggml-backend.h"
#include "llama.h"

namespace luci {

const char * llama_commit() {
    return LUCI_LLAMA_COMMIT;
}

const char * accelerator() {
    return LUCI_ACCELERATOR;
}

std::string system_info() {
    return llama_print_system_info();
}

static const char * kind_name(enum ggml_backend_dev_type type) {
    switch (type) {
        case GGML_BACKEND_DEVICE_TYPE_CPU:
            return "cpu";
        case GGML_BACKEND_DEVICE_TYPE_GPU:
            return "gpu";
        case GGML_BACKEND_DEVICE_TYPE_IGPU:
            return "igpu";
        default:
            return "accel";
    }
}

std::vector<Device> list_devices() {
    std::vector<Device> devices;
    for (size_t i = 0; i < ggml_backend_dev_count(); i++) {
        ggml_backend_dev_t dev = ggml_backend_dev_get(i);
        size_t free_bytes = 0;
        size_t total_bytes = 0;
        ggml_backend_dev_memory(dev, &free_bytes, &total_bytes);
        devices.push_back({ggml_backend_dev_name(dev), ggml_backend_dev_description(dev),
                           kind_name(ggml_backend_dev_type(dev)), total_bytes, free_bytes});
    }
    return devices;
}

}  // namespace luci
