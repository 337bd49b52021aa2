// Quantizing and importance matrices for Python. luci_tui/_native.pyi is the reference.
#include "luci/quantize.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.h"
#include "luci/imatrix.h"

namespace py = pybind11;

using ReleaseGil = py::call_guard<py::gil_scoped_release>;
using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;

namespace {

void add_imatrix_entry(luci::QuantizeParams & params, const std::string & name,
                       const Floats & values) {
    params.imatrix.push_back({name, {values.data(), values.data() + values.size()}});
}

void register_plan(py::module_ & m) {
    using T = luci::QuantizeType;
    py::class_<T>(m, "QuantizeType")
        .def_readonly("name", &T::name)
        .def_readonly("ftype", &T::ftype)
        .def_readonly("bits_per_weight", &T::bits_per_weight)
        .def_readonly("alias_of", &T::alias_of)
        .def_readonly("description", &T::description);
    m.def("quantize_types", &luci::quantize_types);
    m.def("quantize_tensor_types", &luci::quantize_tensor_types);

    using P = luci::TensorPlan;
    py::class_<P>(m, "TensorPlan")
        .def_readonly("name", &P::name)
        .def_readonly("shape", &P::shape)
        .def_readonly("source_type", &P::source_type)
        .def_readonly("target_type", &P::target_type)
        .def_readonly("refused_type", &P::refused_type)
        .def_readonly("source_bytes", &P::source_bytes)
        .def_readonly("target_bytes", &P::target_bytes)
        .def_readonly("needs_imatrix", &P::needs_imatrix);

    using A = luci::QuantizePlan;
    py::class_<A>(m, "QuantizePlan")
        .def_readonly("tensors", &A::tensors)
        .def_readonly("file_bytes", &A::file_bytes)
        .def_readonly("n_params", &A::n_params)
        .def_readonly("source_bytes", &A::source_bytes)
        .def_readonly("target_bytes", &A::target_bytes);
}

void register_work(py::module_ & m) {
    using P = luci::QuantizeParams;
    py::class_<P>(m, "QuantizeParams")
        .def(py::init<>())
        .def_readwrite("sources", &P::sources)
        .def_readwrite("destination", &P::destination)
        .def_readwrite("type", &P::type)
        .def_readwrite("tensor_types", &P::tensor_types)
        .def_readwrite("output_type", &P::output_type)
        .def_readwrite("embedding_type", &P::embedding_type)
        .def_readwrite("pure", &P::pure)
        .def_readwrite("leave_output", &P::leave_output)
        .def_readwrite("allow_requantize", &P::allow_requantize)
        .def_readwrite("keep_split", &P::keep_split)
        .def_readwrite("n_threads", &P::n_threads)
        .def_readwrite("imatrix_path", &P::imatrix_path)
        .def_readwrite("imatrix_dataset", &P::imatrix_dataset)
        .def_readwrite("imatrix_chunks", &P::imatrix_chunks)
        .def("add_imatrix_entry", &add_imatrix_entry, py::arg("name"), py::arg("values"));

    using R = luci::QuantizeProgress;
    py::class_<R>(m, "QuantizeProgress")
        .def(py::init<>())
        .def_property_readonly("n_done", [](const R & p) { return p.n_done.load(); })
        .def_property_readonly("n_total", [](const R & p) { return p.n_total.load(); })
        .def_property_readonly("bytes_done", [](const R & p) { return p.bytes_done.load(); })
        .def_property_readonly("bytes_total", [](const R & p) { return p.bytes_total.load(); })
        .def_property_readonly("tensor", &R::tensor)
        .def("cancel", [](R & p) { p.cancelled.store(true); });
    m.def("plan_quantize", &luci::plan_quantize, py::arg("params"), ReleaseGil());
    m.def("quantize", &luci::quantize, py::arg("params"), py::arg("progress"), ReleaseGil());
}

void register_imatrix(py::module_ & m) {
    using P = luci::ImatrixParams;
    py::class_<P>(m, "ImatrixParams")
        .def(py::init<>())
        .def_readwrite("model_path", &P::model_path)
        .def_property(
            "text", [](const P & p) { return py::bytes(p.text); },
            [](P & p, const py::bytes & text) { p.text = text; })
        .def_readwrite("dataset", &P::dataset)
        .def_readwrite("out_path", &P::out_path)
        .def_readwrite("n_ctx", &P::n_ctx)
        .def_readwrite("n_chunks", &P::n_chunks)
        .def_readwrite("n_threads", &P::n_threads)
        .def_readwrite("n_gpu_layers", &P::n_gpu_layers);

    using S = luci::ImatrixSummary;
    py::class_<S>(m, "ImatrixSummary")
        .def_readonly("n_chunks", &S::n_chunks)
        .def_readonly("n_entries", &S::n_entries)
        .def_readonly("n_partial_entries", &S::n_partial_entries);

    using R = luci::ImatrixProgress;
    py::class_<R>(m, "ImatrixProgress")
        .def(py::init<>())
        .def_property_readonly("n_done", [](const R & p) { return p.n_done.load(); })
        .def_property_readonly("n_total", [](const R & p) { return p.n_total.load(); })
        .def("cancel", [](R & p) { p.cancelled.store(true); });
    m.def("make_imatrix", &luci::make_imatrix, py::arg("params"), py::arg("progress"),
          ReleaseGil());
}

}  // namespace

void register_quantize(py::module_ & m) {
    register_plan(m);
    register_work(m);
    register_imatrix(m);
}
