import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.terminal import TerminalProgram
from tests.support.tiny_vocab import CHATML_TEMPLATE

pytestmark = pytest.mark.native

Luci = Callable[..., subprocess.CompletedProcess[bytes]]
ONE = ("--threads", "1")
"""More of them wait for each other by spinning; on a busy machine they do little else."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("models") / "tiny.gguf"
    return str(write_arch_model(TinyArch.LLAMA, path, chat_template=CHATML_TEMPLATE))


def worker_of(screen: TerminalProgram) -> psutil.Process:
    (worker,) = psutil.Process(screen.pid).children()
    return worker


def test_run_with_a_seed_gives_the_same_answer_twice(luci: Luci, model: str) -> None:
    arguments = ("run", model, "hello", "--seed", "3", "--max-tokens", "16", *ONE)
    first, second = luci(*arguments), luci(*arguments)
    assert first.returncode == 0
    assert first.stdout == second.stdout
    assert len(first.stdout) > 4


def test_grammar_rules_the_answer(luci: Luci, model: str) -> None:
    run = luci(
        "run", model, "hello", "--grammar", 'root ::= "a" "b"+ "c"', "--max-tokens", "40", *ONE
    )
    assert run.stdout.startswith(b"ab")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "There is no file"),
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
        (b"GGUF", "cut off"),
    ],
)
def test_file_that_is_no_model_is_one_sentence(
    luci: Luci, tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "broken.gguf"
    if content is not None:
        path.write_bytes(content)
    run = luci("run", str(path), "hello")
    assert (run.returncode, run.stdout) == (2, b"")
    assert words in run.stderr.decode()
    assert run.stderr.count(b"\n") == 1


def test_context_beyond_training_is_refused(luci: Luci, model: str) -> None:
    run = luci("run", model, "hello", "--n-ctx", "100000")
    assert run.returncode == 2
    assert b"--n-ctx 2048" in run.stderr


def test_embed_gives_a_vector_of_the_models_width(luci: Luci, model: str) -> None:
    result = json.loads(luci("embed", model, "the", "--json", *ONE).stdout)
    assert result["n_embd"] == 64
    assert sum(value**2 for value in result["vectors"][0]) == pytest.approx(1.0, abs=1e-4)


def test_bench_reports_every_test_through_both_ways(luci: Luci, model: str) -> None:
    options = (
        "--threads",
        "1",
        "--pp",
        "32",
        "--tg",
        "1000",
        "--streams",
        "1,2",
        "--rounds",
        "1",
        "--json",
    )
    run = luci("bench", "--model", model, *options)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    rows = {(row["test"], row["via"], row["streams"]) for row in report["results"]}
    assert rows == {
        (test, via, streams)
        for test, streams in (("pp32", 1), ("tg1000", 1), ("tg1000", 2))
        for via in ("worker", "core")
    }
    assert all(row["tokens_per_s"]["min"] > 0 for row in report["results"])
    assert report["cancel_ms"]["p99"] > 0
    assert report["threads"] >= 1


def test_devices_lists_the_cpu(luci: Luci) -> None:
    report = json.loads(luci("devices", "--json").stdout)
    assert "cpu" in {device["kind"] for device in report["devices"]}


def test_ctrl_c_leaves_no_worker_behind(luci_env: dict[str, str], model: str) -> None:
    arguments = ("-m", "luci_tui", "run", model, "hello", "--grammar", "root ::= [a-z]+", *ONE)
    with TerminalProgram(*arguments, env=luci_env) as program:
        program.wait_until(lambda: bool(psutil.Process(program.pid).children()))
        worker = worker_of(program)
        os.kill(program.pid, signal.SIGINT)
        assert program.wait().exit_code == 130
        worker.wait(timeout=10)


def test_screen_whose_worker_is_killed_gets_the_next_answer_all_the_same(
    luci: Luci, luci_env: dict[str, str], model: str
) -> None:
    with TerminalProgram("-m", "luci_tui", "--model", model, env=luci_env) as screen:
        screen.wait_for("ready")
        (loaded,) = json.loads(luci("ps", "--json").stdout)
        os.kill(loaded["pids"][0], signal.SIGKILL)
        screen.send("hello\r")
        screen.wait_for("TTFT")
        screen.send("\x11")
        assert screen.wait().exit_code == 0
    (again,) = json.loads(luci("ps", "--json").stdout)
    assert again["pids"] != loaded["pids"]
    assert again["n_restarts"] == 1


def test_host_that_is_killed_takes_its_worker_along(
    luci: Luci, luci_env: dict[str, str], model: str
) -> None:
    assert luci("load", model).returncode == 0
    (loaded,) = json.loads(luci("ps", "--json").stdout)
    worker = psutil.Process(loaded["pids"][0])
    os.kill(json.loads(luci("host", "status", "--json").stdout)["hello"]["pid"], signal.SIGKILL)
    worker.wait(timeout=10)
    with TerminalProgram("-m", "luci_tui", "--model", model, env=luci_env) as screen:
        screen.wait_for("ready")
