// Devices, build facts and the log for Python.
#include "luci/devices.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.h"
#include "luci/log.h"

namespace py = pybind11;

void register_devices(py::module_ & m) {
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
    m.def("take_log", &luci::take_log);
}
