"""The screen of luci, to which something happens while it starts without a terminal.

Run as `python -m tests.support.losing_screen HARM MODEL`. The start waits for the loss, so that
the harm always comes before the loop can look at the signal.
"""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import assert_never

from textual.drivers.linux_driver import LinuxDriver

from luci_tui.host.wiring import EngineKind
from luci_tui.tui.hangup import terminal_is_gone
from luci_tui.tui.start import run_screen
from tests.support.waiting import until_here

N_WRITES = 100
"""Many more than Textual's queue holds."""


class Harm(StrEnum):
    """What happens."""

    FAULT = "fault"
    """Textual cannot go on."""
    WRITES = "writes"
    """More is drawn than anything takes."""


class FaultError(Exception):
    """Is shown in one line: a long text takes so long that the hangup would be over first."""

    def __rich__(self) -> str:
        """Return the line."""
        return "this screen cannot start"


def main(harm: Harm, model: str) -> int:
    """Run the screen and return its exit code."""
    begin = LinuxDriver.start_application_mode

    def begin_without_terminal(driver: LinuxDriver) -> None:
        begin(driver)
        until_here(terminal_is_gone)
        _do(harm, driver)

    setattr(LinuxDriver, "start_application_mode", begin_without_terminal)  # noqa: B010
    return run_screen(model, EngineKind.ECHO)


def _do(harm: Harm, driver: LinuxDriver) -> None:
    match harm:
        case Harm.FAULT:
            raise FaultError
        case Harm.WRITES:
            for _ in range(N_WRITES):
                driver.write("\x1b[0m")
        case _:
            assert_never(harm)


if __name__ == "__main__":
    sys.exit(main(Harm(sys.argv[1]), sys.argv[2]))
