// What a model takes in memory, for Python. luci_tui/_native.pyi is the reference.
#include "luci/memory.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.h"
#include "luci/repack.h"

namespace py = pybind11;

void register_memory(py::module_ & m) {
    using B = luci::BufferMemory;
    py::class_<B>(m, "BufferMemory")
        .def_readonly("name", &B::name)
        .def_readonly("is_host", &B::is_host)
        .def_readonly("is_repacked", &B::is_repacked)
        .def_readonly("weights_bytes", &B::weights_bytes)
        .def_readonly("state_bytes", &B::state_bytes)
        .def_readonly("compute_bytes", &B::compute_bytes)
        .def_readonly("output_bytes", &B::output_bytes);
    m.def("plan_memory", &luci::plan_memory, py::arg("params"),
          py::call_guard<py::gil_scoped_release>());
    using R = luci::RepackedType;
    py::class_<R>(m, "RepackedType")
        .def_readonly("type", &R::type)
        .def_readonly("is_expert", &R::is_expert)
        .def_readonly("row_length_step", &R::row_length_step)
        .def_readonly("n_rows_step", &R::n_rows_step)
        .def_readonly("size_ratio", &R::size_ratio);
    m.def("repacked_types", &luci::repacked_types, py::call_guard<py::gil_scoped_release>());
}
