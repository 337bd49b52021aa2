// The Python module luci_tui._native. Only luci_tui/engine/native.py imports it.
#include <pybind11/pybind11.h>

#include "bindings.h"
#include "luci/errors.h"

namespace py = pybind11;

PYBIND11_MODULE(_native, m) {
    // Base first: translators are tried in reverse order, so the most derived one must come last.
    auto base = py::register_exception<luci::Error>(m, "NativeError", PyExc_RuntimeError);
    py::register_exception<luci::ModelLoadError>(m, "ModelLoadError", base);
    py::register_exception<luci::ContextError>(m, "ContextError", base);
    py::register_exception<luci::QuantizeError>(m, "QuantizeError", base);
    py::register_exception<luci::RequestError>(m, "RequestError", base);
    register_devices(m);
    register_memory(m);
    register_engine(m);
    register_validate(m);
    register_quantize(m);
    register_text_score(m);
}
