"""`luci inspect`: what a model file is, and what is in it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from luci_tui import paths
from luci_tui.cli import inspect_text as text
from luci_tui.cli.output import print_json
from luci_tui.gguf.describe import FileKind, describe
from luci_tui.gguf.estimate import ContextShape, MemoryEstimate, estimate
from luci_tui.gguf.header import GgufHeader, read_header
from luci_tui.gguf.memory_table import MemoryRow, memory_table
from luci_tui.gguf.weights import Repacking

if TYPE_CHECKING:
    from luci_tui.engine.job_frames import JobSpec

R = TypeVar("R")

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci inspect model.gguf
  luci inspect model.gguf --json --tensors | jq '.tensors[].type'
  luci inspect model.gguf --tensor blk.0.attn_q.weight
  luci inspect model-Q4_K_M.gguf --against model-F16.gguf
"""


@app.command(epilog=EPILOG)
def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A GGUF file; of a split model the first one.")
    ],
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    metadata: Annotated[
        bool, typer.Option("--metadata", help="List every key; of long arrays the start.")
    ] = False,
    key: Annotated[
        str, typer.Option("--key", metavar="KEY", help="Print one value whole, however long.")
    ] = "",
    template: Annotated[bool, typer.Option("--template", help="Print the chat template.")] = False,
    tensor: Annotated[
        str, typer.Option("--tensor", metavar="NAME", help="Statistics of one tensor's values.")
    ] = "",
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", metavar="SOURCE", help="Compare every tensor with the model it came from."
        ),
    ] = None,
    n_ctx: Annotated[
        int, typer.Option(min=0, help="Tokens of context to show memory for; 0 = several.")
    ] = 0,
    exact: Annotated[
        bool, typer.Option("--exact", help="Ask llama.cpp for the memory, not the formula.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what a model file is, from its header alone.

    Name, size, quant types, tokenizer, chat template, and the memory it takes at several sizes of
    context. --tensor and --against read weights, in a process of their own. Control characters
    of the file are shown escaped.
    """
    header = read_header(file.expanduser())
    if key:
        text.print_value(header, key, as_json=json_output)
        return
    found: dict[str, object] = {}
    lines: list[str] = []
    wants_more = tensors or metadata or template or bool(tensor) or against is not None
    if not wants_more or json_output:
        description = describe(header)
        rows: tuple[MemoryRow, ...] = ()
        if description.kind is FileKind.MODEL:
            table = _exact_rows if exact else memory_table
            rows = table(header, n_ctx, _repacking())
        found |= text.summary_json(header, description, rows)
        lines += text.summary_lines(header, description, rows, is_exact=exact)
    if metadata:
        found["metadata"] = text.metadata_json(header)
        lines += text.metadata_lines(header)
    if tensors:
        found["tensors"] = text.tensors_json(header)
        lines += text.tensor_lines(header)
    if template:
        found["template"] = text.template_json(header)
        lines += text.template_lines(header)
    if tensor:
        found["tensor"], more = _tensor(header, tensor)
        lines += more
    if against is not None:
        found["comparison"], more = _compare(header, against)
        lines += more
    if json_output:
        print_json(found)
        return
    sys.stdout.write("\n".join(lines) + "\n")


def _repacking() -> Repacking:
    """Tell what this build rearranges; nothing where the native core is not built."""
    from luci_tui.engine import native

    return native.repacking() if native.native_available() else ()


def _exact_rows(header: GgufHeader, n_ctx: int, repacking: Repacking) -> tuple[MemoryRow, ...]:
    """Ask llama.cpp; it answers as if weights were read, what a mapped file changes is added."""
    from luci_tui.engine.job_frames import MemoryPlanned, PlanMemorySpec
    from luci_tui.engine.load_spec import LoadSpec

    load = LoadSpec(model_path=str(header.path), n_ctx=n_ctx, force=True)
    planned = _job(PlanMemorySpec(load=load), MemoryPlanned)
    memory, shape = planned.memory, ContextShape(n_ctx=n_ctx, repacking=repacking)
    mapped, read = (estimate(header, replace(shape, use_mmap=on)) for on in (True, False))
    exact = MemoryEstimate(
        weights_bytes=memory.weights_bytes + mapped.weights_bytes - read.weights_bytes,
        kv_bytes=memory.state_bytes,
        compute_bytes=memory.compute_bytes,
        output_bytes=memory.output_bytes,
        repacked_bytes=memory.repacked_bytes,
        droppable_bytes=mapped.droppable_bytes,
    )
    return (MemoryRow(n_ctx, "f16", exact),)


def _tensor(header: GgufHeader, name: str) -> tuple[object, list[str]]:
    from luci_tui.cli.report import stats_lines
    from luci_tui.engine.job_frames import TensorStatsResult, TensorStatsSpec
    from luci_tui.gguf.tensors import find_tensor

    find_tensor(header, name)
    stats = _job(TensorStatsSpec(path=str(header.path), name=name), TensorStatsResult)
    return stats.model_dump(mode="json", exclude={"kind"}), stats_lines(stats)


def _compare(header: GgufHeader, source: Path) -> tuple[object, list[str]]:
    from luci_tui.cli.report import comparison_lines
    from luci_tui.engine.job_frames import CompareResult, CompareSpec

    spec = CompareSpec(source=str(source.expanduser()), quantized=str(header.path))
    compared = _job(spec, CompareResult)
    return compared.model_dump(mode="json", exclude={"kind"}), comparison_lines(compared)


def _job(spec: JobSpec, wanted: type[R]) -> R:
    """Do a job in a process of its own, with progress on a terminal."""
    from luci_tui.cli.jobs import Rate, result_of
    from luci_tui.cli.session import run_async
    from luci_tui.engine.job_process import run_job

    events = run_job(spec, paths.logs_folder() / "jobs.log")
    return run_async(result_of(events, wanted, Rate().words))
