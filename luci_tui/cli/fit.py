"""`luci fit`: what a model needs here, how much context fits, which quant type to take."""

from __future__ import annotations

import tempfile
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from luci_tui import paths
from luci_tui.catalog.catalog import Catalog, load_catalog
from luci_tui.catalog.entries import CatalogEntry
from luci_tui.cli.fit_text import fit_lines
from luci_tui.cli.llm import load_library
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.engine.job_frames import CoreFacts
from luci_tui.errors import CatalogError, EngineError, GgufError, LuciError
from luci_tui.gguf.header import read_header
from luci_tui.host.wiring import BUILTIN
from luci_tui.library.fit import Fit, Measured, QuantSize, Room, Subject, fit
from luci_tui.library.guess import guessed_header
from luci_tui.library.measured import read_measured
from luci_tui.library.quant_sizes import TYPES, sizes_from_catalog, sizes_from_dry_run

EPILOG = """\b
Examples:
  luci fit my-model
  luci fit llama3.1-8b --n-ctx 32768
  luci fit ~/models/a-Q4_K_M.gguf --json
"""
DRY_RUN_S = 60.0
"""Longest time for the quantizer to say what it would write."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command("fit", epilog=EPILOG)
def fit_command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Of the library or the catalogue, or a GGUF file.")
    ],
    n_ctx: Annotated[
        int, typer.Option(min=0, max=100_000_000, help="Tokens of context; 0 = a load's default.")
    ] = 0,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what NAME needs of memory and which quant type to take.

    Weights, KV cache by type and compute buffers, the largest context that fits into the RAM and
    the VRAM that are free now, and what the model took when it last ran. Every figure says where
    it is from. Exit code 1: it does not fit with the context asked for.
    """
    catalog = load_catalog(paths.shipped_catalog_file(), paths.own_catalog_file())
    subject, path = _subject(name, catalog)
    machine = run_async(_ask_machine(subject.name, path))
    quants = machine.quants or sizes_from_catalog(subject.n_params, catalog.entries)
    found = fit(
        subject,
        machine.room,
        quants,
        n_ctx=n_ctx,
        repacking=machine.facts.repacking if path is not None else (),
        measured=machine.measured,
    )
    if json_output:
        print_json(found.to_json())
    else:
        for line in fit_lines(found):
            print_line(line)
    _end(found)


def _end(found: Fit) -> None:
    if not found.fits:
        narrate(f"{found.name} does not fit with {found.n_ctx} tokens of context.")
        raise typer.Exit(1)


def _subject(name: str, catalog: Catalog) -> tuple[Subject, Path | None]:
    """Find the model: a file, a name of the library, an entry of the catalogue."""
    if "/" in name or name.startswith("~") or name.endswith(".gguf"):
        path = Path(name).expanduser()
        if path.exists() or "/" in name:
            return _subject_of_file(path.name, path), path.absolute()
    builtin = paths.builtin_model_file()
    if name == BUILTIN and builtin is not None:
        return _subject_of_file(name, builtin), builtin
    library = load_library()
    model = library.get(name)
    if model is not None:
        return _subject_of_file(model.name, model.path), model.path
    try:
        return _subject_of_entry(catalog.resolve(name)), None
    except CatalogError as error:
        raise CatalogError(library.unknown(name), code="unknown_model") from error


def _subject_of_file(name: str, path: Path) -> Subject:
    header = read_header(path)
    n_params = sum(tensor.n_values for tensor in header.tensors)
    if not n_params:
        msg = f"{path} has no tensors, so there is nothing to fit. Name a model."
        raise GgufError(msg, code="no_model")
    sources = {
        "weights": "the tensors in the file's header",
        "kv": "the layers in the file's header, by llama.cpp's formula (docs/memory.md)",
        "compute": "a replay of the graph that llama.cpp would build (docs/memory.md)",
    }
    return Subject(name, header, n_params, header.n_ctx_train, None, str(path), sources)


def _subject_of_entry(entry: CatalogEntry) -> Subject:
    header = guessed_header(entry.parameters_b, entry.active_parameters_b, entry.n_ctx)
    size = "exact" if entry.size_is_exact else "from a listing, rounded"
    guessed = (
        f"a guess: a transformer of {entry.parameters_b:g} billion parameters with 8 KV heads; "
        "install the model to know"
    )
    sources = {
        "weights": f"the catalogue's size of {entry.files[0]} ({size})",
        "kv": guessed,
        "compute": guessed,
    }
    return Subject(
        name=entry.name,
        header=header,
        n_params=int(entry.parameters_b * 1e9),
        n_ctx_train=entry.n_ctx,
        weights_bytes=entry.size_bytes,
        path="",
        sources=sources,
    )


@dataclass(frozen=True)
class _Machine:
    """What was asked of this machine."""

    room: Room
    facts: CoreFacts
    quants: tuple[QuantSize, ...]
    measured: Measured | None


async def _ask_machine(name: str, path: Path | None) -> _Machine:
    from luci_tui.engine.core_facts import ask_core
    from luci_tui.engine.memory import available_bytes

    facts = await ask_core(paths.logs_folder() / "jobs.log") or CoreFacts()
    quants = () if path is None else await _dry_run(path)
    measured = None if path is None else await _measured(name, path)
    return _Machine(Room(available_bytes(), facts.free_vram_bytes), facts, quants, measured)


async def _dry_run(path: Path) -> tuple[QuantSize, ...]:
    """Ask llama.cpp's quantizer what each type would make of a file; empty = it does not say."""
    import asyncio

    from luci_tui.engine.job_frames import QuantizeOutput, QuantizeResult, QuantizeSpec
    from luci_tui.engine.job_process import run_job

    with tempfile.TemporaryDirectory(prefix="luci-fit-") as folder:
        outputs = tuple(
            QuantizeOutput(type=kind, path=str(Path(folder) / f"{kind}.gguf")) for kind in TYPES
        )
        spec = QuantizeSpec(source=str(path), outputs=outputs, allow_requantize=True, dry_run=True)
        try:
            async with asyncio.timeout(DRY_RUN_S):
                async with aclosing(run_job(spec, paths.logs_folder() / "jobs.log")) as events:
                    async for event in events:
                        if isinstance(event, QuantizeResult):
                            return sizes_from_dry_run(
                                {
                                    one.type: (one.size_bytes, one.bits_per_weight)
                                    for one in event.files
                                }
                            )
        except (EngineError, TimeoutError):
            return ()  # the catalogue's medians have to do
    return ()


async def _measured(name: str, path: Path) -> Measured | None:
    """Give what it takes now in the host, else what it took when it last left."""
    from luci_tui.host.lifecycle import find_host

    try:
        found = await find_host()
    except LuciError:
        found = None
    if found is not None:
        try:
            status = await found.client.status()
        except LuciError:
            status = None
        finally:
            await found.client.close()
        for one in status.models if status is not None else ():
            if one.name == name and one.state == "ready" and one.memory_bytes:
                return Measured(one.memory_bytes, one.n_ctx, "now", "the worker's RAM")
    return read_measured(paths.library_cache_file(), path)
