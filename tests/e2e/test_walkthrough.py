"""A new person's first minutes, in tmux: from an empty home to a chat that is gone on with.

With LUCI_WRITE_PICTURES=1, as in `make docs`, it draws the pictures of README.md and
docs/screen.md.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from luci_tui.catalog.catalog import load_catalog
from luci_tui.engine.memory import available_bytes
from luci_tui.library.fit import Room
from luci_tui.library.suggest import suggest
from luci_tui.paths import builtin_model_file, shipped_catalog_file
from tests.support.hosts import end_host
from tests.support.hub_process import hub_process
from tests.support.picture import svg_of
from tests.support.tmux import Tmux, has_tmux

pytestmark = [
    pytest.mark.native,
    pytest.mark.timeout(240),
    pytest.mark.skipif(not has_tmux(), reason="there is no tmux on the PATH"),
]

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
WRITES_PICTURES = os.environ.get("LUCI_WRITE_PICTURES") == "1"
SIZE = (120, 40)
REPO = "luci-tui/luci-shell"
SUGGESTION = r"^ +([\w.-]+) +[\d.]+ [MG]iB +needs +[\d.]+ [MG]iB +(quick|steady|slow here)"
REQUESTS = (
    "list the files in src",
    "find all pdf files in Documents",
    "which process is listening on port 8080",
    "write me a poem about the sea",
)


@pytest_asyncio.fixture
async def home() -> AsyncGenerator[Path]:
    """Give the empty home of a person whose name is in no picture."""
    with tempfile.TemporaryDirectory(prefix="luci-", dir="/tmp") as folder:
        yield Path(folder)
        await end_host(Path(folder) / ".luciferai")


@pytest.fixture
def offered(tmp_path: Path) -> Path:
    """Give a folder with what the hub has: a model that answers, under every name of this walk."""
    builtin = builtin_model_file()
    assert builtin is not None
    whole = tmp_path / "luci-shell-F16.gguf"
    command = [sys.executable, "-m", "luci_tui", "quantize", str(builtin), str(whole)]
    env = {**os.environ, "LUCI_HOME": str(tmp_path / "other"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--type", "F16", "--allow-requantize"],
        env=env,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    hub = tmp_path / "hub"
    places = [hub / REPO / whole.name]
    room = Room(available_bytes(), ())
    entries = load_catalog(shipped_catalog_file()).entries
    for found in suggest(entries, room, shutil.disk_usage(tmp_path).free):
        places += [hub / found.entry.repo / name for name in found.entry.files]
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.hardlink_to(whole)
    return hub


@pytest.fixture
def tmux(home: Path, offered: Path) -> Iterator[Tmux]:
    """Give a shell that knows `luci` and a hub."""
    programs = home / "bin"
    programs.mkdir()
    luci = programs / "luci"
    luci.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m luci_tui "$@"\n')
    luci.chmod(0o755)
    with hub_process(offered) as url:
        env = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(home),
            "LUCI_HOME": str(home / ".luciferai"),
            "HF_ENDPOINT": url,
            "HF_HOME": str(home / "hf"),
            "NO_PROXY": "*",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "COLORTERM": "truecolor",
        }
        with Tmux("sh", env=env, folder=home, size=SIZE) as terminal:
            terminal.wait_for(r"\S")
            # A shell may take its prompt from its environment or not.
            say(terminal, "PS1='$ '; clear")
            terminal.wait_for(r"\A\$")
            yield terminal


def say(tmux: Tmux, text: str) -> None:
    """Type a line."""
    tmux.write(text)
    tmux.press("Enter")


def keep(tmux: Tmux, name: str) -> None:
    """Draw what is seen now, where pictures are wanted; what pops up goes away first."""
    if WRITES_PICTURES:
        tmux.wait_without(r"^.{50,}▌")
    colours = tmux.shown_in_colours()
    assert "\x1b[" in colours
    picture = svg_of(colours, SIZE[0], "luci")
    assert picture.count("<text") > 10
    if WRITES_PICTURES:
        (IMAGES / f"{name}.svg").write_text(picture, encoding="utf-8")


def test_new_person_comes_to_a_measured_chat_that_is_gone_on_with(tmux: Tmux) -> None:
    say(tmux, "luci")
    see_the_welcome(tmux)
    try_what_is_there(tmux)
    install_from_the_hub(tmux)
    validate(tmux)
    quantize(tmux)
    chat(tmux)
    measure(tmux)
    come_back(tmux)


def see_the_welcome(tmux: Tmux) -> None:
    """Read what this machine is, ask for a suggestion, and decide otherwise."""
    tmux.wait_for(r"Welcome to luci\. This machine: \d+ cores?, [\d.]+ GiB RAM")
    first = tmux.wait_for(SUGGESTION)[1]
    tmux.wait_for(r"ready · builtin")
    keep(tmux, "welcome")
    tmux.press("BTab")
    tmux.wait_for(r"^ > \S+ .* needs")
    while f"> {first} " not in tmux.shown():
        now = tmux.wait_for(r"^ > (\S+) .* needs")[1]
        tmux.press("Up")
        tmux.wait_without(f"^ > {re.escape(now)} ")
    tmux.press("Enter")
    tmux.wait_for(rf"Install {re.escape(first)} from hf:\S+\?")
    tmux.press("n")
    tmux.wait_without(r"Install \S+ from")


def try_what_is_there(tmux: Tmux) -> None:
    """Ask the built-in model."""
    tmux.press("Escape")
    tmux.wait_for("tab Messages")
    for n_answers, request in enumerate(REQUESTS, start=1):
        say(tmux, request)
        tmux.wait_for(rf"(?s)(context \d+/\d+.*){{{n_answers}}}")
        tmux.wait_for("ready")
    assert "ls src" in tmux.shown()
    keep(tmux, "chat")


def install_from_the_hub(tmux: Tmux) -> None:
    """Fetch a model, at a pace that can be looked at, and see it arrive."""
    tmux.press("M-3")
    tmux.wait_for("Nothing is being downloaded")
    tmux.press("l")
    tmux.wait_for("Bytes per second for all downloads")
    say(tmux, "2M")
    tmux.wait_for(r"limit 1\.91 MiB/s")
    tmux.press("2")
    tmux.wait_for("on this machine")
    tmux.press("i")
    tmux.wait_for("What to install")
    say(tmux, f"hf:{REPO}")
    tmux.wait_for(r"Install luci-shell\S* from hf:")
    tmux.press("y")
    tmux.wait_for("is on its way")
    tmux.press("3")
    tmux.wait_for(r"running +[1-9]\d?%")
    keep(tmux, "downloads")
    tmux.wait_for("done +100%")


def validate(tmux: Tmux) -> None:
    """See the model among the others, and have its files checked."""
    tmux.press("2")
    tmux.wait_for(r"> luci-shell")
    tmux.press("v")
    tmux.wait_for("checked now: ok")
    keep(tmux, "models")


def quantize(tmux: Tmux) -> None:
    """Have a smaller file made of it, and see the job."""
    tmux.press("q")
    tmux.wait_for("to which types")
    tmux.press("Enter")
    tmux.wait_for(r"Job \d+ runs")
    tmux.press("4")
    tmux.wait_for(r"^>? +2 +done .* quantize ")
    keep(tmux, "jobs")


def chat(tmux: Tmux) -> None:
    """Talk to the model that was fetched."""
    tmux.press("2")
    tmux.wait_for("on this machine")
    tmux.press("Enter")
    tmux.wait_for("ready · luci-shell")
    say(tmux, REQUESTS[0])
    tmux.wait_for("ls src")
    tmux.wait_for(r"context \d+/\d+ · [\d.]+ tok/s · TTFT \d+ ms")


def measure(tmux: Tmux) -> None:
    """Measure it twice, and see whether that changed."""
    tmux.press("M-5")
    tmux.wait_for("No run is kept yet")
    for n_runs in (1, 2):
        tmux.press("b")
        tmux.wait_for("Which model is measured")
        while "> luci-shell-F16" not in (shown := tmux.shown()):
            assert n_runs == 1, shown
            tmux.press("Down")
            tmux.wait_without(r"> builtin")
        tmux.press("Enter")
        tmux.wait_for("What is measured of")
        tmux.press("C-u")
        say(tmux, "--pp 64 --tg 32 --rounds 2")
        tmux.wait_for("1 running")
        tmux.wait_for(rf"{n_runs} runs? kept")
        tmux.wait_without("1 running")
    tmux.wait_for("this run")
    keep(tmux, "bench")


def come_back(tmux: Tmux) -> None:
    """Leave, read how to come back, and do."""
    tmux.press("C-q")
    tmux.wait_for(r"luci --resume (\w+)")
    tmux.wait_for(r"^\$$")
    say(tmux, "luci --resume last")
    tmux.wait_for("ready")
    tmux.wait_for("ls src")
    tmux.press("C-q")
    tmux.wait_for(r"(?s)luci --resume last$.*luci --resume \w+` opens")
