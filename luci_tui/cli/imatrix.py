"""`luci imatrix`: measure which weights of a model matter, for better small quant types."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luci_tui import paths
from luci_tui.cli.jobs import Rate, result_of, run_in_background
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.units import format_bytes, format_count, format_duration

if TYPE_CHECKING:
    from luci_tui.engine.job_frames import ImatrixResult, ImatrixSpec

_PATHS = ("model", "text", "output")
"""Fields of an ImatrixSpec that are paths."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci imatrix model-F16.gguf calibration.txt model.imatrix.gguf
  luci imatrix model-F16.gguf calibration.txt model.imatrix.gguf --chunks 100
  luci imatrix model-F16.gguf calibration.txt model.imatrix.gguf --background
"""


@app.command(epilog=EPILOG)
def imatrix(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A GGUF file.")],
    text: Annotated[str, typer.Argument(metavar="TEXT", help="A file with typical text.")],
    out: Annotated[str, typer.Argument(metavar="OUT", help="The file to write, a GGUF file.")],
    n_ctx: Annotated[
        int, typer.Option("--n-ctx", min=16, max=1_048_576, help="Tokens of a chunk.")
    ] = 512,
    chunks: Annotated[int, typer.Option(min=0, help="Most chunks to use; 0 = all.")] = 0,
    threads: Annotated[int, typer.Option(min=0, max=1024, help="0 = one per physical core.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Let the host do it; see `luci jobs`.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Make an importance matrix for `luci quantize --imatrix`.

    The text runs through the model in chunks; what each column of each weight gets to see is
    added up. A few hundred kilobytes of text like that of later use are enough. The file has
    the format of llama.cpp.
    """
    from luci_tui.engine.job_frames import ImatrixSpec

    spec = ImatrixSpec(
        model=model,
        text=text,
        output=out,
        n_ctx=n_ctx,
        n_chunks=chunks,
        n_threads=threads,
        force=force,
    )
    if background:
        places = {name: str(Path(getattr(spec, name)).absolute()) for name in _PATHS}
        run_in_background(spec.model_copy(update=places), as_json=json_output)
        return
    result = run_async(_imatrix(spec))
    if json_output:
        print_json(result.model_dump(exclude={"kind"}))
        return
    for line in result_lines(result):
        print_line(line)
    for note in notes_of(result):
        narrate(note)


def result_lines(result: ImatrixResult) -> list[str]:
    """Say what was made."""
    return [
        f"{result.path}: {format_bytes(result.size_bytes)}, {result.n_entries} weights, "
        f"{format_count(result.n_chunks, 'chunk')} of {result.n_ctx} tokens, "
        f"{format_duration(result.seconds)}"
    ]


def notes_of(result: ImatrixResult) -> Iterator[str]:
    """Say what is worth knowing about it."""
    if result.n_partial_entries:
        yield (
            f"{format_count(result.n_partial_entries, 'weight')} have experts that the text did "
            "not reach; a longer text would."
        )


async def _imatrix(spec: ImatrixSpec) -> ImatrixResult:
    from luci_tui.engine.file_jobs import run_file_job
    from luci_tui.engine.job_frames import ImatrixResult

    events = run_file_job(spec, paths.logs_folder() / "jobs.log")
    return await result_of(events, ImatrixResult, Rate().words)
