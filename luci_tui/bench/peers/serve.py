"""Start `luci serve` on the loopback, in a home folder of its own, and stop it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from luci_tui import paths
from luci_tui.bench.peers.http_stream import HttpTarget
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import EngineError
from luci_tui.manager import models_toml
from luci_tui.manager.entries import LoadOptions, ModelEntry

_COMMAND_TIMEOUT_S = 120.0
_MODEL_NAME = "bench"


def serve_command(port: int | str) -> list[str]:
    """Return the command that serves; it leaves the server to the host and returns."""
    return ["serve", "--port", str(port), "--no-key", "--background", "--json"]


@contextmanager
def running_serve(spec: LoadSpec) -> Generator[HttpTarget]:
    """Serve one model over HTTP until the block ends; the first request loads it."""
    with tempfile.TemporaryDirectory(prefix="luci-serve-") as folder:
        home = Path(folder)
        options = spec.model_dump(exclude={"model_path", "rpc_servers"}, exclude_defaults=True)
        entry = ModelEntry(
            name=_MODEL_NAME,
            path=str(Path(spec.model_path).absolute()),
            pinned=True,
            load=LoadOptions.model_validate(options),
        )
        models_toml.replace_entry(home / "models.toml", _MODEL_NAME, entry)
        try:
            served: dict[str, object] = json.loads(_luci(home, *serve_command(0)))
            yield HttpTarget("luci serve", int(str(served["port"])), _MODEL_NAME)
        finally:
            _luci(home, "host", "stop", "--drain-s", "0", "--force")


def _luci(home: Path, *arguments: str) -> str:
    """Run one command to its end and return what it printed.

    Raises:
        EngineError: it failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "luci_tui", *arguments],
        env=paths.environment_for(home),
        capture_output=True,
        text=True,
        timeout=_COMMAND_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        end = done.stderr[-500:]
        message = f"luci {' '.join(arguments)} ended with {done.returncode} and said: {end!r}"
        raise EngineError(message)
    return done.stdout
