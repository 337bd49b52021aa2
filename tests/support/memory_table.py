"""Measure what workers take and compare it with the estimate: the table of docs/memory.md.

`python -m tests.support.memory_table` prints the table, `--write` puts it into the page.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

import psutil

from luci_tui.engine import frames, memory, native
from luci_tui.engine.job_frames import QuantizeOutput, QuantizeSpec
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.native_quantize import quantize
from luci_tui.engine.process import WorkerEngine
from luci_tui.gguf.estimate import MemoryEstimate
from luci_tui.gguf.header import read_header
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.arch_parts import Sizes

PAGE = Path(__file__).parents[2] / "docs" / "memory.md"
BEGIN, END = "<!-- table: begin -->\n", "<!-- table: end -->\n"

SIZES = Sizes(
    n_vocab=8192,
    n_embd=256,
    n_ff=1024,
    n_head=8,
    n_head_kv=4,
    n_expert=8,
    sliding_window=512,
    delta_state_size=64,
)
"""Large enough that each part is megabytes."""
N_CTX_TRAIN = 8192
N_LAYERS = 4
ENCODERS = (TinyArch.BERT, TinyArch.RERANKER)

_MIB = 1024**2

LOADS: dict[str, dict[str, object]] = {
    "4096": {"n_ctx": 4096},
    "4 x 4096, KV q8_0": {"n_ctx": 4096, "n_slots": 4, "kv_type_k": "q8_0", "kv_type_v": "q8_0"},
    "2048, ubatch 256, no flash attention": {
        "n_ctx": 2048,
        "n_ubatch": 256,
        "flash_attention": "off",
    },
}
ENCODER_DECODER_LOADS: dict[str, dict[str, object]] = {
    "512": {"n_ctx": 512},
    "1024, KV q8_0 and f16": {"n_ctx": 1024, "kv_type_k": "q8_0"},
    "1024, no flash attention": {"n_ctx": 1024, "flash_attention": "off"},
}
"""A prompt is one ubatch, and the scores of its attention grow with its square."""
ENCODER_LOADS: dict[str, dict[str, object]] = {
    "512": {"n_ctx": 512, "embedding": True, "n_batch": 512},
    "2048": {"n_ctx": 2048, "embedding": True, "n_batch": 2048},
    "1024, no flash attention": {
        "n_ctx": 1024,
        "embedding": True,
        "n_batch": 1024,
        "flash_attention": "off",
    },
}


@dataclass(frozen=True)
class TableModel:
    """A model of the table."""

    arch: TinyArch
    quant: str = ""
    """Quant type it is quantized to; "" = F32."""
    embedding: str = ""
    """Tensor type of the token embeddings; "" = as the quant type says."""

    def __str__(self) -> str:
        """Give its name in the table."""
        name = f"{self.arch.value} {self.quant}".rstrip()
        return f"{name}, embeddings {self.embedding}" if self.embedding else name


QUANTIZED = (
    *(TableModel(TinyArch.LLAMA, quant) for quant in ("Q4_0", "Q4_K_M", "Q8_0", "IQ4_NL")),
    *(TableModel(TinyArch.GEMMA2, quant) for quant in ("Q4_0", "Q4_K_M", "Q8_0", "IQ4_NL")),
    TableModel(TinyArch.GEMMA2, "Q4_0", "Q4_0"),
    TableModel(TinyArch.LLAMA_MOE, "Q4_0"),
    TableModel(TinyArch.LLAMA_MOE, "Q4_K_M"),
)
"""Gemma 2's output matrix is its token embeddings."""

QUANTIZED_LOADS: dict[str, dict[str, object]] = {
    "4096": {"n_ctx": 4096},
    "4096, no mmap": {"n_ctx": 4096, "use_mmap": False},
}


@dataclass(frozen=True)
class Measured:
    """One model with one context."""

    model: TableModel
    load: str
    taken: frames.MemoryUse
    """What llama.cpp allocated in the worker."""
    estimated: MemoryEstimate
    rss_bytes: int
    """Of the worker after it has computed, less that of a worker with next to no model."""

    @property
    def error(self) -> float:
        """How far the estimate is off, as a share of what was taken."""
        return self.estimated.total_bytes / self.taken.total_bytes - 1


def write_model(model: TableModel, folder: Path) -> Path:
    """Write a model of SIZES, once per folder."""
    path = folder / f"{model}.gguf"
    if path.exists():
        return path
    if not model.quant:
        return write_arch_model(
            model.arch, path, n_layers=N_LAYERS, n_ctx_train=N_CTX_TRAIN, sizes=SIZES
        )
    source = write_model(TableModel(model.arch), folder)
    output = QuantizeOutput(type=model.quant, path=str(path))
    spec = QuantizeSpec(
        source=str(source), outputs=(output,), embedding_type=model.embedding.lower()
    )
    quantize(spec, lambda _: None)
    return path


def cases() -> list[tuple[TableModel, str]]:
    """Give every row of the table: a model and the name of a load."""
    plain = [TableModel(arch) for arch in TinyArch]
    found = [(model, load) for model in plain for load in loads_of(model)]
    return found + [(model, load) for model in QUANTIZED for load in loads_of(model)]


def loads_of(model: TableModel) -> dict[str, dict[str, object]]:
    """Give the loads that a model is measured with."""
    if model.arch in ENCODERS:
        return ENCODER_LOADS
    if model.arch is TinyArch.T5:
        return ENCODER_DECODER_LOADS
    if model == QUANTIZED[0]:
        return QUANTIZED_LOADS
    return {"4096": QUANTIZED_LOADS["4096"]} if model.quant else LOADS


def load_spec(model: TableModel, load: str, folder: Path) -> LoadSpec:
    """Give the load of one row."""
    path = write_model(model, folder)
    pooling = "rank" if model.arch is TinyArch.RERANKER else "model"
    defaults: dict[str, object] = {"model_path": str(path), "n_threads": 1, "pooling": pooling}
    return LoadSpec.model_validate({**defaults, **loads_of(model)[load]})


async def measure(model: TableModel, load: str, folder: Path, empty_rss_bytes: int = 0) -> Measured:
    """Load a model in a worker, let it compute, and ask what it takes."""
    spec = load_spec(model, load, folder)
    taken, rss_bytes = await _run(spec, folder)
    header = read_header(Path(spec.model_path))
    estimated = memory.estimate(header, spec, native.repacking())
    return Measured(model, load, taken, estimated, rss_bytes - empty_rss_bytes)


async def empty_rss(folder: Path) -> int:
    """Give the resident memory of a worker whose model is next to nothing."""
    path = write_arch_model(TinyArch.LLAMA, folder / "empty.gguf", n_layers=1)
    spec = LoadSpec(model_path=str(path), n_ctx=256, n_batch=32, n_threads=1)
    taken, rss_bytes = await _run(spec, folder)
    return rss_bytes - taken.total_bytes


async def _run(spec: LoadSpec, folder: Path) -> tuple[frames.MemoryUse, int]:
    engine = WorkerEngine(folder / "worker.log")
    try:
        info = None
        async with aclosing(engine.load(spec)) as events:
            async for event in events:
                if isinstance(event, frames.Loaded):
                    info = event.info
        assert info is not None
        text = " ".join(["list files"] * (spec.n_ctx // 4))
        if spec.pooling == "rank":
            await engine.ask(frames.Rerank(request_id=0, query="find", documents=(text,)))
        elif spec.embedding:
            await engine.ask(frames.Embed(request_id=0, texts=(text,)))
        else:
            n_prompt = min(spec.n_ubatch, info.n_ctx - 8)
            await engine.ask(frames.Bench(request_id=0, n_prompt=n_prompt, n_gen=2))
        pid = engine.pid
        assert pid is not None
        return info.memory, int(psutil.Process(pid).memory_info().rss)
    finally:
        await engine.close()


def table(rows: list[Measured]) -> str:
    """Write the rows as Markdown, in MiB."""
    lines = [
        "| model | n_ctx | weights | rearranged | KV, state | compute | output "
        "| taken | estimate | error | droppable | RSS |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row in rows:
        taken, estimated = row.taken, row.estimated
        parts = (taken.weights_bytes, taken.repacked_bytes, taken.state_bytes)
        parts += (taken.compute_bytes, taken.output_bytes)
        figures = (*parts, taken.total_bytes, estimated.total_bytes)
        cells = " | ".join(f"{figure / _MIB:.2f}" for figure in figures)
        ends = f"{estimated.droppable_bytes / _MIB:.2f} | {row.rss_bytes / _MIB:.1f}"
        lines.append(f"| {row.model} | {row.load} | {cells} | {row.error:+.2%} | {ends} |")
    return "\n".join(lines) + "\n"


async def _measure_all(folder: Path) -> list[Measured]:
    empty = await empty_rss(folder)
    rows: list[Measured] = []
    for model, load in cases():
        rows.append(await measure(model, load, folder, empty))
        sys.stderr.write(f"{model} {load}: {rows[-1].error:+.2%}\n")
    return rows


def main(arguments: list[str]) -> None:
    """Measure every kind of model and print or write the table."""
    with tempfile.TemporaryDirectory() as folder:
        made = table(asyncio.run(_measure_all(Path(folder))))
    if arguments != ["--write"]:
        sys.stdout.write(made)
        return
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}{made}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
