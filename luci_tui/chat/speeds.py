"""How fast models answered in chats, out of the session logs."""

from __future__ import annotations

import os
import statistics
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_LOGS: Final = 20
"""The logs that were written to last are looked at."""
MAX_LOG_BYTES: Final = 128 * 1024
"""Of the end of each."""
MAX_ANSWERS: Final = 20
"""The last answers of a model make its median."""
LEAST_TOKENS: Final = 16
"""A shorter answer says too little."""


@dataclass(frozen=True)
class ChatSpeed:
    """What the last answers of a model measured."""

    tokens_per_s: float
    """Median of decoding, without the first token."""
    n_answers: int


class _Usage(BaseModel):
    completion_tokens: int


class _Timings(BaseModel):
    decode_ms: float = Field(gt=0, allow_inf_nan=False)


class _Ended(BaseModel):
    """The line of a turn that was answered, as far as it matters here."""

    model_config = ConfigDict(extra="ignore")

    time: float
    model: str
    usage: _Usage
    timings: _Timings


def read_speeds(folder: Path) -> dict[str, ChatSpeed]:
    """Give what the logs of a folder say, by model; reads files, lines without sense are no matter.

    Args:
        folder: With one JSONL file per chat, see `chat.journal`.
    """
    rates: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
    for path in _youngest(folder):
        for line in _last_lines(path):
            if b"turn_done" not in line:
                continue
            with suppress(ValidationError):
                ended = _Ended.model_validate_json(line)
                n_after_first = ended.usage.completion_tokens - 1
                if n_after_first + 1 >= LEAST_TOKENS:
                    rate = n_after_first * 1000 / ended.timings.decode_ms
                    rates[ended.model].append((ended.time, rate))
    found: dict[str, ChatSpeed] = {}
    for model, values in rates.items():
        last = [rate for _, rate in sorted(values)[-MAX_ANSWERS:]]
        found[model] = ChatSpeed(statistics.median(last), len(last))
    return found


def _youngest(folder: Path) -> list[Path]:
    logs: list[tuple[float, Path]] = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(OSError):
                if entry.name.endswith(".jsonl") and entry.is_file():
                    logs.append((entry.stat().st_mtime, Path(entry.path)))
    return [path for _, path in sorted(logs, reverse=True)[:MAX_LOGS]]


def _last_lines(path: Path) -> list[bytes]:
    with suppress(OSError), path.open("rb") as file:
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, size_bytes - MAX_LOG_BYTES))
        return file.read(MAX_LOG_BYTES).split(b"\n")
    return []
