"""The engine loop inside a worker process: commands in, events out, one model.

The main thread owns the engine. A reader takes commands off the pipe and interrupts the engine
for them, a beater says once a second that the worker lives while it has work, and during a load a
watcher reports how far it is. An idle worker waits in a queue and costs nothing.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Final, NoReturn

import psutil
from pydantic import ValidationError

from luci_tui.engine import frames, native, native_validate, wire
from luci_tui.engine.frame import Frame
from luci_tui.errors import EngineError, ModelLoadError
from luci_tui.scheduling import wake_soon

EXIT_OK: Final = 0
EXIT_PARENT_GONE: Final = 70
EXIT_BROKEN_PEER: Final = 71
EXIT_THREAD_DIED: Final = 72

RUN_MS: Final = 100.0
"""Longest run of the engine between two looks at the queue; a command ends it sooner."""
HEARTBEAT_S: Final = 1.0
LOAD_POLL_S: Final = 0.1
MAX_QUEUED_COMMANDS: Final = 1024
"""When this many wait, the reader stops reading, and the pipe makes the sender wait."""

_READ_BYTES: Final = 1 << 16
_LOG_LEVELS: Final = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}

logger = logging.getLogger(__name__)


def leave(exit_code: int) -> NoReturn:
    """End the process at once, from any thread, without waiting for a decode."""
    logging.shutdown()
    os._exit(exit_code)


class EventPipe:
    """The way out: whole frames only, from any thread."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def send(self, *payloads: bytes) -> None:
        """Write all payloads with as few system calls as the pipe allows.

        Raises:
            BrokenFrameError: one of them is too long; none is sent.
        """
        view = memoryview(b"".join([wire.encode(payload) for payload in payloads]))
        with self._lock:
            while view:
                try:
                    view = view[os.write(self._fd, view) :]
                except BrokenPipeError:
                    leave(EXIT_PARENT_GONE)

    def send_frame(self, frame: Frame) -> None:
        """Write one frame."""
        self.send(frame.model_dump_json().encode())

    def fail(self, request_id: int, error: EngineError) -> None:
        """Answer one request with the reason why it failed."""
        self.send_frame(
            frames.Failed(request_id=request_id, code=error.code, message=error.message)
        )


class EngineLoop:
    """Carries out commands on one engine until it is told to leave."""

    def __init__(self, commands_fd: int, events: EventPipe) -> None:
        self._commands_fd = commands_fd
        self._events = events
        self._commands: queue.Queue[frames.Command] = queue.Queue(MAX_QUEUED_COMMANDS)
        self._core: native.Core | None = None
        self._loading: tuple[int, native.LoadMonitor] | None = None
        """The request id and the handle of the load that runs."""
        self._request_ids: dict[int, int] = {}
        """The client's id of each request by the core's."""
        self._native_ids: dict[int, int] = {}
        """The core's id of each request by the client's."""
        self._current_id: int | None = None
        """The command that the main thread carries out."""
        self._cancelled: set[int] = set()
        """Ids whose Cancel the reader has seen and the main thread has not."""
        self._is_leaving = False
        self._has_work = threading.Event()
        self._is_stepping = False
        self._beat = (0, 0)
        """(steps, active requests) as the main thread last saw them."""

    def serve(self) -> None:
        """Run until Shutdown. Belongs to the main thread."""
        for target in (self._read_commands, self._send_heartbeats):
            threading.Thread(target=target, name=target.__name__, daemon=True).start()
        while True:
            try:
                if self._serve_once():
                    return
            except Exception:
                logger.exception("the engine loop failed; its requests are given up")
                self._is_stepping = False
                self._fail_all()

    def _serve_once(self) -> bool:
        """Wait for a command if nothing runs, else step; True = Shutdown was answered."""
        wait = not self._request_ids
        if wait:
            self._has_work.clear()
        while True:
            try:
                command = self._commands.get(block=wait)
            except queue.Empty:
                break
            wait = False
            self._has_work.set()
            if isinstance(command, frames.Shutdown):
                self._shut_down(command)
                return True
            self._carry_out(command)
        if self._request_ids:
            self._step()
        return False

    def _step(self) -> None:
        core = self._loaded()
        self._is_stepping = True
        events = core.run(RUN_MS)
        self._is_stepping = False
        if events:
            self._deliver(core, events)
        elif not core.has_work():
            raise RuntimeError(f"the engine forgot the requests {list(self._native_ids)}")
        self._beat = core.counters()
        _drain_native_log()

    def _deliver(self, core: native.Core, events: native.Events) -> None:
        payloads: list[bytes] = []
        for event in events:
            request_id = self._request_ids.get(event.id)
            if request_id is None:
                continue
            payloads.append(core.event_payload(event, request_id))
            if event.kind in ("done", "failed"):
                del self._request_ids[event.id]
                del self._native_ids[request_id]
        if payloads:
            self._events.send(*payloads)

    def _carry_out(self, command: frames.Command) -> None:
        """Do one command; a failure of it is its answer."""
        self._current_id = command.request_id
        try:
            match command:
                case frames.Generate():
                    native_id = self._loaded().submit(command)
                    self._request_ids[native_id] = command.request_id
                    self._native_ids[command.request_id] = native_id
                case frames.Cancel():
                    self._cancelled.discard(command.request_id)
                    native_id = self._native_ids.get(command.request_id)
                    if native_id is not None:
                        self._loaded().cancel(native_id)
                case frames.Load():
                    self._load(command)
                case _:
                    self._events.send(self._answer(command))
        except EngineError as error:
            _drain_native_log()
            self._events.fail(command.request_id, error)
        self._current_id = None
        _drain_native_log()

    def _answer(self, command: frames.Command) -> bytes:
        """Carry out a command that has one answer, and return the payload of it."""
        core = self._loaded()
        match command:
            case frames.Embed():
                return core.embed(command)
            case frames.Rerank():
                return core.rerank(command)
            case frames.Tokenize():
                return core.tokenize(command)
            case frames.Detokenize():
                return core.detokenize(command)
            case frames.StateFile():
                return core.state_file(command)
            case frames.Bench():
                return self._bench(core, command).model_dump_json().encode()
            case _:
                rss_bytes = int(psutil.Process().memory_info().rss)
                return core.status(command.request_id, rss_bytes).model_dump_json().encode()

    def _loaded(self) -> native.Core:
        if self._core is None:
            raise ModelLoadError(
                f"Worker process {os.getpid()} has no model. Load one first.", code="not_loaded"
            )
        return self._core

    def _load(self, command: frames.Load) -> None:
        native.require_native()
        started = time.perf_counter()
        monitor = native.LoadMonitor()
        self._loading = (command.request_id, monitor)
        # Looked at after `_loading` is set: the reader does it the other way round.
        if command.request_id in self._cancelled or self._is_leaving:
            monitor.cancel()
        is_over = threading.Event()
        watcher = threading.Thread(
            target=self._report_load, args=(command.request_id, monitor, is_over), daemon=True
        )
        watcher.start()
        try:
            native_validate.require_valid_model(command.spec)
            core = native.Core(command.spec, monitor)
        finally:
            self._loading = None
            is_over.set()
            watcher.join()
        info = core.info(time.perf_counter() - started)
        self._core = core
        _drain_native_log()
        self._events.send_frame(frames.Loaded(request_id=command.request_id, info=info))

    def _report_load(
        self, request_id: int, monitor: native.LoadMonitor, is_over: threading.Event
    ) -> None:
        reported = -1.0
        while not is_over.wait(LOAD_POLL_S):
            _drain_native_log()
            fraction = min(1.0, max(0.0, monitor.fraction))
            if fraction > reported:
                reported = fraction
                self._events.send_frame(
                    frames.LoadProgress(request_id=request_id, fraction=fraction)
                )

    def _bench(self, core: native.Core, command: frames.Bench) -> frames.BenchResult:
        """Measure; a cancel takes effect between two repetitions."""
        rates: list[tuple[float, float]] = []
        for _ in range(command.repetitions):
            if command.request_id in self._cancelled or self._is_leaving:
                raise EngineError(f"Bench {command.request_id} was cancelled.", code="cancelled")
            rates.append(core.bench_once(command))
        return frames.BenchResult(
            request_id=command.request_id,
            prefill_tokens_per_s=tuple(prefill for prefill, _ in rates),
            decode_tokens_per_s=tuple(decode for _, decode in rates),
        )

    def _shut_down(self, command: frames.Shutdown) -> None:
        """Cancel what runs, let each request say so, and answer."""
        for native_id in self._request_ids:
            self._loaded().cancel(native_id)
        while self._request_ids:
            self._step()
        self._events.send_frame(frames.Acknowledged(request_id=command.request_id))

    def _fail_all(self) -> None:
        """Give up all requests after an error that nobody expected."""
        error = EngineError(
            f"The engine met an error that it does not know; the log of process {os.getpid()} has "
            "the traceback. Try again, and report it if it comes back.",
            code="internal",
        )
        request_ids = set(self._native_ids)
        if self._current_id is not None:
            request_ids.add(self._current_id)
        for native_id in self._request_ids:
            self._loaded().cancel(native_id)
        self._request_ids.clear()
        self._native_ids.clear()
        self._current_id = None
        for request_id in sorted(request_ids):
            self._events.fail(request_id, error)

    def _send_heartbeats(self) -> None:
        while True:
            self._has_work.wait()
            time.sleep(HEARTBEAT_S)
            if self._has_work.is_set():
                n_steps, n_active = self._beat
                self._events.send_frame(
                    frames.Heartbeat(
                        n_steps=n_steps, n_active=n_active, is_stepping=self._is_stepping
                    )
                )

    def _read_commands(self) -> None:
        """Take commands off the pipe. When it closes, the host is gone, and so is the worker."""
        wake_soon()
        decoder = wire.FrameDecoder()
        parse: Callable[[bytes], frames.Command] = frames.command_adapter.validate_json
        while data := os.read(self._commands_fd, _READ_BYTES):
            try:
                for payload in decoder.feed(data):
                    self._receive(parse(payload))
            except wire.BrokenFrameError as error:
                logger.critical("%s", error.message)
                leave(EXIT_BROKEN_PEER)
            except ValidationError as error:
                logger.critical("a command is not valid: %s", _without_input(error))
                leave(EXIT_BROKEN_PEER)
        leave(EXIT_PARENT_GONE)

    def _receive(self, command: frames.Command) -> None:
        """Hand a command to the main thread, and make it look. Belongs to the reader."""
        if isinstance(command, frames.Cancel):
            self._cancelled.add(command.request_id)
        elif isinstance(command, frames.Shutdown):
            self._is_leaving = True
        loading, core = self._loading, self._core
        if loading is not None and (self._is_leaving or loading[0] in self._cancelled):
            loading[1].cancel()
        self._commands.put(command)
        if core is not None:
            core.interrupt()


def _without_input(error: ValidationError) -> str:
    """Describe a bad frame without its text, which may be a private prompt."""
    return "; ".join(
        f"{'.'.join(str(part) for part in one['loc'])}: {one['type']}"
        for one in error.errors(include_input=False, include_url=False, include_context=False)
    )


def _drain_native_log() -> None:
    for level, text in native.take_log():
        logging.getLogger("llama.cpp").log(_LOG_LEVELS.get(level, logging.INFO), "%s", text)
