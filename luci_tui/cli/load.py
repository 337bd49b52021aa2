"""`luci load`: bring a model into memory before it is needed."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, cast

import typer

from luci_tui.cli.host_link import host_client
from luci_tui.cli.main import Invocation
from luci_tui.cli.output import Progress, narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import HostError
from luci_tui.host.wiring import EngineKind, name_for_host

if TYPE_CHECKING:
    from luci_tui.host.api.messages import JobRecord

EPILOG = """\b
Examples:
  luci load builtin
  luci load ~/models/some-7b-q4_k_m.gguf
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=EPILOG)
def load(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A name, or a GGUF file.")],
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Load MODEL into the host's memory, for every front end.

    It stays until nobody has used it for a while (model_ttl_s in config.toml), or `luci unload`
    takes it out. Ctrl-C stops waiting; the load goes on in the host.
    """
    job = run_async(_load(cast("Invocation", ctx.obj).engine, name_for_host(model)))
    if json_output:
        print_json(job.model_dump(mode="json"))
        return
    name = str((job.result or {}).get("name", model))
    print_line(f"{name} is loaded.")


async def _load(kind: EngineKind, name: str) -> JobRecord:
    from luci_tui.host.api.messages import JobChanged, JobState, to_error
    from luci_tui.host.api.messages import Progress as JobProgress

    line = Progress()
    async with host_client(kind) as client:
        job = await client.load_model(name)
        try:
            async with aclosing(client.job_events(job.id)) as events:
                async for event in events:
                    match event:
                        case JobProgress():
                            share = f" {event.n_done:.0f} %" if event.n_total else ""
                            line.show(f"{event.what}{share}")
                        case JobChanged() if event.job.state is JobState.RUNNING:
                            pass
                        case JobChanged() if event.job.error is not None:
                            raise to_error(event.job.error)
                        case JobChanged():
                            return _done(event.job)
                        case _:
                            pass
        finally:
            line.clear()
    msg = f"The host left before {name} was loaded. Try again."
    raise HostError(msg, code="unreachable")


def _done(job: JobRecord) -> JobRecord:
    from luci_tui.host.api.messages import JobState

    if job.state is not JobState.DONE:
        narrate(f"Loading was {job.state.value}.")
        raise typer.Exit(1)
    return job
