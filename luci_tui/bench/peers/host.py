"""Measure luci as its front ends see it: through the host's unix socket.

The host lies above this package, so its client runs as a process of its own, told what to do on
stdin; see `luci_tui/host/timed_answers.py`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, TypeAdapter

from luci_tui.bench.peers.workload import Stream
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import EngineError

CHILD_MODULE = "luci_tui.host.timed_answers"
_TIMEOUT_S = 600.0
_rows_adapter: TypeAdapter[list[list[Stream]]] = TypeAdapter(list[list[Stream]])


class Batch(BaseModel):
    """Prompts that are answered one after the other."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompts: tuple[tuple[int, ...], ...]
    """Token ids."""
    n_new: int
    """Tokens of each answer."""


class Job(BaseModel):
    """What the client does with one host: load a model, warm it up, answer the batches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spec: LoadSpec
    batches: tuple[Batch, ...]


def timed_answers(spec: LoadSpec, batches: Sequence[Batch]) -> list[list[Stream]]:
    """Have a host of its own answer all batches, and return when each answer came.

    Raises:
        EngineError: the host or its client failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", CHILD_MODULE],
        input=Job(spec=spec, batches=tuple(batches)).model_dump_json(),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        message = f"the host's client ended with {done.returncode}: {done.stderr[-500:]!r}"
        raise EngineError(message)
    return _rows_adapter.validate_json(done.stdout)
