"""Runs of the bench as files."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from luci_tui.bench import history as kept
from luci_tui.bench.history import BenchRun, History
from luci_tui.errors import ConfigError
from luci_tui.tui.screens.choose import Option
from luci_tui.units import format_count
from luci_tui.whole_file import write_whole

THIS, MODEL, ALL = "this", "model", "all"


def choices_of(run: BenchRun, history: History) -> list[Option]:
    """Say which runs can be exported."""
    n_same = len(runs_of(MODEL, run, history))
    return [
        Option(THIS, "this run"),
        Option(MODEL, "all of this model", format_count(n_same, "run")),
        Option(ALL, "all that are kept", format_count(len(history.runs), "run")),
    ]


def runs_of(choice: str, run: BenchRun, history: History) -> tuple[BenchRun, ...]:
    """Give the runs of a choice, the oldest first."""
    if choice == THIS:
        return (run,)
    if choice == MODEL:
        return tuple(one for one in history.runs if one.is_of == run.is_of)
    return history.runs


def default_name(run: BenchRun) -> str:
    """Name a file in the folder in which luci was started."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", Path(run.asked).stem).strip("-.") or "model"
    day = time.strftime("%Y-%m-%d", time.localtime(run.at))
    return str(Path.cwd() / f"bench-{name[:60]}-{day}.md")


def check_path(text: str) -> None:
    """Refuse a name that says no kind of file, or lies where there is no folder.

    Raises:
        ConfigError: it cannot be used.
    """
    path, _ = place_of(text)
    if path.suffix not in (".md", ".json"):
        msg = f"{path.name[:80]!r} says no kind of file. Let it end in .md or .json."
        raise ConfigError(msg)
    if not path.parent.is_dir():
        msg = f"There is no folder {path.parent}. Make it, or choose another."
        raise ConfigError(msg)
    if path.is_dir():
        msg = f"{path} is a folder. Name a file."
        raise ConfigError(msg)


def place_of(text: str) -> tuple[Path, bool]:
    """Return the file that a person named, and whether something is there."""
    path = Path(text).expanduser().absolute()
    return path, path.exists()


def write(path: Path, runs: Sequence[BenchRun]) -> None:
    """Write the runs; the file is there whole or not at all.

    Raises:
        ConfigError: it cannot be written.
    """
    text = kept.as_json(runs) if path.suffix == ".json" else kept.as_markdown(runs)
    try:
        write_whole(path, text)
    except OSError as error:
        msg = f"{path} cannot be written ({error.strerror}). Check its folder and the disk."
        raise ConfigError(msg) from error
