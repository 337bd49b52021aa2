"""Session logs: one JSONL file per chat, a line for each turn that begins or ends.

Texts are written only when the setting says so. A log that cannot be written never stops a chat.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from luci_tui.chat.turn_events import TurnDone, TurnFailed, TurnStarted

MAX_BYTES = 4 * 1024 * 1024
"""A log that is longer is renamed to NAME.1, in place of an older one, and begun again."""

_log = logging.getLogger(__name__)


class Journal:
    """Writes the logs of all chats. All calls block for the time of one short write."""

    def __init__(
        self,
        folder: Path,
        *,
        with_texts: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Name the folder; it is made with the first line.

        Args:
            folder: Where the logs are.
            with_texts: True = what users and models say is logged, too.
            clock: Seconds since 1970.
        """
        self._folder = folder
        self._with_texts = with_texts
        self._clock = clock
        self._has_failed = False

    def path(self, chat_id: str) -> Path:
        """Return the log of one chat; it may not exist."""
        return self._folder / f"{chat_id}.jsonl"

    def begun(self, started: TurnStarted, text: str) -> None:
        """Note that a turn began."""
        fields: dict[str, object] = {
            "reply": started.reply_id,
            "message": started.user_message_id,
            "model": started.model,
            "n_characters": len(text),
        }
        if self._with_texts:
            fields["text"] = text
        self._write(started.chat_id, "turn_started", fields)

    def ended(
        self, chat_id: str, event: TurnDone | TurnFailed, elapsed_s: float, text: str
    ) -> None:
        """Note how a turn ended."""
        fields: dict[str, object] = {"reply": event.reply_id, "elapsed_s": round(elapsed_s, 3)}
        match event:
            case TurnDone():
                fields |= {
                    "model": event.model,
                    "finish_reason": event.finish_reason.value,
                    "usage": event.usage.model_dump(),
                    "timings": event.timings.model_dump(),
                    "seed": event.seed,
                    "n_left_out": event.context.n_left_out,
                }
            case TurnFailed():
                fields |= {"code": event.code, "message": event.message}
        if event.not_stored:
            fields["not_stored"] = event.not_stored
        if self._with_texts:
            fields["text"] = text
        self._write(chat_id, event.kind, fields)

    def cancelled(self, chat_id: str, reply_id: str, elapsed_s: float) -> None:
        """Note that a turn was stopped."""
        self._write(
            chat_id, "turn_cancelled", {"reply": reply_id, "elapsed_s": round(elapsed_s, 3)}
        )

    def forget(self, chat_id: str) -> None:
        """Remove the logs of a chat."""
        path = self.path(chat_id)
        for file in (path, path.with_name(path.name + ".1")):
            with suppress(OSError):
                file.unlink(missing_ok=True)

    def _write(self, chat_id: str, event: str, fields: Mapping[str, object]) -> None:
        line = {"time": round(self._clock(), 3), "event": event, "chat": chat_id, **fields}
        data = json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        try:
            self._append(self.path(chat_id), data)
        except OSError as error:
            # Once is enough: a full disk would fill the log of the program as well.
            if not self._has_failed:
                _log.warning("the session log %s cannot be written: %s", self._folder, error)
            self._has_failed = True

    def _append(self, path: Path, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            # One write: a line is never torn by another process's.
            os.write(fd, data)
            is_long = os.fstat(fd).st_size > MAX_BYTES
        finally:
            os.close(fd)
        if is_long:
            path.replace(path.with_name(path.name + ".1"))
