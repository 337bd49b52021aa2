"""One worker process as its supervisor sees it: started, talked to, watched, ended.

Belongs to one asyncio event loop. Events are handed to mailboxes as they arrive, so no request
waits for another's consumer, and the worker never waits for any of them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from luci_tui.engine import frames, last_words, wire
from luci_tui.engine.loop import HEARTBEAT_S
from luci_tui.engine.mailbox import Mailbox
from luci_tui.errors import ModelLoadError, RequestError, WorkerLostError

MAX_LOG_BYTES = 4 * 1024 * 1024
"""A longer log is set aside as `<name>.1` before the next worker writes to it."""
KILL_WAIT_S = 5.0
START_S = 60.0
"""Least patience before a worker's first word; a busy machine is slow to start an interpreter."""
GATHER_TURNS = 8
"""Turns of the event loop for which a request waits for others that are asked at the same time. An
engine without work begins with whatever comes first, and the others wait for that; together they
are one batch. A turn in which nothing else happens takes some microseconds."""
_STDIN, _STDOUT = 0, 1

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WorkerOptions:
    """How workers are started and how much patience they get."""

    command: tuple[str, ...] = (sys.executable, "-P", "-m", "luci_tui.engine.worker")
    silent_s: float = 60.0
    """A worker with work that is silent for so long is taken for dead; it beats every second."""
    stuck_s: float = 300.0
    """Longest time in which not one step ends. A step of a large model over a long prompt may take
    minutes on a slow CPU."""
    grace_s: float = 3.0
    """Time to leave when asked to; then SIGTERM, and after as long again SIGKILL."""
    checks_memory: bool = True
    """False = whoever asks for a load has found room for it already."""


class Child(asyncio.SubprocessProtocol):
    """A running worker. `error` tells afterwards why it ended."""

    def __init__(self, model_name: str, log_path: Path, options: WorkerOptions) -> None:
        self.error: WorkerLostError | None = None
        """Why there is no worker any more; None while there is one."""
        self._model_name = model_name
        self._log_path = log_path
        self._log_start = log_path.stat().st_size if log_path.exists() else 0
        self._options = options
        self._loop = asyncio.get_running_loop()
        self._ended = self._loop.create_future()
        self._farewell: WorkerLostError | None = None
        """Set by the one who ends the worker on purpose."""
        self._decoder = wire.FrameDecoder()
        self._mailboxes: dict[int, Mailbox] = {}
        self._unsent: list[bytes] = []
        """Frames of requests that wait for others."""
        self._can_write = asyncio.Event()
        self._can_write.set()
        self._heard_s = 0.0
        self._patience_s = max(START_S, options.silent_s)
        self._n_steps = -1
        """Of the last beat; -1 = it was not inside a step."""
        self._n_same_beats = 0
        """Beats since then that told the same."""
        self._timer: asyncio.TimerHandle | None = None
        self._check_s = options.silent_s / 4

    @classmethod
    async def spawn(cls, model_name: str, log_path: Path, options: WorkerOptions) -> Child:
        """Start a worker process in a session of its own, its stderr appended to the log.

        Raises:
            ModelLoadError: the process or its log cannot be made.
        """
        try:
            make_room_for_log(log_path)
            with log_path.open("ab") as log_file:
                _, protocol = await asyncio.get_running_loop().subprocess_exec(
                    lambda: cls(model_name, log_path, options),
                    *options.command,
                    "--parent-pid",
                    str(os.getpid()),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=log_file,
                    start_new_session=True,
                )
        except OSError as error:
            raise ModelLoadError(
                f"The worker process for {model_name} cannot be started ({error}). "
                "Free memory and processes, then load it again.",
                code="spawn",
            ) from error
        return protocol

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the process transport and the pipe to its stdin."""
        self._transport = cast("asyncio.SubprocessTransport", transport)
        self._stdin = cast("asyncio.WriteTransport", self._transport.get_pipe_transport(_STDIN))
        self.pid = self._transport.get_pid()

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        """Hand each event to the mailbox of its request."""
        if fd != _STDOUT or not isinstance(data, bytes):
            return
        self._heard_s = self._loop.time()
        self._patience_s = self._options.silent_s
        try:
            for payload in self._decoder.feed(data):
                self._route(frames.event_adapter.validate_json(payload))
        except (wire.BrokenFrameError, ValidationError) as error:
            logger.error("worker %d sent no valid frame: %s", self.pid, type(error).__name__)
            self.kill(self._lost("sent something that is no valid message"))

    def pause_writing(self) -> None:
        """Make senders wait: the worker does not keep up with its commands."""
        self._can_write.clear()

    def resume_writing(self) -> None:
        """Let senders go on."""
        self._can_write.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the exit status says why
        """Say why to everyone who waits: the process has ended and all it wrote has been read."""
        status = self._transport.get_returncode()
        log_tail = last_words.read_tail(self._log_path, self._log_start)
        self.error = self._farewell or last_words.worker_lost(
            self._model_name, -1 if status is None else status, log_tail, self._log_path
        )
        logger.info("worker %d ended with status %s", self.pid, status)
        self._can_write.set()
        self._stop_timer()
        for mailbox in self._mailboxes.values():
            mailbox.fail(WorkerLostError(self.error.message, code=self.error.code))
        self._ended.set_result(None)

    # What the supervisor calls.

    def open_mailbox(self, request_id: int) -> Mailbox:
        """Make the place where the events of one request arrive."""
        mailbox = Mailbox()
        self._mailboxes[request_id] = mailbox
        if self._timer is None:
            self._heard_s = self._loop.time()
            self._n_steps = -1
            self._start_timer()
        return mailbox

    def close_mailbox(self, request_id: int) -> None:
        """Forget a request, and cancel it in the worker if it still runs."""
        mailbox = self._mailboxes.pop(request_id)
        if not mailbox.has_ended:
            self.post(frames.Cancel(request_id=request_id))
        if not self._mailboxes:
            self._stop_timer()

    def post(self, command: frames.Command) -> None:
        """Send a small command without waiting; a worker that is gone does not miss it."""
        if self.error is not None or self._stdin.is_closing():
            return
        self._unsent.append(wire.encode(command.model_dump_json().encode()))
        if not isinstance(command, frames.Generate):
            self._write_unsent()
        elif len(self._unsent) == 1:
            self._loop.call_soon(self._wait_for_others, GATHER_TURNS)

    def _wait_for_others(self, n_turns: int) -> None:
        if n_turns > 1:
            self._loop.call_soon(self._wait_for_others, n_turns - 1)
        else:
            self._write_unsent()

    def _write_unsent(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and not self._stdin.is_closing():
            self._stdin.write(b"".join(unsent))

    async def send(self, command: frames.Command) -> None:
        """Send a command once the worker takes in what was sent before.

        Raises:
            WorkerLostError: the worker is gone.
            RequestError: the command is too long for a frame.
        """
        await self._can_write.wait()
        if self.error is not None:
            raise WorkerLostError(self.error.message, code=self.error.code)
        try:
            self.post(command)
        except wire.BrokenFrameError as error:
            raise RequestError(error.message, code="too_long") from error

    def kill(self, reason: WorkerLostError) -> None:
        """End the process at once; whoever waits is told the reason when it is gone."""
        if self._farewell is None:
            self._farewell = reason
        if self.error is None:
            self._transport.kill()

    async def stop(self) -> None:
        """End the process: asked first, then told, then made. Returns when it is gone."""
        if self._farewell is None:
            self._farewell = WorkerLostError(
                f"The worker for {self._model_name} was closed. Load the model again to go on.",
                code="closed",
            )
        grace_s = self._options.grace_s
        try:
            self.post(frames.Shutdown())
            if not await self._ends_within(grace_s):
                self._transport.terminate()
                if not await self._ends_within(grace_s):
                    logger.warning("worker %d does not leave and is killed", self.pid)
        finally:
            if self.error is None:
                self._transport.kill()
        if not await self._ends_within(KILL_WAIT_S):
            logger.error("worker %d does not end, even killed; the kernel holds it", self.pid)
        self._transport.close()

    async def _ends_within(self, wait_s: float) -> bool:
        await asyncio.wait([self._ended], timeout=wait_s)
        return self._ended.done()

    def _route(self, event: frames.Event) -> None:
        if isinstance(event, frames.Heartbeat):
            self._note_beat(event)
            return
        mailbox = self._mailboxes.get(event.request_id)
        if mailbox is not None:
            mailbox.put(event)

    def _note_beat(self, beat: frames.Heartbeat) -> None:
        """Count beats, not seconds: a machine that was suspended in between proves nothing."""
        n_steps = beat.n_steps if beat.is_stepping else -1
        if n_steps < 0 or n_steps != self._n_steps:
            self._n_steps, self._n_same_beats = n_steps, 0
            return
        self._n_same_beats += 1
        stuck_s = self._n_same_beats * HEARTBEAT_S
        if stuck_s > self._options.stuck_s:
            self.kill(self._lost(f"was stuck in step {n_steps + 1} for {stuck_s:.0f} s and ended"))

    def _lost(self, what: str) -> WorkerLostError:
        return WorkerLostError(
            f"The worker for {self._model_name} {what}. "
            f"Load it again; if it happens again, report it with the log {self._log_path}."
        )

    def _start_timer(self) -> None:
        due_s = self._loop.time() + self._check_s
        self._timer = self._loop.call_at(due_s, self._check_silence, due_s)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _check_silence(self, due_s: float) -> None:
        now_s = self._loop.time()
        if now_s - due_s > self._check_s:
            self._heard_s = now_s  # this process was suspended itself, and so perhaps the worker
        silent_s = now_s - self._heard_s
        if silent_s > self._patience_s:
            self._timer = None
            self.kill(self._lost(f"gave no sign of life for {silent_s:.0f} s and was ended"))
        else:
            self._start_timer()


def make_room_for_log(log_path: Path) -> None:
    """Make the log's folder, and set a log aside that has grown too long."""
    log_path.parent.mkdir(parents=True, exist_ok=True)
    if log_path.exists() and log_path.stat().st_size > MAX_LOG_BYTES:
        log_path.replace(log_path.with_name(log_path.name + ".1"))
