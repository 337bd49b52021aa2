"""Say in one sentence why a worker process ended, from its exit status and the end of its log."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from luci_tui.engine import loop
from luci_tui.errors import WorkerLostError

TAIL_BYTES = 64 * 1024
MAX_QUOTE = 300

_ABORT_LINE = re.compile(
    r"GGML_ASSERT\(|GGML_ABORT|fatal error|CUDA error|what\(\):|terminate called"
)
_OWN_LOG_LINE = re.compile(r"^\d{4}-\d\d-\d\d .*? (?:INFO|DEBUG) ")
_SOURCE_FOLDER = re.compile(r"^\S*/(?=[^/\s]+:\d+:)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")

_SIGNAL_REASONS: dict[int, tuple[str, str]] = {
    signal.SIGKILL: (
        "was killed (SIGKILL), most likely because the machine ran out of memory",
        "Load it again with a smaller n_ctx, or load a smaller model.",
    ),
    signal.SIGSEGV: (
        "crashed (SIGSEGV: it touched memory that is not its own)",
        "Load it again; if it happens again, check the model file.",
    ),
    signal.SIGBUS: (
        "crashed (SIGBUS): its model file became shorter or unreadable while in use",
        "Check the file and the disk, then load it again.",
    ),
    signal.SIGILL: (
        "crashed (SIGILL): the native core was built for another kind of CPU",
        "Build it again on this machine.",
    ),
    signal.SIGFPE: (
        "crashed (SIGFPE: a division by zero)",
        "Load it again; if it happens again, check the model file.",
    ),
    signal.SIGTERM: ("was asked from outside to end (SIGTERM)", "Load it again to go on."),
}
_EXIT_REASONS = {
    loop.EXIT_PARENT_GONE: "saw its pipe close",
    loop.EXIT_BROKEN_PEER: "was sent a command that it cannot read",
    loop.EXIT_THREAD_DIED: "lost one of its threads",
}


def worker_lost(
    model_name: str, exit_status: int, log_tail: str, log_path: Path
) -> WorkerLostError:
    """Make the error for a worker that ended by itself.

    Args:
        model_name: What was loaded, for the sentence.
        exit_status: As subprocess gives it: negative = the signal that ended the process.
        log_tail: The last lines of its log, this process's own only.
        log_path: Where the whole log lies.
    """
    reason, advice = _explain(exit_status, log_tail.splitlines())
    return WorkerLostError(f"The worker for {model_name} {reason}. {advice} Its log is {log_path}.")


def read_tail(path: Path, start: int) -> str:
    """Read the last lines of a log, none from before byte `start`; "" when there is no log."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            file.seek(max(start, end - TAIL_BYTES))
            return file.read(TAIL_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _explain(exit_status: int, lines: list[str]) -> tuple[str, str]:
    again = "Load it again; if it happens again, report it with the log."
    check = "Load it again; if it happens again, check the model file."
    if exit_status == -signal.SIGABRT:
        line = _last_match(lines)
        return f"stopped itself (SIGABRT){_quoted(line)}", check
    if exit_status < 0:
        number = -exit_status
        return _SIGNAL_REASONS.get(number, (f"was ended by signal {number}", again))
    if exit_status in _EXIT_REASONS:
        return f"{_EXIT_REASONS[exit_status]} (exit code {exit_status})", again
    line = next(
        (one for one in reversed(lines) if one.strip() and not _OWN_LOG_LINE.match(one)), ""
    )
    return f"ended with exit code {exit_status}{_quoted(line)}", again


def _last_match(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if _ABORT_LINE.search(line)), "")


def _quoted(line: str) -> str:
    """Put a log line into a sentence: no control characters, no build folder, not endless."""
    text = _SOURCE_FOLDER.sub("", _CONTROL.sub(" ", line).strip())
    if len(text) > MAX_QUOTE:
        text = text[:MAX_QUOTE] + "…"
    return f": {text}" if text else ""
