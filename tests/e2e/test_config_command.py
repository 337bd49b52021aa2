from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.terminal import TerminalProgram

Luci = Callable[..., subprocess.CompletedProcess[bytes]]

ECHO = ("--engine", "echo")


def config_of(env: dict[str, str]) -> Path:
    return Path(env["LUCI_HOME"]) / "config.toml"


def editor(env: dict[str, str], *steps: str) -> None:
    """Let $EDITOR do one step a call: each is the text that is then in the file."""
    folder = config_of(env).parent
    texts = folder / "texts.json"
    texts.write_text(json.dumps(steps))
    program = folder / "editor.py"
    program.write_text(
        "import json, sys\n"
        f"texts = json.load(open({str(texts)!r}))\n"
        "open(sys.argv[1], 'w').write(texts[0])\n"
        f"json.dump(texts[1:], open({str(texts)!r}, 'w'))\n"
    )
    env["VISUAL"] = f"{sys.executable} '{program}'"


def value(run: subprocess.CompletedProcess[bytes], key: str) -> dict[str, object]:
    found = json.loads(run.stdout)["settings"]
    return next(one for one in found if one["key"] == key)


def test_set_get_unset_then_the_file_has_it_or_not(luci: Luci, luci_env: dict[str, str]) -> None:
    assert luci("config", "path").stdout.decode().strip() == str(config_of(luci_env))
    assert luci("config", "get", "host.max_jobs").stdout == b"8\n"
    assert luci("config", "set", "host.model_ttl_s", "-1").returncode == 0
    assert config_of(luci_env).read_text() == "[host]\nmodel_ttl_s = -1\n"
    assert luci("config", "get", "host.model_ttl_s").stdout == b"-1\n"
    refused = luci("config", "set", "host.max_jobs", "many")
    assert refused.returncode == 2
    assert b"luci: host.max_jobs cannot be 'many'" in refused.stderr
    assert luci("config", "unset", "host.model_ttl_s").returncode == 0
    assert luci("config", "unset", "host.model_ttl_s").returncode == 1
    assert luci("config", "get", "cost.watts").returncode == 1
    assert b"no setting 'x.y'" in luci("config", "get", "x.y").stderr


def test_profile_given_by_option_and_variable_then_it_counts(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    luci("config", "set", "profile.laptop.host.max_jobs", "2")
    shown = luci("--profile", "laptop", "config", "show", "host")
    assert "max_jobs = 2       profile laptop, config.toml:2\n" in shown.stdout.decode()
    luci_env["LUCI_HOST_MAX_JOBS"] = "3"
    said = luci("--profile", "laptop", "config", "set", "profile.laptop.host.max_jobs", "4")
    assert b"What counts is max_jobs = 3, from LUCI_HOST_MAX_JOBS." in said.stderr
    nowhere = luci("--profile", "desktop", "config", "path")
    assert nowhere.returncode == 2
    assert b'no profile "desktop"' in nowhere.stderr


def test_mistakes_then_validate_and_show_tell_all_of_them(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    assert luci("config", "validate").returncode == 0
    config_of(luci_env).write_text("[host]\nmax_jobs = 0\n[hots]\n")
    luci_env["LUCI_SERVE_MAX_RUNNING"] = "x"
    run = luci("config", "validate")
    assert run.returncode == 1
    first, second, third = run.stdout.decode().splitlines()
    assert "line 2: host.max_jobs cannot be 0" in first
    assert "line 3: there is no setting hots" in second
    assert third.startswith("LUCI_SERVE_MAX_RUNNING: ")
    shown = luci("config", "show", "--json")
    assert shown.returncode == 1
    assert value(shown, "host.max_jobs")["value"] == 8
    assert len(json.loads(shown.stdout)["mistakes"]) == 3
    assert luci("config", "validate", str(config_of(luci_env))).stdout.count(b"\n") == 2
    assert luci("config", "validate", "nowhere.toml").returncode == 2


def test_schema_then_it_is_json(luci: Luci) -> None:
    assert "profile" in json.loads(luci("config", "schema").stdout)["properties"]


def test_running_host_with_other_settings_then_show_says_so_until_a_restart(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    luci_env["LUCI_HOST_MAX_JOBS"] = "5"
    assert luci(*ECHO, "host", "start", "--idle-exit-s", "60").returncode == 0
    del luci_env["LUCI_HOST_MAX_JOBS"]
    shown = luci("config", "show", "host").stdout.decode()
    assert "! The running host has 5.\n" in shown
    assert "! The running host has 60 (--idle-exit-s).\n" in shown
    assert "luci host restart" in shown
    said = luci("config", "set", "host.max_jobs", "6").stderr.decode()
    assert "until `luci host restart`" in said
    assert luci(*ECHO, "host", "restart").returncode == 0
    after = luci("config", "show", "--json")
    found = value(after, "host.max_jobs")
    assert (found["value"], found["running_host"], found["needs_restart"]) == (6, 6, False)


def test_broken_file_then_the_host_starts_and_says_it_once(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    config_of(luci_env).write_text("[host]\nmax_jobs = \n")
    assert b"config.toml is no valid TOML" in luci(*ECHO, "host", "start").stderr
    assert luci(*ECHO, "jobs", "list").stderr == b"There are no jobs.\n"
    assert b"(at line 2, column 12)" in luci("host", "status").stdout


def test_edit_given_a_good_text_then_it_is_taken_over(luci: Luci, luci_env: dict[str, str]) -> None:
    editor(luci_env, "[host]\nmax_jobs = 3\n", "[host]\nmax_jobs = 3\n")
    assert b"is written" in luci("config", "edit").stderr
    assert config_of(luci_env).read_text() == "[host]\nmax_jobs = 3\n"
    assert b"Nothing was changed." in luci("config", "edit").stderr
    assert list(config_of(luci_env).parent.glob("config-edit-*")) == []


def test_edit_given_a_bad_text_and_no_terminal_then_it_is_kept_aside(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    editor(luci_env, "[host]\nmax_jobs = 0\n")
    run = luci("config", "edit")
    assert run.returncode == 1
    assert b"What you wrote, line 2: host.max_jobs cannot be 0" in run.stderr
    (kept,) = config_of(luci_env).parent.glob("config-edit-*")
    assert kept.read_text() == "[host]\nmax_jobs = 0\n"
    assert str(kept).encode() in run.stderr
    assert not config_of(luci_env).exists()


def test_edit_given_a_bad_text_then_it_is_offered_again(luci_env: dict[str, str]) -> None:
    editor(luci_env, "[host]\nmax_jobs = 0\n", "[host]\nmax_jobs = 1\n")
    with TerminalProgram("-m", "luci_tui", "config", "edit", env=luci_env) as program:
        program.wait_for("(e)dit again")
        program.send("e\r")
        assert program.wait().exit_code == 0
    assert config_of(luci_env).read_text() == "[host]\nmax_jobs = 1\n"


def test_edit_given_an_editor_that_fails_then_nothing_changes(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    luci_env["VISUAL"] = "false"
    assert b"ended with exit code 1" in luci("config", "edit").stderr
    luci_env["VISUAL"] = "no-such-editor --wait"
    assert b"'no-such-editor' cannot be started" in luci("config", "edit").stderr
    assert list(config_of(luci_env).parent.glob("config*")) == []
