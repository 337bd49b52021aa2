"""A loaded model for the time of one command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from luci_tui.cli.output import Progress
from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.errors import ConfigError, ModelLoadError
from luci_tui.host.wiring import EngineKind, build_engine

T = TypeVar("T")


def run_async(main: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine; Ctrl-C cancels it, so that its engine is closed in order."""
    return asyncio.run(main)


@asynccontextmanager
async def loaded_model(
    kind: EngineKind, spec: frames.LoadSpec
) -> AsyncGenerator[tuple[EngineClient, frames.ModelInfo]]:
    """Load a model, with progress on a terminal, and close its engine at the end.

    Raises:
        EngineError: the engine is not there, or the model cannot be loaded.
    """
    engine = build_engine(kind)
    try:
        yield engine, await _load(engine, spec)
    finally:
        await engine.close()


async def _load(engine: EngineClient, spec: frames.LoadSpec) -> frames.ModelInfo:
    progress = Progress()
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

    Raises:
        ConfigError: there is no text, or standard input is a terminal and nobody asked for it.
    """
    if argument is not None and argument != "-":
        text = argument
    elif sys.stdin.isatty() and argument is None:
        msg = f"There is no {noun}: give it after MODEL, or on standard input."
        raise ConfigError(msg)
    else:
        text = sys.stdin.buffer.read().decode("utf-8", "replace")
    if not text.strip():
        msg = f"The {noun} is empty: give it after MODEL, or on standard input."
        raise ConfigError(msg)
    return text
