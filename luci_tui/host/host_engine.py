"""HostEngine: an EngineClient whose engine lives in the host, for as long as it is held here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress

from pydantic import TypeAdapter

from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import HostError, LuciError, ModelLoadError, WorkerLostError
from luci_tui.host.api.messages import EngineCall, EngineOpened, Notice, OpenEngine
from luci_tui.host.client import HostClient
from luci_tui.host.sse_reader import ServerEvent

CLOSE_S = 5.0
"""Time for the host to let an engine go; the connection is cut after it, to the same effect."""

_OpenEvent = Notice | frames.LoadProgress | EngineOpened
_open_adapter: TypeAdapter[_OpenEvent] = TypeAdapter(_OpenEvent)


class _Hold:
    """The stream that keeps an engine in the host; the engine goes when the stream does."""

    def __init__(self, client: HostClient, wanted: OpenEngine) -> None:
        self.engine_id = ""
        """Empty = it is not open yet."""
        self.error: LuciError | None = None
        """Why the engine is gone; None while it is there, or was closed on purpose."""
        self._client = client
        self._events: asyncio.Queue[_OpenEvent] = asyncio.Queue(maxsize=64)
        self._task = asyncio.create_task(self._read(wanted), name="held engine")

    async def _read(self, wanted: OpenEngine) -> None:
        try:
            async with aclosing(self._client.stream("POST", "/luci/engines", wanted)) as events:
                async for event in events:
                    await self._events.put(_open_adapter.validate_json(event.data))
            self.error = WorkerLostError("The host has let the engine go. Load it again.")
        except HostError as error:
            self.error = WorkerLostError(error.message, code=error.code)
        except LuciError as error:
            self.error = error

    async def take(self) -> _OpenEvent:
        """Return the next thing that happens while the engine is made ready.

        Raises:
            LuciError: it cannot be made ready.
        """
        taking = asyncio.create_task(self._events.get())
        try:
            await asyncio.wait({taking, self._task}, return_when=asyncio.FIRST_COMPLETED)
            if taking.done():
                return taking.result()
            if not self._events.empty():
                return self._events.get_nowait()
        finally:
            taking.cancel()
        raise self.error or ModelLoadError("The host opened no engine. Try again.")

    async def close(self) -> None:
        """Let the engine go; what runs on it ends as cancelled."""
        if self.engine_id and not self._task.done():
            with suppress(LuciError):  # a host that is gone has let it go
                await self._client.request("DELETE", f"/luci/engines/{self.engine_id}")
            await asyncio.wait([self._task], timeout=CLOSE_S)
        self._task.cancel()
        await asyncio.wait([self._task])


class HostEngine:
    """One engine in the host at a time; see `EngineClient` for the contract.

    Args:
        client: The way to the host; it stays open when the engine is closed.
        model: Name of a model of the host, which others may use as well; empty = an engine of
            one's own, loaded as the LoadSpec says.
        on_notice: Told what happens while a model is made ready.
    """

    def __init__(
        self,
        client: HostClient,
        model: str = "",
        on_notice: Callable[[Notice], None] | None = None,
    ) -> None:
        self._client = client
        self._model = model
        self._on_notice = on_notice
        self._hold: _Hold | None = None

    async def load(self, spec: LoadSpec) -> AsyncGenerator[frames.LoadProgress | frames.Loaded]:
        """Have an engine made ready in the host; see `EngineClient.load`."""
        await self.close()
        wanted = OpenEngine(model=self._model) if self._model else OpenEngine(spec=spec)
        hold = _Hold(self._client, wanted)
        request_id = 0
        try:
            while not isinstance(event := await hold.take(), EngineOpened):
                if isinstance(event, frames.LoadProgress):
                    request_id = event.request_id
                    yield event
                elif self._on_notice is not None:
                    self._on_notice(event)
            hold.engine_id = event.engine_id
            self._hold = hold
        finally:
            if self._hold is not hold:
                await hold.close()
        yield frames.Loaded(request_id=request_id, info=event.info)

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        """Stream one answer; see `EngineClient.generate`."""
        done: frames.Done | None = None
        async with aclosing(self._call("/luci/generate", request)) as events:
            # It is read to its very end, so that the connection serves the next request as well.
            async for event in events:
                found = frames.event_adapter.validate_json(event.data)
                if isinstance(found, frames.Delta | frames.PromptProgress):
                    yield found
                elif isinstance(found, frames.Done):
                    done = found
        if done is None:
            msg = "The host ended the answer without saying why. Try again."
            raise WorkerLostError(msg)
        yield done

    async def ask(self, command: frames.Command) -> frames.Event:
        """Send a command with a single answer; see `EngineClient.ask`."""
        if isinstance(command, frames.Generate | frames.Load | frames.Shutdown):
            msg = f"{command.kind} has a method of its own"
            raise ValueError(msg)
        answer: frames.Event | None = None
        async with aclosing(self._call("/luci/ask", command)) as events:
            async for event in events:
                answer = frames.event_adapter.validate_json(event.data)
        if answer is None:
            msg = "The host ended the request without an answer. Try again."
            raise WorkerLostError(msg)
        return answer

    async def close(self) -> None:
        """Let the engine go; see `EngineClient.close`."""
        hold, self._hold = self._hold, None
        if hold is not None:
            await hold.close()

    async def _call(self, path: str, command: frames.Command) -> AsyncGenerator[ServerEvent]:
        hold = self._hold
        if hold is None:
            msg = f"No model is loaded in this engine (host {self._client.socket}). Load one first."
            raise ModelLoadError(msg, code="not_loaded")
        if hold.error is not None:
            raise WorkerLostError(hold.error.message, code=hold.error.code)
        call = EngineCall(engine_id=hold.engine_id, command=command)
        try:
            async with aclosing(self._client.stream("POST", path, call)) as events:
                async for event in events:
                    if event.kind != "notice":
                        yield event
        except HostError as error:
            raise WorkerLostError(error.message, code=error.code) from error
