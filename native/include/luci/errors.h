// What luci_core throws. Every what() is one plain sentence: what failed, the value, what to do
// next.
#pragma once

#include <stdexcept>
#include <string>

namespace luci {

struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The model file, a LoRA adapter or a draft model could not be loaded.
struct ModelLoadError : Error {
    using Error::Error;
};

// The context (KV cache and compute buffers) could not be made.
struct ContextError : Error {
    using Error::Error;
};

// A model could not be quantized, or an importance matrix could not be made.
struct QuantizeError : Error {
    using Error::Error;
};

// One request is refused or failed; the engine goes on.
struct RequestError : Error {
    // `code` is a stable word such as "invalid_grammar"; what() is "code: message".
    RequestError(const std::string & code, const std::string & message)
        : Error(code + ": " + message), code(code), message(message) {}

    std::string code;
    std::string message;
};

}  // namespace luci
