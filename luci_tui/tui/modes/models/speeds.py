"""How fast the models of this machine were when somebody measured them, or talked to them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from luci_tui import paths
from luci_tui.errors import ConfigError
from luci_tui.library.records import LibraryModel
from luci_tui.units import format_count, format_rate


@dataclass(frozen=True)
class Speed:
    """What decoding measured."""

    tokens_per_s: float
    source: str
    """How it is known, in words."""
    is_from_chats: bool = False
    """Answers in chats are of different lengths, so that it is a guide and no measurement."""

    @property
    def cell(self) -> str:
        """As much as a list has room for."""
        number = self.tokens_per_s
        digits = f"{number:.0f}" if number >= 100 else f"{number:.1f}"
        return f"{'~' if self.is_from_chats else ''}{digits}"

    @property
    def words(self) -> str:
        """One line for the details."""
        return f"decodes {format_rate(self.tokens_per_s)} ({self.source})"


ReadSpeeds = Callable[[Sequence[LibraryModel]], dict[str, Speed]]
"""Models -> what is known of their speed, by name."""


def read_speeds(models: Sequence[LibraryModel]) -> dict[str, Speed]:
    """Look into the history of the bench and the session logs; blocks, and never fails."""
    from luci_tui.chat.speeds import read_speeds as speeds_in_chats

    benched = _benched()
    talked = speeds_in_chats(paths.logs_folder() / "chats")
    found: dict[str, Speed] = {}
    for model in models:
        speed = benched.get((str(model.path), _stamp(model.path)))
        names = (model.name, *model.aliases, str(model.path))
        said = next((talked[name] for name in names if name in talked), None)
        if speed is not None:
            found[model.name] = speed
        elif said is not None:
            source = f"median of {format_count(said.n_answers, 'answer')} in chats"
            found[model.name] = Speed(said.tokens_per_s, source, is_from_chats=True)
    return found


def _benched() -> dict[tuple[str, tuple[int, int]], Speed]:
    """Give the last run of each file as it was then, so that a file that changed has none."""
    from luci_tui.bench.history import read_history

    found: dict[tuple[str, tuple[int, int]], Speed] = {}
    with suppress(ConfigError):
        for run in read_history(paths.bench_file()).runs:
            if (decode := run.of("tg")) is not None:
                when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.at))
                source = f"bench of {when}, {run.threads} threads"
                key = (run.path, (run.file_bytes, run.file_mtime_ns))
                found[key] = Speed(decode.tokens_per_s.median, source)
    return found


def _stamp(path: Path) -> tuple[int, int]:
    try:
        facts = path.stat()
    except OSError:
        return (0, 0)
    return (facts.st_size, facts.st_mtime_ns)
