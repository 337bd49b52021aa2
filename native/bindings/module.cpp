// The Python module luci_tui._native. Only luci_tui/engine/native.py imports it.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "luci/devices.h"

namespace py = pybind11;

PYBIND11_MODULE(_native, m) {
    m.attr("LLAMA_COMMIT") = luci::llama_commit();
    m.attr("ACCELERATOR") = luci::accelerator();
    py::class_<luci::Device>(m, "Device")
        .def_readonly("name", &luci::Device::name)
        .def_readonly("description", &luci::Device::description)
        .def_readonly("kind", &luci::Device::kind)
        .def_readonly("total_bytes", &luci::Device::total_bytes)
        .def_readonly("free_bytes", &luci::Device::free_bytes);
    m.def("list_devices", &luci::list_devices, py::call_guard<py::gil_scoped_release>());
    m.def("system_info", &luci::system_info);
}
