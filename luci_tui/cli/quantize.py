"""`luci quantize`: make a model smaller, in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from luci_tui import paths
from luci_tui.cli.jobs import Rate, result_of, run_in_background
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.cli.report import comparison_lines
from luci_tui.cli.session import run_async
from luci_tui.errors import ConfigError
from luci_tui.units import format_bytes, format_count, format_duration

if TYPE_CHECKING:
    from luci_tui.engine.job_frames import (
        CompareResult,
        QuantizedFile,
        QuantizeOutput,
        QuantizeResult,
        QuantizeSpec,
    )

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci quantize model-F16.gguf --type Q4_K_M
  luci quantize model-F16.gguf models/ --type Q4_K_M --type Q8_0 --dry-run
  luci quantize model-F16.gguf small.gguf --type IQ2_M --imatrix model.imatrix.gguf
  luci quantize model-F16.gguf --type Q4_K_M --tensor-type ffn_down=q6_K
  luci quantize model-F16.gguf --type Q4_K_M --report
  luci quantize model-F16.gguf models/ --all --imatrix-text calibration.txt
  luci quantize model-F16.gguf --type Q4_K_M --background
  luci quantize --list-types
"""

Texts = list[str]

ALL_TYPES = ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q8_0")
"""What --all makes, from small to large."""


@app.command(epilog=EPILOG)
def quantize(
    src: Annotated[
        str | None, typer.Argument(metavar="SRC", help="A GGUF file, or the first of its shards.")
    ] = None,
    dst: Annotated[
        str | None,
        typer.Argument(metavar="DST", help="A file, a folder, or a name with {type} in it."),
    ] = None,
    types: Annotated[
        Texts | None, typer.Option("--type", "-t", metavar="TYPE", help="Quant type; repeatable.")
    ] = None,
    all_types: Annotated[
        bool, typer.Option("--all", help=f"{' '.join(ALL_TYPES)}, keeping those that are done.")
    ] = False,
    imatrix: Annotated[
        str, typer.Option(metavar="FILE", help="Importance matrix, see `luci imatrix`.")
    ] = "",
    imatrix_text: Annotated[
        str, typer.Option(metavar="FILE", help="Make the importance matrix from this text first.")
    ] = "",
    tensor_type: Annotated[
        Texts | None,
        typer.Option(metavar="PATTERN=TYPE", help="Type of the tensors that match; repeatable."),
    ] = None,
    output_type: Annotated[str, typer.Option(metavar="TYPE", help="Of output.weight.")] = "",
    embedding_type: Annotated[str, typer.Option(metavar="TYPE", help="Of token_embd.weight.")] = "",
    pure: Annotated[bool, typer.Option("--pure", help="One type, without the mixture.")] = False,
    leave_output: Annotated[
        bool, typer.Option("--leave-output", help="Leave output.weight as it is.")
    ] = False,
    allow_requantize: Annotated[
        bool, typer.Option("--allow-requantize", help="Also convert what is quantized already.")
    ] = False,
    keep_split: Annotated[
        bool, typer.Option("--keep-split", help="As many shards as the source has.")
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Compare each tensor with the source: RMSE, cosine.")
    ] = False,
    threads: Annotated[int, typer.Option(min=0, max=1024, help="0 = one per CPU.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say how large it would be, write nothing.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep outputs that are done, make the others.")
    ] = False,
    list_types: Annotated[bool, typer.Option("--list-types", help="List the types.")] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Let the host do it; see `luci jobs`.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Quantize a model to one or several types.

    Without DST the files lie beside the source, with the type in their names: model-F16.gguf
    becomes model-Q4_K_M.gguf. Several types need a folder or a name with {type} in it. A file gets
    its name when it is complete and checked; the source is only read. A batch that was broken off
    goes on with --resume, which --all implies.
    """
    if list_types:
        _print_types(as_json=json_output)
        return
    types = [*(types or ()), *(ALL_TYPES if all_types else ())]
    if src is None or not types:
        msg = "SRC and --type are needed: luci quantize model-F16.gguf --type Q4_K_M."
        raise ConfigError(msg)
    if imatrix and imatrix_text:
        msg = "--imatrix and --imatrix-text exclude each other: give one of the two."
        raise ConfigError(msg)
    if background and (report or dry_run):
        msg = "--background goes with neither --report nor --dry-run: leave one of them out."
        raise ConfigError(msg)
    from luci_tui.engine.job_frames import QuantizeSpec

    spec = QuantizeSpec(
        source=src,
        outputs=_outputs(Path(src), dst, types),
        imatrix=imatrix,
        tensor_types=tuple(_pattern(one) for one in tensor_type or ()),
        output_type=output_type,
        embedding_type=embedding_type,
        pure=pure,
        leave_output=leave_output,
        allow_requantize=allow_requantize,
        keep_split=keep_split,
        n_threads=threads,
        dry_run=dry_run,
        force=force,
        keep_finished=(resume or all_types) and not force,
        imatrix_text=imatrix_text,
    )
    if background:
        run_in_background(spec_in_full(spec), as_json=json_output)
        return
    result = run_async(_quantize(spec))
    reports = run_async(_compare_all(result)) if report and not dry_run else []
    if json_output:
        compared = [one.model_dump(exclude={"kind"}) for one in reports]
        extra = {"reports": compared} if report else {}
        print_json({**result.model_dump(exclude={"kind"}), **extra})
        return
    _print(result, reports)


def _print(result: QuantizeResult, reports: Sequence[CompareResult]) -> None:
    for line in result_lines(result):
        print_line(line)
    for note in notes_of(result):
        narrate(note)
    for file, one in zip(result.files, reports, strict=False):
        print_line(f"\n{file.path} beside {result.source}:")
        for line in comparison_lines(one):
            print_line(line)


def spec_in_full(spec: QuantizeSpec) -> QuantizeSpec:
    """Return the same job for a process in another folder: every path is absolute."""
    outputs = tuple(
        one.model_copy(update={"path": str(Path(one.path).absolute())}) for one in spec.outputs
    )
    changes: dict[str, object] = {"source": str(Path(spec.source).absolute()), "outputs": outputs}
    for name, path in (("imatrix", spec.imatrix), ("imatrix_text", spec.imatrix_text)):
        if path:
            changes[name] = str(Path(path).absolute())
    return spec.model_copy(update=changes)


def _outputs(source: Path, dst: str | None, types: Sequence[str]) -> tuple[QuantizeOutput, ...]:
    from luci_tui.engine.job_frames import QuantizeOutput
    from luci_tui.engine.native_quantize import find_type, quantize_types
    from luci_tui.gguf.naming import derived_name

    names = list(dict.fromkeys(find_type(one) for one in types))
    known = [one.name for one in quantize_types()]
    is_folder = dst is not None and Path(dst).is_dir()
    if len(names) > 1 and dst is not None and not is_folder and "{type}" not in dst:
        msg = (
            f"{dst} is one name for {len(names)} types. Name a folder that is there, or put "
            "{type} into the name."
        )
        raise ConfigError(msg)
    outputs: list[QuantizeOutput] = []
    for name in names:
        derived = derived_name(source.name, name, known)
        if dst is None:
            path = source.with_name(derived)
        elif is_folder:
            path = Path(dst) / derived
        else:
            path = Path(dst.replace("{type}", name))
        outputs.append(QuantizeOutput(type=name, path=str(path)))
    return tuple(outputs)


def _pattern(text: str) -> tuple[str, str]:
    pattern, separator, type_name = text.rpartition("=")
    if not (pattern and separator and type_name):
        msg = f"--tensor-type {text} cannot be used: write PATTERN=TYPE, such as ffn_down=q6_K."
        raise ConfigError(msg)
    return pattern, type_name


async def _quantize(spec: QuantizeSpec) -> QuantizeResult:
    from luci_tui.engine.file_jobs import run_file_job
    from luci_tui.engine.job_frames import QuantizeResult

    events = run_file_job(spec, paths.logs_folder() / "jobs.log")
    return await result_of(events, QuantizeResult, Rate().words)


async def _compare_all(result: QuantizeResult) -> list[CompareResult]:
    """Measure what each file lost against the source, one after the other."""
    from luci_tui.engine.job_frames import CompareResult, CompareSpec
    from luci_tui.engine.job_process import run_job

    reports: list[CompareResult] = []
    for file in result.files:
        spec = CompareSpec(source=result.source, quantized=file.path)
        events = run_job(spec, paths.logs_folder() / "jobs.log")
        reports.append(await result_of(events, CompareResult, Rate("comparing ").words))
    return reports


def result_lines(result: QuantizeResult) -> list[str]:
    """Say what was made, a line for the source and one for each file."""
    lines = [
        f"{result.source}: {format_bytes(result.source_bytes)}, "
        f"{result.n_params / 1e6:.1f} M parameters"
    ]
    for file in result.files:
        words = [
            f"{file.path}: {file.type}",
            f"{format_bytes(file.size_bytes)} ({file.size_bytes} bytes)",
            f"{file.bits_per_weight:.2f} bits per weight",
        ]
        if len(file.paths) > 1:
            words.append(f"{len(file.paths)} shards")
        words.append(_how_made(file, is_dry=result.dry_run))
        lines.append(", ".join(words))
    return lines


def notes_of(result: QuantizeResult) -> Iterator[str]:
    """Say what is worth knowing about the files."""
    for file in result.files:
        if file.needs_imatrix:
            yield f"{file.type} needs an imatrix: make one with `luci imatrix`."
        if file.fallbacks:
            first = file.fallbacks[0]
            yield (
                f"{file.type}: {format_count(len(file.fallbacks), 'tensor')} got another type "
                f"because of the row length, such as {first.name}: {first.wanted_type} -> "
                f"{first.type}."
            )


def _how_made(file: QuantizedFile, *, is_dry: bool) -> str:
    if file.was_kept:
        return "was there already"
    return "not written" if is_dry else format_duration(file.seconds)


def _print_types(*, as_json: bool) -> None:
    from dataclasses import asdict

    from luci_tui.engine.native_quantize import quantize_types

    types = quantize_types()
    if as_json:
        print_json([asdict(one) for one in types])
        return
    for one in types:
        bits = f"{one.bits_per_weight:6.2f}" if one.bits_per_weight else "     -"
        print_line(f"{one.name:<10}{bits}  {one.description}")
