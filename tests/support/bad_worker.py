"""A real worker process with one thing wrong with it; run as a script with the fault's name.

Faults: `stuck` never ends a step, `raises` meets an unknown error in its first step, `asserts`
fails an assertion of ggml's kind in its first step, `exits` leaves with code 9 in its first step,
`babbles` prints to stdout in its first step, `garbage` sends bytes that are no frame, `slow_load`
loads until it is cancelled, `no_core` has no native module, `deaf` loses its reader thread.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from luci_tui.engine import frames, loop, native, worker
from luci_tui.engine.load_spec import LoadSpec


def command(fault: str) -> tuple[str, ...]:
    """Give the command line of a worker with this fault."""
    return (sys.executable, "-P", str(Path(__file__)), fault)


class BadCore(native.Core):
    """The core of a loaded model, with a fault in its first step."""

    fault = ""
    n_runs = 0

    def __init__(self, spec: LoadSpec, monitor: native.LoadMonitor) -> None:
        """Load, or wait until the load is cancelled and then load."""
        while self.fault == "slow_load" and not monitor.is_cancelled:
            threading.Event().wait(0.01)
        super().__init__(spec, monitor)

    def run(self, max_ms: float) -> native.Events:
        """Be bad once, and good from then on."""
        BadCore.n_runs += 1
        if BadCore.n_runs == 1:
            _misbehave(self.fault)
        return super().run(max_ms)


def _misbehave(fault: str) -> None:
    match fault:
        case "stuck":
            threading.Event().wait()
        case "raises":
            raise RuntimeError("a fault that the test put here")
        case "asserts":
            os.write(2, b"/src/ggml.c:1234: GGML_ASSERT(n_tokens \x1b[31m> 0) failed\n")
            os.abort()
        case "exits":
            os.write(2, b"the disk is on fire\n")
            os._exit(9)
        case "babbles":
            os.write(1, b"hello from a library\n")
        case _:
            pass


class GarbagePipe(loop.EventPipe):
    """An event pipe that writes no frames."""

    def send(self, *payloads: bytes) -> None:
        """Write a frame of the right length without JSON in it."""
        super().send(*(b"\x00" * len(payload) for payload in payloads))


class DeafLoop(loop.EngineLoop):
    """A loop whose reader dies of the first command after the load."""

    def _receive(self, command: frames.Command) -> None:
        if not isinstance(command, frames.Load):
            raise RuntimeError("a fault that the test put here")
        super()._receive(command)


def main() -> None:
    """Put the fault in and be a worker."""
    fault = sys.argv.pop(1)
    BadCore.fault = fault
    native.Core = BadCore
    if fault == "garbage":
        loop.EventPipe = GarbagePipe
    elif fault == "deaf":
        loop.EngineLoop = DeafLoop
    elif fault == "no_core":
        native.native_available = lambda: False
    worker.main()


if __name__ == "__main__":
    main()
