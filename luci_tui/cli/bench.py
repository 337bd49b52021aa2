"""`luci bench`: how fast a model runs here, through the worker and in the bare core."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated, cast

import typer

from luci_tui.bench.engine import SPARE_TOKENS, BenchPlan, BenchStep, measure
from luci_tui.bench.report import BenchReport
from luci_tui.cli.main import Invocation
from luci_tui.cli.output import Progress, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import ConfigError, EngineError
from luci_tui.host.wiring import BUILTIN, EngineKind, build_engine, choose_model

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci bench
  luci bench --model model.gguf --streams 1,4,8,16
  luci bench --model model.gguf --pp 1024 --tg 64 --json > bench.json
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
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how fast a model runs here.

    Prefill (pp), decode (tg), time to first token (TTFT), streams at once and cancel. Each figure
    is taken through the worker process, as every user of luci gets it, and next to it from the
    core alone, round by round. The ratio says what the way to the user costs.
    """
    kind = cast("Invocation", ctx.obj).engine
    n_streams = _counts(streams)
    spec = choose_model(model, kind=kind, n_threads=threads, force=force).load
    # A small model may know less context than the usual tests need; the test's name says so.
    n_fitting = spec.n_ctx - SPARE_TOKENS
    plan = BenchPlan(
        n_prompt=pp or min(512, n_fitting),
        n_gen=tg or min(128, n_fitting),
        streams=n_streams,
        rounds=rounds,
        temperature=temperature,
    )
    report = run_async(_bench(kind, spec, plan))
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
                if not isinstance(item, BenchStep):
                    return item
                progress.show(item.words)
    finally:
        progress.clear()
        await engine.close()
    msg = "The bench ended without a report. Try again."
    raise EngineError(msg)


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
