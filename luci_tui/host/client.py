"""HostClient: how front ends talk to the host, over its unix socket.

A client belongs to one event loop. Every failure is a LuciError: what the host says comes back as
the error it was there, and a host that is gone is a HostError with the code "unreachable",
one that says nothing any more has the code "silent".
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from pydantic import BaseModel, JsonValue, ValidationError

from luci_tui.errors import HostError
from luci_tui.host.api import messages
from luci_tui.host.sse_reader import ServerEvent, read_events
from luci_tui.host.unix_http import Answer, StreamedAnswer, UnixHttp

ANSWER_S = 60.0
"""Longest wait for an answer that is no stream."""
SILENCE_S = 3 * messages.HEARTBEAT_S
"""A stream that brings nothing for so long, not even a heartbeat, is dead."""
N_RECONNECTS = 3
"""Tries to go on with a numbered stream that broke, without an event in between."""
RECONNECT_PAUSE_S = 0.1

M = TypeVar("M", bound=BaseModel)


class HostClient:
    """One front end's way to the host.

    Args:
        socket: Where the host listens.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.notices: list[str] = []
        """What the person should be told about how this host was found."""
        self._http = UnixHttp(socket)

    async def close(self) -> None:
        """Close the connections; streams that are read end."""
        self._http.close()

    # The host itself.

    async def hello(self) -> messages.Hello:
        """Ask who answers."""
        return await self.get("/luci/hello", messages.Hello)

    async def status(self) -> messages.HostStatus:
        """Ask how the host stands."""
        return await self.get("/luci/status", messages.HostStatus)

    async def metrics(self) -> messages.HostMetrics:
        """Ask for figures of the host process."""
        return await self.get("/luci/metrics", messages.HostMetrics)

    async def settings(self) -> messages.SettingsInUse | None:
        """Ask for the settings that the host started with; None = it is too old to say."""
        try:
            return await self.get("/luci/settings", messages.SettingsInUse)
        except HostError as error:
            if error.code == "no_route":
                return None
            raise

    async def stop(self, drain_s: float | None = None) -> messages.Hello:
        """Ask the host to leave; it still runs when this returns."""
        return await self.post("/luci/stop", messages.Stop(drain_s=drain_s), messages.Hello)

    def events(self, after: int = 0) -> AsyncGenerator[ServerEvent]:
        """Be attached: the events of the host as a whole. It does not leave meanwhile."""
        return self.follow("/luci/events", after)

    # Models.

    async def models(self) -> messages.Models:
        """List what may be asked for and what is in memory."""
        return await self.get("/luci/models", messages.Models)

    async def load_model(self, name: str) -> messages.JobRecord:
        """Begin to load a model; the job ends when it is ready."""
        return await self.post(
            "/luci/models/load", messages.ModelName(name=name), messages.JobRecord
        )

    async def unload_model(self, name: str, *, force: bool = False) -> None:
        """Take a model out of memory."""
        await self.request(
            "POST", "/luci/models/unload", messages.ModelName(name=name, force=force)
        )

    async def model_parameters(self, name: str) -> messages.ModelParameters:
        """Ask how a model is asked, and who says so."""
        path = f"/luci/models/parameters?name={quote(name, safe='')}"
        return await self.get(path, messages.ModelParameters)

    async def change_model_parameters(
        self, wanted: messages.ChangeModelParameters
    ) -> messages.ModelParameters:
        """Set parameters of a model, for all who ask it from now on."""
        answer = await self.request("PATCH", "/luci/models/parameters", wanted)
        return _parse(answer, messages.ModelParameters)

    # The HTTP API on a port.

    async def serving(self) -> messages.Serving | None:
        """Ask where the HTTP API listens; None = nowhere."""
        return (await self.get("/luci/serve", messages.ServeState)).serving

    async def start_serving(self, wanted: messages.StartServing) -> messages.Serving:
        """Let the HTTP API listen."""
        state = await self.post("/luci/serve", wanted, messages.ServeState)
        if state.serving is None:
            msg = "The host does not say where it serves. Restart it with `luci host restart`."
            raise HostError(msg, code="broken_peer")
        return state.serving

    async def stop_serving(self) -> messages.Serving | None:
        """End the HTTP API; gives where it listened, None = nowhere."""
        return _parse(await self.request("DELETE", "/luci/serve"), messages.ServeState).serving

    # Jobs.

    async def jobs(self) -> tuple[messages.JobRecord, ...]:
        """List the jobs, the youngest first."""
        return (await self.get("/luci/jobs", messages.Jobs)).jobs

    async def job(self, job_id: str) -> messages.JobRecord:
        """Ask how a job stands."""
        return await self.get(f"/luci/jobs/{_part(job_id)}", messages.JobRecord)

    async def start_job(self, kind: str, spec: Mapping[str, JsonValue]) -> messages.JobRecord:
        """Begin a job; paths in the specification are absolute."""
        wanted = messages.StartJob(kind=kind, spec=dict(spec))
        return await self.post("/luci/jobs", wanted, messages.JobRecord)

    async def cancel_job(self, job_id: str) -> messages.JobRecord:
        """End a job and return how it ended."""
        path = f"/luci/jobs/{_part(job_id)}/cancel"
        return await self.post(path, None, messages.JobRecord)

    async def resume_job(self, job_id: str) -> messages.JobRecord:
        """Begin an ended job again and return the record of the new one."""
        path = f"/luci/jobs/{_part(job_id)}/resume"
        return await self.post(path, None, messages.JobRecord)

    async def job_events(self, job_id: str, after: int = 0) -> AsyncGenerator[messages.JobEvent]:
        """Follow a job to its end; the last event is the JobChanged that says how it ended."""
        async with aclosing(self.follow(f"/luci/jobs/{_part(job_id)}/events", after)) as events:
            async for event in events:
                yield messages.job_event_adapter.validate_json(event.data)

    # Chat turns; chats themselves are in chat_client.py.

    async def start_turn(self, chat_id: str, turn: messages.StartTurn) -> str:
        """Send a message and return the id of the turn; the message is on disk then."""
        path = f"/luci/chats/{_part(chat_id)}/turns"
        return (await self.post(path, turn, messages.TurnOpened)).turn_id

    async def cancel_turn(self, turn_id: str) -> None:
        """End a turn; what it said so far is stored when this returns."""
        await self.request("POST", f"/luci/turns/{_part(turn_id)}/cancel")

    def turn_events(self, turn_id: str, after: int = 0) -> AsyncGenerator[ServerEvent]:
        """Follow a turn to its end, across connections that break; `data` is a TurnEvent."""
        return self.follow(f"/luci/turns/{_part(turn_id)}/events", after)

    # The wire.

    async def get(self, path: str, wanted: type[M]) -> M:
        """Ask for one model."""
        return _parse(await self.request("GET", path), wanted)

    async def post(
        self, path: str, body: BaseModel | None, wanted: type[M], answer_s: float = ANSWER_S
    ) -> M:
        """Send a model and get one back within `answer_s`."""
        return _parse(await self.request("POST", path, body, answer_s), wanted)

    async def request(
        self,
        method: str,
        path: str,
        body: BaseModel | bytes | None = None,
        answer_s: float = ANSWER_S,
    ) -> Answer:
        """Send one request and return its answer, which is a success.

        Raises:
            LuciError: what the host answered instead, or that it is not there.
        """
        content = body.model_dump_json().encode() if isinstance(body, BaseModel) else body
        try:
            answer = await self._http.request(method, path, content, answer_s)
        except OSError as error:
            raise self._unreachable(error) from error
        _check(answer)
        return answer

    async def stream(self, method: str, path: str, body: BaseModel) -> AsyncGenerator[ServerEvent]:
        """Send a request whose answer is a stream; an error in it is raised.

        Raises:
            LuciError: what the host answered instead, or that it is not there any more.
        """
        async with self._open(method, path, body) as events:
            async for event in events:
                yield event

    async def follow(self, path: str, after: int = 0) -> AsyncGenerator[ServerEvent]:
        """Read a numbered stream to its end; where the connection breaks, go on after the last.

        Raises:
            LuciError: what the host answered instead, or that it is not there any more.
        """
        n_tries = 0
        while True:
            try:
                async with self._open("GET", f"{path}?after={after}", None) as events:
                    async for event in events:
                        n_tries = 0
                        after = event.seq or after
                        yield event
                    return
            except HostError as error:
                n_tries += 1
                is_lost = error.code == "unreachable" and not self._http.is_closed
                if not is_lost or n_tries > N_RECONNECTS:
                    raise
            await asyncio.sleep(RECONNECT_PAUSE_S)

    @asynccontextmanager
    async def _open(
        self, method: str, path: str, body: BaseModel | None
    ) -> AsyncGenerator[AsyncIterator[ServerEvent]]:
        content = body.model_dump_json().encode() if body is not None else None
        try:
            async with self._http.stream(method, path, content, SILENCE_S) as answer:
                if answer.status >= 400:
                    _check(await answer.whole())
                yield _successes(answer)
        except OSError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: OSError) -> HostError:
        reason = str(error) or type(error).__name__
        if isinstance(error, TimeoutError):
            return HostError(
                f"The host behind {self.socket} is silent ({reason}). It may be stopped or hang: "
                "`luci host stop --force` ends it.",
                code="silent",
            )
        return HostError(
            f"The host behind {self.socket} does not answer ({reason}). "
            "`luci host status` says whether it runs.",
            code="unreachable",
        )


async def _successes(answer: StreamedAnswer) -> AsyncIterator[ServerEvent]:
    async for event in read_events(answer.pieces()):
        if event.kind == "error":
            raise messages.to_error(messages.ErrorBody.model_validate_json(event.data))
        yield event


def _check(answer: Answer) -> None:
    """Raise the error that the host answered with."""
    if answer.status < 400:
        return
    try:
        body = messages.ErrorAnswer.model_validate_json(answer.content)
    except ValidationError as error:
        words = answer.content[:200].decode(errors="replace").strip() or "no words"
        msg = f"The host answered with status {answer.status}: {words}. Restart the host."
        raise HostError(msg, code="broken_peer") from error
    raise messages.to_error(body.error)


def _parse(answer: Answer, wanted: type[M]) -> M:
    try:
        return wanted.model_validate_json(answer.content)
    except ValidationError as error:
        raise HostError(
            f"The host's answer is no {wanted.__name__}, so host and client are of different "
            "versions. Run `luci host restart`.",
            code="broken_peer",
        ) from error


def _part(text: str) -> str:
    """Make a part of a path of an id that somebody typed."""
    return quote(text, safe="") or "-"
