"""Chat turns as the host owns them: a task and a log each, whoever reads or goes away."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from pydantic import BaseModel

from luci_tui.errors import CatalogError, HostError, LuciError
from luci_tui.host.api.messages import ErrorBody, TurnRecord, error_body
from luci_tui.host.events import EventLog

KEPT_TURNS = 256
"""Most ended turns whose events may still be read; what they said is in the chat anyway."""
KEPT_BYTES = 8 * 1024 * 1024
"""Of JSON in the events of all ended turns; the youngest is kept whatever its size."""
FIRST_EVENT_S = 30.0
"""The user's message is on disk when the first event comes; a disk slower than this is broken."""

STOP_S = 10.0
"""The chat service ends an answer and stores it well within this time."""

logger = logging.getLogger(__name__)


@dataclass
class _Turn:
    chat_id: str
    log: EventLog
    task: asyncio.Task[LuciError | None]
    """Its result is what went wrong before there was any event."""
    stop: Callable[[], None]


class Turns:
    """Runs turns and keeps their events."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, _Turn] = OrderedDict()
        self._is_leaving = False

    async def start(
        self, chat_id: str, events: AsyncGenerator[BaseModel], stop: Callable[[], None]
    ) -> str:
        """Begin a turn and return its id when its first event is there.

        Args:
            chat_id: The chat; one turn at a time.
            events: What the chat service gives; closing it keeps the text that came.
            stop: Asks the chat service to end the answer, which it tells as the last event.

        Raises:
            HostError: a turn of this chat runs already, or the host is leaving.
            LuciError: the turn could not begin: no such chat, a full disk, ….
        """
        if self._is_leaving:
            await events.aclose()
            msg = "The host is leaving and begins no turn. Try again."
            raise HostError(msg, code="leaving")
        if any(turn.chat_id == chat_id for turn in self._turns.values() if not turn.task.done()):
            await events.aclose()
            msg = "This chat is being answered. Wait for the answer, or cancel it."
            raise HostError(msg, code="busy")
        turn_id = secrets.token_hex(8)
        log = EventLog()
        task = asyncio.create_task(_run(turn_id, events, log), name=f"turn {turn_id}")
        self._turns[turn_id] = _Turn(chat_id, log, task, stop)
        self._forget()
        try:
            async with asyncio.timeout(FIRST_EVENT_S):
                await log.wait_beyond(0)
        except TimeoutError:
            logger.warning("turn %s has no first event after %.0f s", turn_id, FIRST_EVENT_S)
        if log.is_closed and not log.last_seq:
            del self._turns[turn_id]
            if error := await task:
                raise error
        return turn_id

    def log(self, turn_id: str) -> EventLog:
        """Return the events of a turn.

        Raises:
            CatalogError: the host does not know it, or no longer.
        """
        return self._get(turn_id).log

    def records(self) -> tuple[TurnRecord, ...]:
        """Return the turns that are known, the youngest first."""
        return tuple(
            TurnRecord(turn_id=turn_id, chat_id=turn.chat_id, is_running=not turn.task.done())
            for turn_id, turn in reversed(self._turns.items())
        )

    def running(self) -> tuple[TurnRecord, ...]:
        """Return those that run."""
        return tuple(record for record in self.records() if record.is_running)

    async def cancel(self, turn_id: str) -> None:
        """End a turn, and return when what it said is stored.

        Raises:
            CatalogError: the host does not know it.
        """
        await _end([self._get(turn_id)])

    async def drain(self, drain_s: float) -> None:
        """Begin nothing more, give what runs some time, then end it; its text is kept."""
        self._is_leaving = True
        running = [turn for turn in self._turns.values() if not turn.task.done()]
        if running:
            await asyncio.wait([turn.task for turn in running], timeout=drain_s)
            await _end(running)

    def _get(self, turn_id: str) -> _Turn:
        turn = self._turns.get(turn_id)
        if turn is None:
            msg = f"The host knows no turn {turn_id[:40]}. What it said is in the chat."
            raise CatalogError(msg, code="not_found")
        return turn

    def _forget(self) -> None:
        """Let go of the oldest that have ended, as far as they are too many or too large."""
        ended = [turn_id for turn_id, turn in self._turns.items() if turn.task.done()]
        n_bytes = sum(self._turns[turn_id].log.n_bytes for turn_id in ended)
        for turn_id in ended[:-1]:
            if len(self._turns) <= KEPT_TURNS and n_bytes <= KEPT_BYTES:
                return
            n_bytes -= self._turns.pop(turn_id).log.n_bytes


async def _end(turns: list[_Turn]) -> None:
    """Have answers ended by the chat service, and break off what it does not end."""
    turns = [turn for turn in turns if not turn.task.done()]
    if not turns:
        return
    for turn in turns:
        turn.stop()
    tasks = [turn.task for turn in turns]
    _, late = await asyncio.wait(tasks, timeout=STOP_S)
    for task in late:
        logger.warning("%s does not stop and is broken off", task.get_name())
        task.cancel()
    if late:
        await asyncio.wait(late)


async def _run(turn_id: str, events: AsyncGenerator[BaseModel], log: EventLog) -> LuciError | None:
    """Move what the chat service gives into the log; returns what kept the turn from beginning."""
    try:
        async with aclosing(events):
            async for event in events:
                log.append(event)
    except LuciError as error:
        if not log.last_seq:
            return error
        log.append(error_body(error))
    except asyncio.CancelledError:
        log.append(ErrorBody(code="cancelled", message="The answer was cancelled."))
    except Exception as error:
        # One turn that meets a mistake of ours must not end the host and the others.
        logger.exception("turn %s met a mistake in luci", turn_id)
        message = f"The turn met a mistake in luci: {error!r}. Report it with the host's log."
        log.append(ErrorBody(code="internal", message=message))
    finally:
        log.close()
    return None
