"""WorkerEngine: an EngineClient whose engine is a worker process.

Each `load` starts a process of its own, so a model leaves nothing behind in memory, and a worker
that crashed is replaced the same way.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncGenerator
from pathlib import Path

import psutil

from luci_tui.engine import frames, memory
from luci_tui.engine.child import Child, WorkerOptions
from luci_tui.engine.core_facts import ask_core
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import GgufError, ModelLoadError, RequestError, WorkerLostError
from luci_tui.gguf.header import GgufHeader, read_header

__all__ = ["WorkerEngine", "WorkerOptions"]

RPC_CONNECT_S = 5.0


class WorkerEngine:
    """One worker process at a time; see `EngineClient` for the contract."""

    def __init__(self, log_path: Path, options: WorkerOptions | None = None) -> None:
        """Make an engine without a model; no process is started before `load`.

        Args:
            log_path: Where the workers write what llama.cpp logs, and their last words.
            options: How workers are started and how much patience they get.
        """
        self._log_path = log_path
        self._options = options or WorkerOptions()
        self._request_ids = itertools.count(1)
        self._child: Child | None = None
        """The worker that has a model, or had one until it was lost."""
        self._loading: Child | None = None
        self._is_loading = False

    @property
    def pid(self) -> int | None:
        """Process id of the worker that has the model; None without one."""
        child = self._child
        return None if child is None or child.error is not None else child.pid

    @property
    def lost(self) -> WorkerLostError | None:
        """Why the worker that had the model ended; None = it lives, or there was none."""
        return None if self._child is None else self._child.error

    async def load(self, spec: LoadSpec) -> AsyncGenerator[frames.LoadProgress | frames.Loaded]:
        """Check the files, replace the worker and load; see `EngineClient.load`.

        A model that cannot be loaded for its file or its size leaves the one before in place.
        """
        if self._is_loading:
            msg = "load was called while another load runs"
            raise RuntimeError(msg)
        self._is_loading = True
        try:
            await self._check(spec)
            await self._stop_child()
            child = await Child.spawn(Path(spec.model_path).name, self._log_path, self._options)
            self._loading = child
            request_id = next(self._request_ids)
            mailbox = child.open_mailbox(request_id)
            try:
                await child.send(frames.Load(request_id=request_id, spec=spec))
                while not isinstance(event := await mailbox.take(), frames.Loaded):
                    if not isinstance(event, frames.LoadProgress):
                        error = _request_error(event)
                        raise ModelLoadError(error.message, code=error.code)
                    yield event
                self._child, self._loading = child, None
            finally:
                child.close_mailbox(request_id)
                if self._loading is not None:
                    self._loading = None
                    await child.stop()
        finally:
            self._is_loading = False
        # Last and outside: the one who stops iterating here leaves nothing open.
        yield event

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        """Stream one answer; see `EngineClient.generate`.

        Deltas that wait for a slow consumer are joined into one.
        """
        child = self._living()
        request_id = next(self._request_ids)
        mailbox = child.open_mailbox(request_id)
        try:
            await child.send(request.model_copy(update={"request_id": request_id}))
            while not isinstance(event := await mailbox.take(), frames.Done):
                if not isinstance(event, frames.Delta | frames.PromptProgress):
                    raise _request_error(event)
                yield event
        finally:
            child.close_mailbox(request_id)
        yield event

    async def ask(self, command: frames.Command) -> frames.Event:
        """Send a command with a single answer; see `EngineClient.ask`.

        Cancel is answered at once; the request it names ends with Done (CANCELLED).
        """
        child = self._living()
        if isinstance(command, frames.Cancel):
            child.post(command)
            return frames.Acknowledged(request_id=command.request_id)
        if isinstance(command, frames.Generate | frames.Load | frames.Shutdown):
            msg = f"{command.kind} has a method of its own"
            raise ValueError(msg)
        request_id = next(self._request_ids)
        mailbox = child.open_mailbox(request_id)
        try:
            await child.send(command.model_copy(update={"request_id": request_id}))
            event = await mailbox.take()
        finally:
            child.close_mailbox(request_id)
        if isinstance(event, frames.Failed):
            raise _request_error(event)
        return event

    async def close(self) -> None:
        """End the worker, gently if it lets us; see `EngineClient.close`."""
        if self._loading is not None:
            await self._loading.stop()
        await self._stop_child()

    async def _stop_child(self) -> None:
        if self._child is not None:
            await self._child.stop()
            self._child = None

    def _living(self) -> Child:
        child = self._child
        if child is None:
            raise ModelLoadError(
                f"No model is loaded in this engine (log {self._log_path}). Load one first.",
                code="not_loaded",
            )
        if child.error is not None:
            raise WorkerLostError(child.error.message, code=child.error.code)
        return child

    async def _check(self, spec: LoadSpec) -> None:
        """Refuse what can be refused without a worker."""
        header, available = await asyncio.to_thread(self._look, spec)
        if spec.rpc_servers:
            # What they can take is for the worker to ask them.
            await asyncio.to_thread(_check_rpc_servers, spec.rpc_servers)
            return
        if not self._options.checks_memory:
            return
        if await asyncio.to_thread(memory.fits_surely, available, spec, header):
            return
        # Now it counts which weights the build would copy and whether it has a GPU; asking costs
        # the start of a process.
        facts = await ask_core(self._log_path)
        repacking = facts.repacking if facts else ()
        vram_bytes = sum(facts.free_vram_bytes) if facts else 0
        needed = await asyncio.to_thread(memory.estimate, header, spec, repacking)
        memory.check_fits(needed, available + vram_bytes, spec, header)

    def _look(self, spec: LoadSpec) -> tuple[GgufHeader, int]:
        """Read the model's header, and what memory there is. Blocks: runs in a thread."""
        path = Path(spec.model_path)
        others = [lora.path for lora in spec.loras] + [spec.draft_model_path, spec.mmproj_path]
        try:
            header = read_header(path)
            for other in filter(None, others):
                path = Path(other)
                read_header(path)
        except GgufError as error:
            raise ModelLoadError(error.message, code=error.code) from error
        except OSError as error:
            raise ModelLoadError(
                f"{path} cannot be read ({error.strerror}). Check its permissions and the disk.",
                code="unreadable_file",
            ) from error
        return header, memory.available_bytes() + self._replaced_bytes()

    def _replaced_bytes(self) -> int:
        """Give the bytes that become free when the present worker leaves."""
        pid = self.pid
        if pid is None:
            return 0
        try:
            used = psutil.Process(pid).memory_info()
        except psutil.Error:
            return 0
        # File pages of a mapped model count as available already.
        return int(used.rss) - int(getattr(used, "shared", 0))


def _check_rpc_servers(servers: tuple[str, ...]) -> None:
    """Refuse servers that cannot be reached; llama.cpp would abort the worker. Blocks."""
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), RPC_CONNECT_S).close()
        except (OSError, ValueError) as error:
            raise ModelLoadError(
                f"The RPC server {server} cannot be reached ({error}). "
                "Start llama.cpp's ggml-rpc-server there, or take it out of the model's rpc list.",
                code="rpc_unreachable",
            ) from error


def _request_error(event: frames.Event) -> RequestError:
    if isinstance(event, frames.Failed):
        return RequestError(event.message, code=event.code)
    return RequestError(
        f"The worker answered with {event.kind}, which does not belong here. "
        "Host and worker are of different versions; install luci again.",
        code="broken_peer",
    )
