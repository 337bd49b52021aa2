"""`luci compare`: what quantizing cost, and what it gained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luci_tui import paths
from luci_tui.cli.jobs import Rate, result_of, run_in_background
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import ConfigError
from luci_tui.units import format_bytes, format_count

if TYPE_CHECKING:
    from luci_tui.library.compare import ComparedModel, CompareModelsSpec, ModelsCompared

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci compare model-F16.gguf model-Q8_0.gguf model-Q4_K_M.gguf
  luci compare model-*.gguf --text my.txt --chunks 20 --plot compared.svg
  luci compare model-Q4_K_M.gguf --base model-F16.gguf --json
"""

_HEAD = (
    *("model", "type", "size", "bits", "perplexity", "KL", "same top"),
    *("prefill/s", "decode/s", "memory"),
)
_FAILED = "! "


@app.command(epilog=EPILOG)
def compare(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="GGUF files, or names of models.")
    ],
    text: Annotated[
        str,
        typer.Option(metavar="FILE", help="Text to foretell. [a few pages that come with luci]"),
    ] = "",
    base: Annotated[
        str, typer.Option(metavar="MODEL", help="Measure against this one. [the largest]")
    ] = "",
    n_ctx: Annotated[
        int, typer.Option("--n-ctx", min=16, max=1_048_576, help="Tokens of a chunk.")
    ] = 512,
    chunks: Annotated[int, typer.Option(min=0, help="Most chunks to use; 0 = all.")] = 0,
    threads: Annotated[int, typer.Option(min=0, max=1024, help="0 = one per physical core.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Try even if memory is short.")] = False,
    plot: Annotated[str, typer.Option(metavar="FILE.svg", help="Draw size against loss.")] = "",
    background: Annotated[
        bool, typer.Option("--background", help="Let the host do it; see `luci jobs`.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare models by size, quality, speed and memory.

    The table has perplexity, and divergence from the largest of them or from --base.

    Perplexity and KL divergence are measured as llama.cpp's llama-perplexity does: the second half
    of each chunk counts. A star marks the models that no other beats in both size and divergence.
    Of embedding models the distance of their vectors is measured instead.

    A model that cannot be measured keeps its row, with the reason; the others are measured all the
    same. The exit code is 0 if all were measured, 1 if some were not, 2 if none was.
    """
    if background and plot:
        msg = "--background draws no picture: leave out one of --background and --plot."
        raise ConfigError(msg)
    if plot and not Path(plot).absolute().parent.is_dir():
        msg = f"There is no folder for {plot}. Make it, or choose another."
        raise ConfigError(msg)
    options = {"n_ctx": n_ctx, "n_chunks": chunks, "n_threads": threads, "force": force}
    spec = _spec(models, text, base, options)
    if background:
        run_in_background(spec, as_json=json_output)
        return
    compared = run_async(_compare(spec))
    if plot:
        from luci_tui.library.compare_plot import svg_of

        Path(plot).write_text(svg_of(compared), encoding="utf-8")
    if json_output:
        print_json(compared.model_dump(mode="json", exclude={"kind"}))
    else:
        for line in table_lines(compared):
            print_line(line)
        for note in notes_of(compared, spec.base):
            narrate(note)
        if plot:
            narrate(f"The picture is {plot}.")
    if compared.failed:
        raise typer.Exit(1)


def _spec(
    models: Sequence[str], text: str, base: str, options: Mapping[str, int]
) -> CompareModelsSpec:
    from luci_tui.library.compare import CompareModelsSpec

    return CompareModelsSpec.model_validate(
        {
            "models": [_path_of(name) for name in models],
            "text": str(Path(text).absolute()) if text else "",
            "base": _path_of(base) if base else "",
            **options,
        }
    )


def _path_of(name: str) -> str:
    """Find a model by its path or by its name."""
    from luci_tui.manager.registry import Registry

    if Path(name).is_file():
        return str(Path(name).absolute())
    entry = Registry().resolve(name)
    if not entry.path:
        msg = f"{name} lies on a server, where it cannot be measured. Name a GGUF file."
        raise ConfigError(msg)
    return str(Path(entry.path).absolute())


async def _compare(spec: CompareModelsSpec) -> ModelsCompared:
    from luci_tui.library.compare import ModelsCompared, compare_models

    events = compare_models(spec, paths.logs_folder() / "jobs.log")
    return await result_of(events, ModelsCompared, Rate().words)


def table_lines(compared: ModelsCompared) -> list[str]:
    """Set the table in columns; a model that could not be measured has its reason in them."""
    from luci_tui.library.compare import FailedModel

    head = list(_HEAD)
    if any(row.scored.embedding_distance is not None for row in compared.measured):
        head[_HEAD.index("KL")] = "distance"
    rows = [
        [_FAILED + Path(row.model).name] if isinstance(row, FailedModel) else _cells(row)
        for row in compared.rows
    ]
    whole = [head, *(row for row in rows if len(row) > 1)]
    widths = [max(len(row[column]) for row in whole) for column in range(len(head))]
    widths[0] = max(len(row[0]) for row in [head, *rows])
    lines = [_set(head, widths)]
    for row, cells in zip(compared.rows, rows, strict=True):
        reason = [row.message] if isinstance(row, FailedModel) else []
        lines.append(_set([*cells, *reason], widths))
    return lines


def _set(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Make a line of the table: words begin, figures end at their column."""
    words = [cell.ljust(width) for cell, width in zip(cells[:2], widths, strict=False)]
    figures = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=False)]
    return "  ".join([*words, *figures]).rstrip()


def _cells(row: ComparedModel) -> list[str]:
    one = row.scored
    mark = "* " if row.is_best else "  "
    perplexity = "-"
    if one.perplexity is not None:
        form = ".4f" if one.perplexity < 1e6 else ".4g"
        perplexity = f"{one.perplexity:{form}} +- {one.perplexity_error or 0.0:{form}}"
    loss = "base" if row.is_base else _number(row.loss, ".5f")
    memory = format_bytes(one.memory.total_bytes) if one.memory else "-"
    return [
        mark + Path(one.model).name,
        *(one.file_type or "-", format_bytes(one.size_bytes), f"{one.bits_per_weight:.2f}"),
        *(perplexity, loss, _number(one.top_agreement, ".2%")),
        *(_number(one.prefill_rate, ".1f"), _number(one.decode_rate, ".1f"), memory),
    ]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def notes_of(compared: ModelsCompared, base: str = "") -> Iterator[str]:
    """Say what the table does not.

    Args:
        compared: The table.
        base: Path of the model that was to be the base; "" = the largest.
    """
    scored = compared.measured[0].scored
    amount = (
        f"{scored.n_chunks} chunks of {compared.n_ctx} tokens, {scored.n_scored} counted"
        if scored.n_chunks
        else f"{scored.n_scored} pieces"
    )
    yield f"Text: {Path(compared.text).name}, {compared.text_bytes} bytes, {amount}."
    if base and base != compared.base:
        yield (
            f"{Path(base).name} could not be measured, so the base is "
            f"{Path(compared.base).name}, the largest of the others."
        )
    for row in compared.measured:
        name = Path(row.scored.model).name
        if row.scored.is_other_vocabulary:
            yield f"{name} has another vocabulary than the base and was not compared with it."
    # One sentence for a family of files that have the same trouble.
    for note in {
        row.scored.note.replace(row.scored.model, "A model here") for row in compared.measured
    }:
        if note:
            yield f"Speed and memory were not measured: {note}"
    if compared.failed:
        n_all = len(compared.rows)
        yield f"{len(compared.failed)} of {format_count(n_all, 'model')} could not be measured."
