// Perplexity and KL divergence for Python. luci_tui/_native.pyi is the reference.
#include "luci/text_score.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "bindings.h"

namespace py = pybind11;

using ReleaseGil = py::call_guard<py::gil_scoped_release>;

namespace {

py::array_t<float> all_logits(const luci::LoadParams & params,
                              const std::vector<llama_token> & tokens) {
    std::vector<float> values;
    {
        const py::gil_scoped_release release;
        values = luci::all_logits(params, tokens);
    }
    return py::array_t<float>(static_cast<py::ssize_t>(values.size()), values.data());
}

}  // namespace

void register_text_score(py::module_ & m) {
    using P = luci::TextScoreParams;
    py::class_<P>(m, "TextScoreParams")
        .def(py::init<>())
        .def_readwrite("model_path", &P::model_path)
        .def_property(
            "text", [](const P & p) { return py::bytes(p.text); },
            [](P & p, const py::bytes & text) { p.text = text; })
        .def_readwrite("n_ctx", &P::n_ctx)
        .def_readwrite("n_chunks", &P::n_chunks)
        .def_readwrite("n_threads", &P::n_threads)
        .def_readwrite("n_gpu_layers", &P::n_gpu_layers)
        .def_readwrite("write_base_path", &P::write_base_path)
        .def_readwrite("read_base_path", &P::read_base_path);

    using S = luci::TextScore;
    py::class_<S>(m, "TextScore")
        .def_readonly("n_chunks", &S::n_chunks)
        .def_readonly("n_scored", &S::n_scored)
        .def_readonly("n_vocab", &S::n_vocab)
        .def_readonly("mean_nll", &S::mean_nll)
        .def_readonly("perplexity", &S::perplexity)
        .def_readonly("perplexity_error", &S::perplexity_error)
        .def_readonly("mean_kld", &S::mean_kld)
        .def_readonly("kld_error", &S::kld_error)
        .def_readonly("max_kld", &S::max_kld)
        .def_readonly("top_agreement", &S::top_agreement)
        .def_readonly("top_agreement_error", &S::top_agreement_error);

    using R = luci::TextScoreProgress;
    py::class_<R>(m, "TextScoreProgress")
        .def(py::init<>())
        .def_property_readonly("n_done", [](const R & p) { return p.n_done.load(); })
        .def_property_readonly("n_total", [](const R & p) { return p.n_total.load(); })
        .def("cancel", [](R & p) { p.cancelled.store(true); });
    m.def("score_text", &luci::score_text, py::arg("params"), py::arg("progress"), ReleaseGil());
    m.def("tokenize_all", &luci::tokenize_all, py::arg("params"), py::arg("texts"),
          py::arg("add_special"), py::arg("parse_special"), ReleaseGil());
    m.def("all_logits", &all_logits, py::arg("params"), py::arg("tokens"));
}
