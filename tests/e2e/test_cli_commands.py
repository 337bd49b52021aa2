import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from luci_tui.__main__ import open_screen
from luci_tui.cli import docs
from luci_tui.cli.main import COMMANDS, run_command_line
from luci_tui.version import VERSION

Luci = Callable[..., subprocess.CompletedProcess[bytes]]
ECHO = ("--engine", "echo")


def sentence(run: subprocess.CompletedProcess[bytes]) -> str:
    """Return what a failed command says: one line, no traceback, no data."""
    assert run.returncode == 2
    assert run.stdout == b""
    lines = run.stderr.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("luci: ")
    return lines[0]


def test_version_is_printed(luci: Luci) -> None:
    for option in ("--version", "-V"):
        run = luci(option)
        assert (run.returncode, run.stdout) == (0, f"luci {VERSION}\n".encode())


@pytest.mark.parametrize("command", COMMANDS)
def test_command_has_help_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    # In this process: other tests start each command in one of its own.
    assert run_command_line([command, "--help"], open_screen) == 0
    assert f"luci {command}" in capsys.readouterr().out.partition("Examples:")[2]


@pytest.mark.parametrize("command", ["jobs", "convert", "compare"])
def test_help_is_that_of_the_program(
    luci: Luci, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = luci(command, "--help")
    assert run.returncode == 0
    run_command_line([command, "--help"], open_screen)
    assert run.stdout.decode() == capsys.readouterr().out


def test_documentation_is_that_of_the_program() -> None:
    assert docs.main(["--check"]) == 0


def test_run_streams_the_answer_to_stdout_and_nothing_else(luci: Luci) -> None:
    run = luci(*ECHO, "run", "any.gguf", "say this")
    assert (run.returncode, run.stdout, run.stderr) == (0, b"say this\n", b"")


def test_run_reads_the_prompt_from_stdin(luci: Luci) -> None:
    assert luci(*ECHO, "run", "any.gguf", stdin="grüße\n".encode()).stdout == "grüße\n".encode()
    assert luci(*ECHO, "run", "any.gguf", "-", stdin=b"dash").stdout == b"dash\n"


def test_run_into_a_pipe_leaves_model_text_as_it_is(luci: Luci) -> None:
    run = luci(*ECHO, "run", "any.gguf", "--raw", "a\x1b[31mb")
    assert run.stdout == b"a\x1b[31mb\n"


def test_run_with_json_prints_one_object(luci: Luci) -> None:
    run = luci(*ECHO, "run", "any.gguf", "one two", "--json", "--seed", "5")
    answer = json.loads(run.stdout)
    assert run.returncode == 0
    assert answer["text"] == "one two"
    assert answer["finish_reason"] == "stop"
    assert answer["seed"] == 5
    assert answer["doubtful"] == []
    assert answer["usage"]["completion_tokens"] == 7
    assert set(answer["timings"]) == {"queue_ms", "prefill_ms", "decode_ms", "ttft_ms"}


def test_run_that_meets_the_end_of_the_context_says_so(luci: Luci) -> None:
    run = luci(*ECHO, "run", "any.gguf", "x" * 40, "--raw", "--n-ctx", "64")
    assert run.returncode == 0
    assert run.stdout == b"x" * 24 + b"\n"
    assert b"met the end of the context (64 tokens)" in run.stderr


def test_run_with_max_tokens_ends_quietly(luci: Luci) -> None:
    run = luci(*ECHO, "run", "any.gguf", "one two", "--max-tokens", "3")
    assert (run.stdout, run.stderr) == (b"one\n", b"")


def test_prompt_beyond_the_context_is_one_sentence(luci: Luci) -> None:
    run = luci(*ECHO, "run", "any.gguf", "x" * 100, "--n-ctx", "64")
    assert "the context holds 64" in sentence(run)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "any.gguf", "hi", "--top-p", "0"), "--top-p 0.0 cannot be used"),
        (("run", "any.gguf", "hi", "--temperature", "-1"), "--temperature -1.0 cannot be used"),
        (("run", "any.gguf", "hi", "--seed", "-5"), "--seed -5 cannot be used"),
        (("run", "any.gguf", "   "), "The prompt is empty"),
        (("run", "any.gguf"), "The prompt is empty"),
        (("run", "any.gguf", "hi", "--grammar", "@/no/such"), "--grammar names a file"),
        (("run", "any.gguf", "hi", "--grammar", "nonsense"), "grammar"),
        (("run", "any.gguf", "hi", "--json-schema", "{"), "JSON schema"),
        (("run", "any.gguf", "hi", "--grammar", "a", "--json-schema", "b"), "exclude each other"),
        (("embed", "any.gguf", "hi", "--pooling", "odd"), "--pooling odd cannot be used"),
        (("bench", "--streams", "1,x"), "--streams 1,x cannot be used"),
        (("bench", "--streams", "0"), "--streams 0 cannot be used"),
    ],
)
def test_bad_value_is_one_sentence(luci: Luci, arguments: tuple[str, ...], words: str) -> None:
    assert words in sentence(luci(*ECHO, *arguments))


@pytest.mark.parametrize(
    "arguments", [("run",), ("nonsense",), ("run", "a", "b", "--odd"), ("run", "a", "--n-ctx", "x")]
)
def test_wrong_usage_exits_with_2_and_says_how(luci: Luci, arguments: tuple[str, ...]) -> None:
    run = luci(*arguments)
    assert run.returncode == 2
    assert run.stdout == b""
    assert b"Error: " in run.stderr
    assert b"Traceback" not in run.stderr


def test_embed_prints_a_line_of_numbers_per_text(luci: Luci) -> None:
    run = luci(*ECHO, "embed", "any.gguf", "--lines", stdin=b"one\n\ntwo\n")
    lines = run.stdout.decode().splitlines()
    assert len(lines) == 2
    lengths = [sum(float(value) ** 2 for value in line.split()) for line in lines]
    assert lengths == pytest.approx([1.0, 1.0])


def test_embed_with_json_prints_one_object(luci: Luci) -> None:
    result = json.loads(luci(*ECHO, "embed", "any.gguf", "one two", "--json").stdout)
    assert result["prompt_tokens"] == 7
    assert [len(vector) for vector in result["vectors"]] == [result["n_embd"]]


def test_screen_without_a_terminal_is_one_sentence(luci: Luci) -> None:
    assert "the screen needs a terminal" in sentence(luci())
    assert "the screen needs a terminal" in sentence(luci("--model", "any.gguf"))


def test_doctor_with_json_lists_findings_and_its_exit_code_agrees(luci: Luci) -> None:
    run = luci("doctor", "--json")
    report = json.loads(run.stdout)
    levels = {finding["name"]: finding["level"] for finding in report["findings"]}
    assert {"versions", "native core", "threads", "memory", "home folder"} <= set(levels)
    assert report["healthy"] == ("problem" not in levels.values())
    assert run.returncode == (0 if report["healthy"] else 1)


@pytest.mark.native
def test_doctor_names_the_features_of_the_cpu(luci: Luci) -> None:
    findings = json.loads(luci("doctor", "--json").stdout)["findings"]
    (features,) = (one["text"] for one in findings if one["name"] == "CPU features")
    assert all(name.isidentifier() for name in features.split(", "))


def test_doctor_finds_a_home_folder_that_cannot_be_written(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    luci_env["LUCI_HOME"] = "/proc/luci"
    run = luci("doctor")
    assert run.returncode == 1
    assert b"problem  home folder: /proc/luci cannot be written" in run.stdout


def test_reader_that_leaves_early_ends_the_command_quietly(luci_env: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "luci_tui", *ECHO, "run", "any.gguf", "--raw"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=luci_env,
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stdin is not None
        process.stdin.write(b"many words " * 100)
        process.stdin.close()
        assert process.wait(timeout=60) == 141
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    "arguments",
    [
        (*ECHO, "run", "any.gguf", "hi"),
        (*ECHO, "embed", "any.gguf", "hi"),
        ("devices", "--help"),
        ("bench", "--help"),
        ("quantize", "--help"),
        ("host", "--help"),
        ("host", "status"),
        ("config", "show"),
        ("doctor",),
    ],
)
def test_headless_command_starts_without_screen_and_server(
    luci_env: dict[str, str], arguments: tuple[str, ...]
) -> None:
    program = (
        "import sys, runpy\n"
        "try:\n    runpy.run_module('luci_tui', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "unwanted = {'textual', 'starlette', 'fastapi', 'uvicorn', 'httpx'}\n"
        "sys.exit(1 if unwanted & set(sys.modules) else 0)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        env=luci_env,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr


def test_version_imports_no_parser_and_no_data_library(luci_env: dict[str, str]) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "luci_tui", "--version"],
        capture_output=True,
        env=luci_env,
        timeout=60,
        check=True,
    )
    imported = {line.rpartition(b"|")[2].strip() for line in run.stderr.splitlines()}
    assert imported.isdisjoint({b"typer", b"pydantic", b"textual", b"asyncio", b"numpy"})


def test_builtin_model_that_has_no_command_exits_with_1(luci: Luci) -> None:
    refusal = "I can't do that yet. I turn requests into commands."
    run = luci(*ECHO, "run", "builtin", refusal)
    assert (run.returncode, run.stdout, run.stderr) == (1, refusal.encode() + b"\n", b"")
    assert json.loads(luci(*ECHO, "run", "builtin", refusal, "--json").stdout)["declined"]


def test_doubtful_argument_is_told_beside_the_command(luci: Luci) -> None:
    run = luci(*ECHO, "run", "builtin", 'ls "open')
    assert (run.returncode, run.stdout) == (0, b'ls "open\n')
    assert run.stderr == b"doubtful: 'ls \"open' is not in your request\n"
