"""Crash the worker of one model under load, again and again, in a whole host that others use.

`python -m tests.support.worker_crashes FOLDER N SEED PARALLEL` prints one JSON object. The host is
started as a front end starts it; clients stream over the port and over the socket. Another model's
clients must not notice anything.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final, cast

import httpx
import psutil

from luci_tui.chat.records import MessageState
from luci_tui.chat.turn_events import TurnDelta, TurnFailed, TurnStarted
from luci_tui.engine import frames
from luci_tui.errors import LuciError
from luci_tui.host.api.messages import EngineCall, EngineOpened, OpenEngine, StartServing
from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from luci_tui.host.lifecycle import Launcher, ensure_host, wait_gone
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.host_soak import key_of
from tests.support.process_figures import alive, children_of
from tests.support.tiny_vocab import CHATML_TEMPLATE

HOST: Final = Launcher(arguments=("--idle-exit-s", "120"))
SIGNALS: Final = (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT)
VICTIM: Final = "victim"
OTHER: Final = "other"
LONGEST_DELAY_S: Final = 0.3
"""A worker is ended within this time of the moment at which all clients have had text."""
LONGEST_WAIT_S: Final = 120.0
RETRY_S: Final = 0.02
N_CTX: Final = 32_768
"""An answer that fills it takes far longer than any worker lives here."""
LOST: Final = "worker_lost"

_TOML: Final = """
[[model]]
name = "victim"
path = "models/llama.gguf"
load = {{ n_ctx = {n_ctx}, n_slots = 4, n_threads = 1 }}

[[model]]
name = "other"
path = "models/qwen3.gguf"
load = {{ n_ctx = {n_ctx}, n_slots = 4, n_threads = 1 }}
"""
HELLO: Final = [{"role": "user", "content": "list the files"}]
ENDLESS: Final = {"model": VICTIM, "messages": HELLO, "ignore_eos": True}


@dataclass
class CrashReport:
    """What was found after all crashes."""

    n_crashes: int = 0
    by_signal: dict[str, int] = field(default_factory=dict[str, int])
    n_cut: int = 0
    """Requests that ran on the worker when it was ended."""
    n_wrong_ends: int = 0
    """Of them, those that did not end with the error `worker_lost`."""
    n_texts_lost: int = 0
    """Answers in chats whose stored text is not what had been streamed."""
    n_other_answers: int = 0
    """Answers of the other model meanwhile, in a chat, over the port and over the socket."""
    n_other_errors: int = 0
    n_restarts: int = 0
    """As the host counts them."""
    n_orphans: int = 0
    faults: list[str] = field(default_factory=list[str])
    """What was wrong, the first few."""
    back_s: list[float] = field(default_factory=list[float])
    """From the signal to the end of the next answer, less the time of the load in it."""
    load_s: list[float] = field(default_factory=list[float])
    """The load alone, as the worker measures it."""
    noticed_s: list[float] = field(default_factory=list[float])
    """From the signal until the process of the next worker was there."""
    worker_cpu_s: list[float] = field(default_factory=list[float])
    """Processor time that the next worker took until the answer, its load included; on a machine
    with a processor to spare it starts and answers in about this time."""
    starved: list[float] = field(default_factory=list[float])
    """Seconds that passed meanwhile for each second of processor time."""

    def add(self, other: CrashReport) -> None:
        """Sum up."""
        by_signal = Counter(self.by_signal) + Counter(other.by_signal)
        for name, value in asdict(other).items():
            if name != "by_signal":
                setattr(self, name, getattr(self, name) + value)
        self.by_signal = dict(by_signal)

    def fault(self, words: object) -> None:
        """Remember what was wrong."""
        if len(self.faults) < 20:
            self.faults.append(str(words)[:400])


class Crashes:
    """Crashes in one host."""

    def __init__(self, client: HostClient, http: httpx.AsyncClient, chance: Random) -> None:
        self.report = CrashReport()
        self._client = client
        self._http = http
        self._chance = chance
        self._n_talking = 0
        """Requests on the victim that have had text since the last crash."""

    async def run(self, n_crashes: int) -> None:
        """Crash the worker so often, with others at work all the time."""
        async with asyncio.TaskGroup() as group:
            others = [group.create_task(other) for other in self._others()]
            await self._answer_again(time.monotonic())
            self.report.back_s.clear()
            for _ in range(n_crashes):
                await self._crash_once()
            for other in others:
                other.cancel()
        status = next(one for one in (await self._client.models()).loaded if one.name == VICTIM)
        self.report.n_restarts = status.n_restarts

    async def _crash_once(self) -> None:
        report, chance = self.report, self._chance
        pid = await self._pid()
        self._n_talking = 0
        kinds: list[Callable[[], Awaitable[None]]] = [self._stream, self._turn, self._generate]
        wanted = [*kinds, chance.choice(kinds)]
        cut = [asyncio.create_task(self._cut(kind)) for kind in wanted]
        await _until(lambda: self._n_talking == len(wanted) or any(one.done() for one in cut))
        await asyncio.sleep(chance.uniform(0.0, LONGEST_DELAY_S))
        number = chance.choice(SIGNALS)
        os.kill(pid, number)
        crashed_s = time.monotonic()
        crashed_at = time.time()
        report.n_crashes += 1
        report.by_signal[number.name] = report.by_signal.get(number.name, 0) + 1
        load_s, answered_s = await self._answer_again(crashed_s)
        self._measure_worker(await self._pid(), crashed_at, crashed_at + answered_s - crashed_s)
        report.load_s.append(round(load_s, 3))
        async with asyncio.timeout(LONGEST_WAIT_S):
            await asyncio.gather(*cut)

    async def _answer_again(self, crashed_s: float) -> tuple[float, float]:
        """Ask until there is an answer; gives how long the load took, and when it was there."""
        body = {"model": VICTIM, "messages": HELLO, "max_tokens": 2}
        while True:
            answer = await self._http.post("/v1/chat/completions", json=body)
            if answer.status_code == 200:
                break
            if answer.json()["error"]["code"] != LOST or time.monotonic() > crashed_s + 120:
                self.report.fault(f"no answer after a crash: {answer.text}")
                self.report.n_wrong_ends += 1
                break
            await asyncio.sleep(RETRY_S)
        answered_s = time.monotonic()
        load_s = await self._load_s()
        self.report.back_s.append(round(answered_s - crashed_s - load_s, 3))
        return load_s, answered_s

    async def _load_s(self) -> float:
        wanted = OpenEngine(model=VICTIM)
        async with aclosing(self._client.stream("POST", "/luci/engines", wanted)) as events:
            async for event in events:
                if event.kind == "engine_opened":
                    return EngineOpened.model_validate_json(event.data).info.load_s
        msg = "the host opened no engine"
        raise RuntimeError(msg)

    def _measure_worker(self, pid: int, crashed_at: float, answered_at: float) -> None:
        process = psutil.Process(pid)
        # The kernel's clock of starts is a hundredth of a second coarse.
        noticed_s = max(0.0, process.create_time() - crashed_at)
        times = process.cpu_times()
        self.report.noticed_s.append(round(noticed_s, 3))
        lived_s, cpu_s = answered_at - crashed_at - noticed_s, times.user + times.system
        self.report.worker_cpu_s.append(round(cpu_s, 2))
        self.report.starved.append(round(lived_s / max(0.01, cpu_s), 1))

    async def _pid(self) -> int:
        loaded = (await self._client.models()).loaded
        return next(one.pids[0] for one in loaded if one.name == VICTIM)

    # Requests on the worker that is going to be ended.

    async def _cut(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Run one request to its end, which is to be the loss of the worker."""
        self.report.n_cut += 1
        try:
            await ask()
        except LuciError as error:
            code, words = error.code, error.message
        else:
            code, words = "", "it ended as if nothing had happened"
        if code != LOST:
            self.report.n_wrong_ends += 1
            self.report.fault(f"{ask.__name__}: {code} {words}")

    async def _stream(self) -> None:
        error: dict[str, str] | None = None
        n_events = 0
        async with self._http.stream(
            "POST", "/v1/chat/completions", json={**ENDLESS, "stream": True}
        ) as answer:
            async for line in answer.aiter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                event = cast("dict[str, Any]", json.loads(line.removeprefix("data: ")))
                error = event.get("error")
                n_events += 1
                # The first one only names the role.
                self._n_talking += n_events == 2
        if error is not None:
            raise LuciError(error["message"], code=error["code"])

    async def _generate(self) -> None:
        sampling = frames.SamplingParams(ignore_eos=True)
        command = frames.Generate(request_id=0, prompt="the files", sampling=sampling)
        call = EngineCall(model=VICTIM, command=command)
        is_talking = False
        async with aclosing(self._client.stream("POST", "/luci/generate", call)) as events:
            async for event in events:
                if event.kind == "delta" and not is_talking:
                    is_talking = True
                    self._n_talking += 1

    async def _turn(self) -> None:
        chats = HostChats(self._client)
        parameters = {"sampling": {"ignore_eos": True}}
        chat = await chats.create({"model": VICTIM, "parameters": parameters})
        said, reply_id, end = "", "", None
        turn = chats.send(chat.id, "show the files", parent_id=None, options={})
        async with aclosing(turn) as events:
            async for event in events:
                end = event
                if isinstance(event, TurnStarted):
                    reply_id = event.reply_id
                elif isinstance(event, TurnDelta):
                    self._n_talking += not said
                    said += event.text
        kept = next(one for one in await chats.messages(chat.id) if one.id == reply_id)
        if kept.text != said or kept.state is not MessageState.FAILED:
            self.report.n_texts_lost += 1
            self.report.fault(f"{kept.state}: {len(kept.text)} of {len(said)} letters are stored")
        await chats.delete(chat.id)
        if isinstance(end, TurnFailed):
            raise LuciError(end.message, code=end.code)

    # Requests that must not notice.

    def _others(self) -> list[Any]:
        return [self._go_on(ask) for ask in (self._other_stream, self._other_turn, self._look)]

    async def _go_on(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Do one thing after the other until the crashes are over."""
        while True:
            try:
                await ask()
                self.report.n_other_answers += 1
            except (LuciError, httpx.HTTPError, AssertionError) as error:
                self.report.n_other_errors += 1
                self.report.fault(f"{ask.__name__}: {error!r}")
            await asyncio.sleep(RETRY_S)

    async def _other_stream(self) -> None:
        body = {**ENDLESS, "model": OTHER, "max_tokens": 40, "stream": True}
        text = ""
        async with self._http.stream("POST", "/v1/chat/completions", json=body) as answer:
            assert answer.status_code == 200, answer.status_code
            async for line in answer.aiter_lines():
                text = line or text
        assert text == "data: [DONE]", text

    async def _other_turn(self) -> None:
        chats = HostChats(self._client)
        chat = await chats.create({"model": OTHER, "parameters": {"max_tokens": 40}})
        turn = chats.send(chat.id, "show the files", parent_id=None, options={})
        async with aclosing(turn) as events:
            ends = [event async for event in events]
        assert ends[-1].kind == "turn_done", ends[-1]
        await chats.delete(chat.id)

    async def _look(self) -> None:
        await self._client.status()
        assert (await self._http.get("/v1/models")).status_code == 200


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LONGEST_WAIT_S):
        # What is waited for happens in other processes.
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


@asynccontextmanager
async def _host(home: Path) -> AsyncGenerator[tuple[HostClient, httpx.AsyncClient]]:
    """Write the models, start the host and its port, and end it in order."""
    (home / "models").mkdir(parents=True)
    for arch in (TinyArch.LLAMA, TinyArch.QWEN3):
        path = home / "models" / f"{arch.value}.gguf"
        write_arch_model(arch, path, chat_template=CHATML_TEMPLATE, n_ctx_train=N_CTX)
    (home / "models.toml").write_text(_TOML.format(n_ctx=N_CTX), encoding="utf-8")
    client = await ensure_host(home, HOST)
    pid = (await client.hello()).pid
    try:
        serving = await client.start_serving(StartServing(port=0))
        async with httpx.AsyncClient(
            base_url=serving.url.removesuffix("/v1"),
            headers={"authorization": f"Bearer {key_of(serving)}"},
            timeout=LONGEST_WAIT_S,
            trust_env=False,
        ) as http:
            yield client, http
    finally:
        await client.stop(drain_s=0)
        await client.close()
        await wait_gone(pid, 60)


async def crash(home: Path, n_crashes: int, seed: int) -> CrashReport:
    """Crash the workers of one host."""
    async with _host(home) as (client, http):
        crashes = Crashes(client, http, Random(seed))
        pid = (await client.hello()).pid
        await crashes.run(n_crashes)
        assert (await client.hello()).pid == pid
        workers = children_of(pid)
    crashes.report.n_orphans = len(alive(workers))
    return crashes.report


async def crash_in_parallel(
    folder: Path, n_crashes: int, seed: int, n_parallel: int
) -> CrashReport:
    """Share the crashes among several hosts, each with a process of clients."""
    if n_parallel == 1:
        return await crash(folder / "home", n_crashes, seed)
    shares = [len(range(index, n_crashes, n_parallel)) for index in range(n_parallel)]
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.worker_crashes"),
            *(str(folder / f"{index}"), str(share), str(seed + index), "1"),
            stdout=asyncio.subprocess.PIPE,
        )
        for index, share in enumerate(shares)
    ]
    total = CrashReport()
    for index, process in enumerate(processes):
        out, _ = await process.communicate()
        if process.returncode:
            msg = f"share {index} ended with {process.returncode}"
            raise RuntimeError(msg)
        total.add(CrashReport(**json.loads(out)))
    return total


if __name__ == "__main__":
    where, n, first_seed, parallel = sys.argv[1:]
    outcome = asyncio.run(crash_in_parallel(Path(where), int(n), int(first_seed), int(parallel)))
    sys.stdout.write(json.dumps(asdict(outcome)) + "\n")
