import os
import subprocess
import sys
from pathlib import Path

from luci_tui.tui.stderr_guard import MAX_LOG_BYTES

PROGRAM = """
import os, sys
from pathlib import Path
from luci_tui.tui.stderr_guard import stderr_guard
with stderr_guard(Path(sys.argv[1])):
    os.write(2, b"native ")
    sys.stderr.write("drawn ")
    sys.__stderr__.write("too ")
os.write(2, b"after")
"""


def run_guarded(log: Path) -> bytes:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(log)],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        timeout=60,
        check=True,
    )
    return run.stderr


def test_native_output_lands_in_the_log_and_drawing_on_the_terminal(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "screen.log"
    assert run_guarded(log) == b"drawn too after"
    assert log.read_bytes() == b"native "


def test_long_log_is_started_again(tmp_path: Path) -> None:
    log = tmp_path / "screen.log"
    log.write_bytes(b"x" * (MAX_LOG_BYTES + 1))
    run_guarded(log)
    assert log.read_bytes() == b"native "


def test_log_that_cannot_be_written_does_not_stop_the_screen() -> None:
    assert run_guarded(Path("/proc/none/screen.log")) == b"drawn too after"
