"""A loaded model for the time of one command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from luci_tui.cli.output import Progress
from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import ConfigError, LuciError, ModelLoadError
from luci_tui.host.wiring import EngineKind, build_engine

if TYPE_CHECKING:
    from luci_tui.host.client import HostClient

T = TypeVar("T")


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; Ctrl-C cancels it, so that its engine is closed in order."""
    return asyncio.run(main)


@asynccontextmanager
async def loaded_model(
    kind: EngineKind, spec: LoadSpec
) -> AsyncGenerator[tuple[EngineClient, frames.ModelInfo]]:
    """Load a model, with progress on a terminal, and close its engine at the end.

    A host that runs loads it, so that one place knows what is in memory and makes room for it;
    without a host it is loaded by this process alone.

    Raises:
        EngineError: the engine is not there, or the model cannot be loaded.
    """
    progress = Progress()
    async with _engine(kind, progress) as engine:
        try:
            yield engine, await _load(engine, _with_whole_paths(spec), progress)
        finally:
            await engine.close()


@asynccontextmanager
async def _engine(kind: EngineKind, progress: Progress) -> AsyncGenerator[EngineClient]:
    client = await _usable_host(kind)
    if client is None:
        yield build_engine(kind)
        return
    from luci_tui.host.host_engine import HostEngine

    try:
        yield HostEngine(client, on_notice=lambda notice: progress.show(notice.text))
    finally:
        await client.close()


async def _usable_host(kind: EngineKind) -> HostClient | None:
    """Give a client of a host that runs and would load models as this process does."""
    if kind is EngineKind.ECHO:
        return None  # it takes no memory that somebody would have to know about
    from luci_tui.host.lifecycle import find_host
    from luci_tui.version import HOST_PROTOCOL

    try:
        found = await find_host()
    except LuciError:
        return None  # a host that is silent, or not to be trusted, is no reason not to answer
    if found is None:
        return None
    hello = found.hello
    if hello.protocol == HOST_PROTOCOL and hello.engine == kind.value and not hello.is_leaving:
        return found.client
    await found.client.close()
    return None


def _with_whole_paths(spec: LoadSpec) -> LoadSpec:
    """Make the paths of a load absolute: the host runs in another folder."""

    def whole(path: str) -> str:
        return str(Path(path).absolute()) if path else ""

    loras = tuple(one.model_copy(update={"path": whole(one.path)}) for one in spec.loras)
    paths = {"model_path": whole(spec.model_path), "loras": loras}
    return spec.model_copy(update=paths | {"draft_model_path": whole(spec.draft_model_path)})


async def _load(engine: EngineClient, spec: LoadSpec, progress: Progress) -> frames.ModelInfo:
    try:
        async with aclosing(engine.load(spec)) as events:
            async for event in events:
                if isinstance(event, frames.Loaded):
                    return event.info
                progress.show(f"loading {event.fraction:.0%}")
    finally:
        progress.clear()
    msg = f"Loading {spec.model_path} ended without an answer. Try again."
    raise ModelLoadError(msg)


def read_text(argument: str | None, noun: str) -> str:
    """Return the text of an argument, or of standard input where it is "-" or missing.

    Ends of lines at the end of standard input go, as they do in a shell's `$(...)`: `echo` writes
    one, and to a model it would be a part of the request.

    Raises:
        ConfigError: there is no text, or standard input is a terminal and nobody asked for it.
    """
    if argument is not None and argument != "-":
        text = argument
    elif sys.stdin.isatty() and argument is None:
        msg = f"There is no {noun}: give it in quotes, or on standard input."
        raise ConfigError(msg)
    else:
        text = sys.stdin.buffer.read().decode("utf-8", "replace").rstrip("\r\n")
    if not text.strip():
        msg = f"The {noun} is empty: give it in quotes, or on standard input."
        raise ConfigError(msg)
    return text
