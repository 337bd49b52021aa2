// The validator for Python. luci_tui/_native.pyi is the reference.
#include "luci/validate.h"

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <tuple>

#include "bindings.h"

namespace py = pybind11;

namespace {

using Row = std::tuple<std::string, bool, uint64_t, py::bytes>;

std::vector<Row> validate(const std::string & path, luci::ValidateProgress & progress, bool deep,
                          int32_t n_threads) {
    std::vector<luci::gguf::Finding> findings;
    {
        const py::gil_scoped_release release;
        findings = luci::validate_file(path, {deep, n_threads}, progress);
    }
    std::vector<Row> rows;
    for (const luci::gguf::Finding & finding : findings) {
        // Bytes: a path in a message may be no UTF-8.
        rows.emplace_back(finding.code, finding.severity == luci::gguf::Severity::ERROR,
                          finding.offset, py::bytes(finding.message));
    }
    return rows;
}

}  // namespace

void register_validate(py::module_ & m) {
    py::class_<luci::ValidateProgress>(m, "ValidateProgress")
        .def(py::init<>())
        .def_property_readonly("done_bytes",
                               [](const luci::ValidateProgress & p) { return p.done_bytes.load(); })
        .def_property_readonly(
            "total_bytes", [](const luci::ValidateProgress & p) { return p.total_bytes.load(); })
        .def("cancel", [](luci::ValidateProgress & p) { p.cancelled.store(true); });
    m.def("validate", &validate, py::arg("path"), py::arg("progress"), py::arg("deep") = false,
          py::arg("n_threads") = 0);
}
