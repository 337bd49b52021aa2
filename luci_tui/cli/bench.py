"""`luci bench`: how fast a model runs here, through the worker and in the bare core."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated, cast

import typer

from luci_tui import paths
from luci_tui.bench.engine import BenchStep, measure
from luci_tui.bench.plan import BenchPlan, checked_spec
from luci_tui.bench.report import BenchReport
from luci_tui.cli.jobs import run_in_background
from luci_tui.cli.main import Invocation
from luci_tui.cli.output import Progress, narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import ConfigError, EngineError
from luci_tui.host.bench_job import keep_run
from luci_tui.host.wiring import BUILTIN, EngineKind, bench_model, build_engine, name_for_host
from luci_tui.units import format_count

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci bench
  luci bench --model model.gguf --streams 1,4,8,16
  luci bench --model model.gguf --pp 1024 --tg 64 --json > bench.json
  luci bench --model model.gguf --background
  luci bench --history
"""


@app.command(epilog=EPILOG)
def bench(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Option("--model", "-m", metavar="MODEL", help='A GGUF file, or "builtin".')
    ] = BUILTIN,
    pp: Annotated[
        int | None, typer.Option(min=1, help="Tokens of the prompt to compute. [512 or what fits]")
    ] = None,
    tg: Annotated[
        int | None, typer.Option(min=2, help="Tokens to generate. [128 or what fits]")
    ] = None,
    streams: Annotated[
        str, typer.Option(metavar="N,N,...", help="Answers at once, e.g. 1,4,8,16.")
    ] = "1",
    rounds: Annotated[int, typer.Option(min=1, help="Measured rounds, after a warm-up.")] = 5,
    temperature: Annotated[float, typer.Option(min=0, help="0 = greedy.")] = 0.0,
    threads: Annotated[int, typer.Option(min=0, help="0 = one per physical core.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Load even if memory is short.")] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Let the host do it; see `luci jobs`.")
    ] = False,
    history: Annotated[
        bool, typer.Option("--history", help="List the runs that are kept, and measure nothing.")
    ] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how fast a model runs here.

    Prefill (pp), decode (tg), time to first token (TTFT), streams at once and cancel. Each figure
    is taken through the worker process, as every user of luci gets it, and next to it from the
    core alone, round by round. The ratio says what the way to the user costs.

    The runs are kept in LUCI_HOME/bench.jsonl. The screen's mode Bench compares them.
    """
    if history:
        _print_history(as_json=json_output)
        return
    kind = cast("Invocation", ctx.obj).engine
    wanted = checked_spec(
        {
            "model": model,
            "pp": pp,
            "tg": tg,
            "streams": _counts(streams),
            "rounds": rounds,
            "temperature": temperature,
            "threads": threads,
            "force": force,
        }
    )
    if background:
        spec = wanted.model_copy(update={"model": name_for_host(model)})
        run_in_background(spec, as_json=json_output)
        return
    load = bench_model(wanted, kind=kind).load
    report = run_async(_bench(kind, load, wanted.plan(load.n_ctx)))
    keep_run(report, name_for_host(model), load.model_path, paths.bench_file())
    if json_output:
        print_json(report.as_json())
        return
    for line in report.as_lines():
        print_line(line)


async def _bench(kind: EngineKind, spec: LoadSpec, plan: BenchPlan) -> BenchReport:
    progress = Progress()
    engine = build_engine(kind)
    try:
        async with aclosing(measure(engine, spec, plan)) as items:
            async for item in items:
                if isinstance(item, BenchReport):
                    return item
                if isinstance(item, BenchStep):
                    progress.show(f"{item.n_done}/{item.n_total} {item.words}")
    finally:
        progress.clear()
        await engine.close()
    msg = "The bench ended without a report. Try again."
    raise EngineError(msg)


def _print_history(*, as_json: bool) -> None:
    from luci_tui.bench import history

    found = history.read_history(paths.bench_file())
    if as_json:
        print_json([one.model_dump(mode="json") for one in found.runs])
    else:
        for run in reversed(found.runs):
            for line in history.run_lines(run, found.before(run)):
                print_line(line)
        if not found.runs:
            narrate("No run is kept yet. `luci bench` measures a model.")
    if found.n_broken:
        narrate(f"{format_count(found.n_broken, 'line')} of {paths.bench_file()} cannot be read.")


def _counts(text: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in text.split(","))
    except ValueError as error:
        msg = f"--streams {text} cannot be used: give numbers with commas, e.g. 1,4,8."
        raise ConfigError(msg) from error
    if not all(1 <= count <= 256 for count in counts):
        msg = f"--streams {text} cannot be used: each number is 1 to 256."
        raise ConfigError(msg)
    return counts
