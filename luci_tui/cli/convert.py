"""`luci convert`: a model in Hugging Face's format becomes a GGUF file, and is checked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luci_tui import paths
from luci_tui.cli.jobs import Rate, result_of, run_in_background
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import ConfigError
from luci_tui.units import format_bytes, format_duration, format_parameters

if TYPE_CHECKING:
    from luci_tui.library.convert import ConvertResult, ConvertSpec

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci convert ./Llama-3.2-1B models/llama-3.2-1b-F16.gguf
  luci convert ./Llama-3.2-1B llama-Q8_0.gguf --outtype q8_0
  luci convert hf:HuggingFaceTB/SmolLM2-135M smollm2-135m-F16.gguf
  luci convert ./my-adapter adapter.gguf --lora ./Llama-3.2-1B
  luci convert ./Llama-3.2-1B llama.gguf --background
"""

_OUTTYPES = ("f32", "f16", "bf16", "q8_0")


@app.command(epilog=EPILOG)
def convert(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE", help="A folder with config.json and weights, or hf:OWNER/REPO."
        ),
    ],
    out: Annotated[str, typer.Argument(metavar="OUT", help="The file to write, NAME.gguf.")],
    outtype: Annotated[
        str,
        typer.Option(metavar="TYPE", help="f32, f16, bf16 or q8_0."),
    ] = "f16",
    lora: Annotated[
        str,
        typer.Option("--lora", metavar="BASE", help="SOURCE is a LoRA adapter for this folder."),
    ] = "",
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Let the host do it; see `luci jobs`.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Convert a model to GGUF and check it against its source.

    Runs the converter of the llama.cpp that luci is built from, without network, and never runs
    code that comes with a model. Afterwards the file is validated, 1,000 strings are tokenized by
    both, and a few predictions are compared with transformers. A card OUT.md says what was found.
    Needs the extra: pip install 'luci-tui[convert]'. The exit code is 1 if tokens differ.
    """
    if outtype not in _OUTTYPES:
        msg = f"--outtype {outtype} is not known. Use {', '.join(_OUTTYPES)}."
        raise ConfigError(msg)
    spec = _spec(source, out, outtype, lora, force=force)
    if background:
        run_in_background(spec, as_json=json_output)
        return
    result = run_async(_convert(spec))
    if json_output:
        print_json(result.model_dump(mode="json", exclude={"kind"}))
    else:
        for line in result_lines(result):
            print_line(line)
        for note in notes_of(result):
            narrate(note)
    if result.tokens_differ:
        raise typer.Exit(1)


def _spec(source: str, out: str, outtype: str, lora: str, *, force: bool) -> ConvertSpec:
    from luci_tui.library.convert import ConvertSpec
    from luci_tui.library.convert_fetch import is_remote

    return ConvertSpec.model_validate(
        {
            "source": source if is_remote(source) else str(Path(source).absolute()),
            "output": str(Path(out).absolute()),
            "outtype": outtype,
            "lora_base": str(Path(lora).absolute()) if lora else "",
            "force": force,
        }
    )


async def _convert(spec: ConvertSpec) -> ConvertResult:
    from luci_tui.library.convert import ConvertResult, convert

    events = convert(spec, paths.logs_folder() / "jobs.log")
    return await result_of(events, ConvertResult, Rate().words)


def result_lines(result: ConvertResult) -> list[str]:
    """Say what was made, and how it compares with its source."""
    from luci_tui.library.conversion_card import check_lines

    return [
        f"{result.path}: {result.architecture}, {format_parameters(result.n_params)}, "
        f"{format_bytes(result.size_bytes)}, {format_duration(result.seconds)}",
        *check_lines(result),
    ]


def notes_of(result: ConvertResult) -> Iterator[str]:
    """Say where the card lies."""
    yield f"The model card is {result.card}."
