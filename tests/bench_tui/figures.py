"""Take the figures of the screen: each function takes one, in a home folder of its own."""

from __future__ import annotations

import asyncio
import os
import random
import statistics
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import JsonValue

from luci_tui.bench.report import percentile
from luci_tui.chat.records import Message
from luci_tui.download.records import ItemState
from luci_tui.host.api.messages import JobState
from luci_tui.host.chat_client import HostChats
from luci_tui.host.client import HostClient
from luci_tui.host.download_client import HostDownloads
from luci_tui.host.lifecycle import Launcher, ensure_host, stop_host
from tests.bench_tui import homes
from tests.bench_tui.timed_terminal import LETTERS, TimedTerminal
from tests.support.hub_process import hub_process

SCREEN = ("-m", "luci_tui")
FRAME = "Type a request"
"""What an empty chat says; it is drawn with the rest of the first frame."""
N_DOWNLOADS = 10
DOWNLOAD_BYTES = 128 * 1024 * 1024
SSH_MAX_S = 8.0
"""The prompt is said back, a token for each character, and has to fit into the context."""
KEYS_AN_ANSWER = 20
"""Typed while one answer is streamed; a small model is soon at the end of its context."""
LIMIT_BYTES_PER_S = 20_000_000
"""Of all ten together, so that they last as long as the typing."""
PROMPT = "tell me what is in the folder"
CHAT: dict[str, object] = {"model": homes.MODEL_NAME, "parameters": {"max_tokens": 512}}
"""A chat whose answers are measured."""
ANSWER_S = 300.0
"""For such an answer on a machine that has much else to do, where the figure says nothing."""
PASTE = "\x1b[200~{}\x1b[201~"


@dataclass(frozen=True)
class Figure:
    """One figure beside its bar."""

    name: str
    unit: str
    value: float
    bar: float
    """Most that it may be."""
    detail: str = ""

    @property
    def is_met(self) -> bool:
        """Whether it is within its bar."""
        return self.value <= self.bar


@asynccontextmanager
async def host_at(home: Path, launcher: Launcher | None = None) -> AsyncGenerator[HostClient]:
    """Run a host for the time of the context."""
    client = await ensure_host(home, launcher)
    try:
        yield client
    finally:
        await client.close()
        await stop_host(home, drain_s=0, force=True)


@contextmanager
def screen_at(home: Path, *arguments: str, **env: str) -> Generator[TimedTerminal]:
    """Run the screen, past its first frame."""
    with TimedTerminal([*SCREEN, *arguments], homes.environment(home) | env) as terminal:
        terminal.until_shown(FRAME)
        yield terminal


# ---- starting and opening


async def first_frame(home: Path, rounds: int) -> Figure:
    """From the start of the program to its first frame, with many models and chats."""
    homes.add_models(home)
    homes.add_chats(home, homes.N_CHATS, 4)
    seconds: list[float] = []
    async with host_at(home):
        for _ in range(rounds):
            with TimedTerminal(SCREEN, homes.environment(home)) as terminal:
                seconds.append(terminal.until_shown(FRAME) - terminal.began_s)
    what = f"first frame, {homes.N_MODELS} models and {homes.N_CHATS} chats"
    return _figure(what, "ms", [one * 1000 for one in seconds], 600)


async def long_chat(home: Path, rounds: int) -> Figure:
    """From the first frame to the end of a long chat standing there, ready to be typed into."""
    chat_id = homes.add_chats(home, 1, homes.N_LONG)
    seconds: list[float] = []
    async with host_at(home):
        for _ in range(rounds):
            arguments = [*SCREEN, "--resume", chat_id]
            with TimedTerminal(arguments, homes.environment(home)) as terminal:
                began_s = terminal.until_shown(FRAME)
                seconds.append(terminal.until_shown(homes.LAST_WORDS) - began_s)
    name = f"a chat of {homes.N_LONG} messages opens"
    return _figure(name, "ms", [one * 1000 for one in seconds], 1000)


# ---- typing


async def echo_after_turns(home: Path, n_keys: int) -> Figure:
    """Typing into a chat of many turns."""
    chat_id = homes.add_chats(home, 1, 2 * homes.N_TURNS)
    async with host_at(home):
        with screen_at(home, "--resume", chat_id) as terminal:
            terminal.until_shown(homes.LAST_WORDS)
            terminal.pump(1.0)
            times = _typed(terminal, n_keys)
    return key_figure(f"typing echo after {homes.N_TURNS} turns", times)


async def echo_while_streaming(home: Path, cache: Path, n_keys: int) -> Figure:
    """Typing while a small model streams as fast as it can."""
    homes.add_bench_model(home, cache)
    async with host_at(home):
        with screen_at(home, "--model", homes.MODEL_NAME) as terminal:
            terminal.until_shown("ready")
            times: list[float] = []
            while len(times) < n_keys:
                had = len(terminal.output)
                _begin_answer(terminal)
                n_here = min(KEYS_AN_ANSWER, n_keys - len(times))
                times += _typed(terminal, n_here, until=partial(_is_over, terminal, had))
                terminal.send("\x1b")
                terminal.until(_says_over, had)
                had = len(terminal.output)
                terminal.send("\x0e")
                terminal.until_shown(FRAME, had)
    return key_figure("typing echo while a 56M model streams at full speed", times)


async def echo_while_busy(home: Path, cache: Path, n_keys: int) -> Figure:
    """Typing while ten downloads and a quantization run."""
    offered = home.parent / "offered"
    for number in range(N_DOWNLOADS):
        folder = offered / "org" / f"m{number}"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "model-Q4_K_M.gguf").open("wb") as file:
            file.truncate(DOWNLOAD_BYTES)
    homes.add_bench_model(home, cache)
    (home / "config.toml").write_text(f"[downloads]\nmax_parallel = {N_DOWNLOADS}\n")
    with hub_process(offered) as url:
        # The host asks the hub of its own environment, which is this one's.
        os.environ["HF_ENDPOINT"] = url
        async with host_at(home) as client:
            downloads = HostDownloads(client)
            await downloads.set_limit(LIMIT_BYTES_PER_S)
            for number in range(N_DOWNLOADS):
                await downloads.add(await downloads.plan(f"hf:org/m{number}", f"m{number}"))
            with screen_at(home) as terminal:
                terminal.until_shown("ready")
                quantizing = asyncio.create_task(_quantize_again(client, home))
                try:
                    times = await asyncio.to_thread(_typed, terminal, n_keys)
                    if quantizing.done():
                        quantizing.result()
                    jobs = [one for one in await client.jobs() if one.kind == "quantize"]
                finally:
                    quantizing.cancel()
                states = [one.state for one in (await downloads.list()).downloads]
                n_running = states.count(ItemState.RUNNING)
    n_made = sum(one.state is JobState.DONE for one in jobs)
    detail = (
        f"{n_running} of {N_DOWNLOADS} downloads still ran at the end, "
        f"{n_made} quantizations were done and {len(jobs) - n_made} went on"
    )
    return key_figure("typing echo during ten downloads and a quantization", times, detail)


def _typed(
    terminal: TimedTerminal, n_keys: int, until: Callable[[], bool] | None = None
) -> list[float]:
    """Type letters in a person's rhythm and give the milliseconds of each echo.

    Args:
        terminal: Where.
        n_keys: How many, at most.
        until: Says before each whether it is too late for it.
    """
    chance = random.Random(n_keys)
    times: list[float] = []
    for number in range(n_keys):
        if until is not None and until():
            break
        place = number % len(LETTERS)
        if number and place == 0:
            terminal.send("\x15")
            terminal.pump(0.3)
        times.append(terminal.echo_ms(LETTERS[place]))
        terminal.pump(chance.uniform(0.05, 0.15))
    terminal.send("\x15")
    terminal.pump(0.3)
    return times


def _is_over(terminal: TimedTerminal, had: int) -> bool:
    """Tell whether the answer that was begun after so many bytes is at its end."""
    return _says_over(bytes(terminal.output[had:]))


def _says_over(drawn: bytes) -> bool:
    return b"tok/s" in drawn or b"stopped by you" in drawn


def _begin_answer(terminal: TimedTerminal) -> None:
    had = len(terminal.output)
    terminal.send(f"{PROMPT}\r")
    terminal.until_shown("answering", had)


# ---- what it costs


async def engine_loss(home: Path, cache: Path, rounds: int) -> Figure:
    """How much slower a model decodes while the screen shows it than for a client alone."""
    homes.add_bench_model(home, cache)
    shares: list[float] = []
    async with host_at(home) as client:
        chats = HostChats(client)
        await _rate_alone(chats)  # loads the model
        before = await _rate_alone(chats)
        for _ in range(rounds):
            shown = await chats.create(CHAT)
            with screen_at(home, "--model", homes.MODEL_NAME, "--resume", shown.id) as terminal:
                terminal.until_shown("ready")
                terminal.pump(0.5)
                had = len(terminal.output)
                terminal.send(f"{PROMPT}\r")
                terminal.until_shown("tok/s", had, ANSWER_S)
            # The speed of a virtual machine drifts, so the screen stands between two without it.
            after = await _rate_alone(chats)
            alone = (before + after) / 2
            shares.append(100 * (1 - _rate(await _last(chats, shown.id)) / alone))
            before = after
    return _figure("decode rate lost while the screen streams", "%", shares, 5)


async def idle(home: Path, for_s: float) -> tuple[Figure, Figure]:
    """What the screen takes while nobody does anything."""
    async with host_at(home):
        with screen_at(home) as terminal:
            terminal.until_shown("ready")
            terminal.pump(2.0)
            cpu_s = terminal.cpu_s()
            n_bytes = terminal.pump(for_s)
            percent = 100 * (terminal.cpu_s() - cpu_s) / for_s
    return (
        Figure("idle: processor", "% of one core", percent, 1.0),
        Figure("idle: to the terminal", "KiB/s", n_bytes / 1024 / for_s, 0.1),
    )


async def streaming_over_ssh(home: Path, for_s: float) -> Figure:
    """What goes through the network while 50 words a second are streamed."""
    for_s = min(for_s, SSH_MAX_S)
    paced = Launcher(command=(sys.executable, "-m", "tests.bench_tui.paced_host"))
    async with host_at(home, paced):
        ssh = {"SSH_CONNECTION": "192.0.2.1 50000 192.0.2.2 22", "SSH_TTY": "/dev/pts/9"}
        with screen_at(home, **ssh) as terminal:
            terminal.until_shown("ready")
            text = homes.prose(int(60 * for_s))
            had = len(terminal.output)
            terminal.send(PASTE.format(text))
            terminal.pump(1.0)
            terminal.send("\r")
            terminal.until_shown("answering", had)
            n_bytes = terminal.pump(for_s)
    rate = n_bytes / 1024 / for_s
    return Figure("streaming 50 words/s over SSH", "KiB/s", rate, 65, f"over {for_s:g} s")


async def _rate_alone(chats: HostChats) -> float:
    session = await chats.create(CHAT)
    async for _ in chats.send(session.id, PROMPT, parent_id=None, options={}):
        pass
    return _rate(await _last(chats, session.id))


async def _last(chats: HostChats, chat_id: str) -> Message:
    return (await chats.get(chat_id)).messages[-1]


def _rate(message: Message) -> float:
    """Return tokens per second of an answer, as the engine saw them."""
    assert message.usage is not None
    assert message.timings is not None
    return 1000 * (message.usage.completion_tokens - 1) / message.timings.decode_ms


async def _quantize_again(client: HostClient, home: Path) -> None:
    """Quantize without end; whoever wants no more cancels it."""
    source = str(home / "models" / f"{homes.MODEL_NAME}.gguf")
    output = home / "smaller.gguf"
    spec: dict[str, JsonValue] = {
        "source": source,
        "outputs": [{"path": str(output), "type": "Q4_K_M"}],
        "allow_requantize": True,
    }
    while True:
        job = await client.start_job("quantize", spec)
        async for _ in client.job_events(job.id):
            pass
        ended = await client.job(job.id)
        if ended.state is not JobState.DONE:
            msg = f"The quantization {ended.state}: {ended.error}."
            raise RuntimeError(msg)
        output.unlink()


# ---- summing up


def _figure(name: str, unit: str, values: list[float], bar: float) -> Figure:
    spread = f"{min(values):.1f} to {max(values):.1f} in {len(values)} rounds"
    return Figure(name, unit, statistics.median(values), bar, spread)


def key_figure(name: str, times: list[float], detail: str = "", bar: float = 30) -> Figure:
    """Sum up milliseconds from keys to what they change."""
    words = f"median {statistics.median(times):.1f}, most {max(times):.1f}, {len(times)} keys"
    value = percentile(times, 99)
    return Figure(f"{name}, p99", "ms", value, bar, f"{words}{'; ' if detail else ''}{detail}")
