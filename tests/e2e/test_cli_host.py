from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Luci = Callable[..., subprocess.CompletedProcess[bytes]]
START = ("--engine", "echo", "host", "start", "--idle-exit-s", "60")


@pytest.fixture
def host(luci: Luci) -> Iterator[int]:
    """Start a host and return its process id; it is gone at the end."""
    run = luci(*START, "--json")
    assert run.returncode == 0, run.stderr
    yield json.loads(run.stdout)["pid"]
    assert luci("host", "stop", "--force", "--drain-s", "0").returncode == 0


def test_host_is_shown_restarted_and_ended(luci: Luci, host: int) -> None:
    shown = luci("host", "status")
    assert f"process   {host}, luci" in shown.stdout.decode()
    assert "if idle" in shown.stdout.decode()
    found = json.loads(luci("host", "status", "--json").stdout)
    assert (found["running"], found["hello"]["pid"]) == (True, host)
    assert found["metrics"]["rss_bytes"] > 0
    again = json.loads(luci("--engine", "echo", "host", "restart", "--json").stdout)
    assert again["pid"] != host
    assert b"the host has left" in luci("host", "logs").stdout
    stopped = json.loads(luci("host", "stop", "--json").stdout)
    assert stopped == {"was_running": True, "pid": again["pid"]}
    assert luci("host", "status").returncode == 1


def test_jobs_are_listed_and_one_that_is_not_there_is_named(luci: Luci, host: int) -> None:
    assert host
    listed = luci("jobs", "list", "--json")
    assert (listed.returncode, json.loads(listed.stdout)) == (0, [])
    for command in ("show", "attach", "cancel"):
        run = luci("jobs", command, "77")
        assert (run.returncode, run.stdout) == (2, b"")
        assert b"There is no job 77." in run.stderr


def test_jobs_of_a_host_that_has_left_are_shown_by_the_next_one(luci: Luci, host: int) -> None:
    assert host
    assert luci("load", "any").returncode == 0
    assert luci("host", "stop").returncode == 0
    listed = luci("--engine", "echo", "jobs")
    assert listed.stdout == luci("jobs", "list").stdout
    assert listed.stdout.endswith(b"load any\n")
    assert b"any was loaded." in luci("jobs", "show", "1").stdout


def test_commands_without_a_host_say_so(luci: Luci) -> None:
    assert json.loads(luci("host", "status", "--json").stdout) == {"running": False}
    assert luci("host", "stop").stdout == b"No host ran.\n"
    run = luci("unload", "any")
    assert (run.returncode, run.stderr) == (
        2,
        b"luci: No host runs. `luci host start` starts one.\n",
    )
    assert b"There is no log at" in luci("host", "logs").stderr


def test_home_that_cannot_be_written_is_one_sentence(luci: Luci, luci_env: dict[str, str]) -> None:
    luci_env["LUCI_HOME"] = "/proc/luci"
    run = luci(*START)
    assert run.returncode == 2
    assert len(run.stderr.splitlines()) == 1
    assert b"/proc/luci/run for the host cannot be made" in run.stderr


def test_unit_is_shown_and_written(luci: Luci, luci_env: dict[str, str], tmp_path: Path) -> None:
    luci_env["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    luci_env["LUCI_HOME"] = str(tmp_path / 'a "b" 100%')
    shown = luci("host", "install", "--print").stdout.decode()
    escaped = str(tmp_path / r"a \"b\" 100%%")
    assert f'Environment="LUCI_HOME={escaped}"' in shown
    path = tmp_path / "config" / "systemd" / "user" / "luci-host.service"
    assert not path.exists()
    run = luci("host", "install")
    assert run.stdout.decode() == f"{path}\n"
    assert b"systemctl --user" in run.stderr
    assert path.read_text(encoding="utf-8") == shown


@pytest.mark.native
def test_quantizing_in_the_background_is_a_job(luci: Luci, host: int, tmp_path: Path) -> None:
    from tests.support.wide_models import write_wide_model

    assert host
    source = write_wide_model(tmp_path / "wide-F16.gguf")
    begun = luci("quantize", str(source), "-t", "Q8_0", "--background")
    assert begun.returncode == 0, begun.stderr
    job_id = begun.stdout.decode().strip()
    attached = luci("jobs", "attach", job_id)
    assert attached.returncode == 0
    assert f"Job {job_id} is done: quantize wide-F16.gguf to Q8_0." in attached.stdout.decode()
    assert (tmp_path / "wide-Q8_0.gguf").is_file()
    shown = luci("jobs", "show", job_id).stdout.decode()
    for said in (attached.stdout.decode(), shown):
        assert f"\n{tmp_path / 'wide-Q8_0.gguf'}: Q8_0, " in said
        assert " bits per weight, " in said
        assert "{" not in said
    again = json.loads(luci("quantize", str(source), "-t", "Q8_0", "--background", "--json").stdout)
    failed = luci("jobs", "attach", again["id"])
    assert failed.returncode == 2
    assert b"is there already" in failed.stderr
    assert b"failed    " in luci("jobs", "show", again["id"]).stdout


@pytest.mark.native
def test_comparison_in_the_background_shows_the_table_of_compare(
    luci: Luci, host: int, tmp_path: Path
) -> None:
    from tests.support.wide_models import write_wide_model

    assert host
    whole = write_wide_model(tmp_path / "wide.gguf", n_layers=1)
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole.read_bytes()[:200_000])
    wanted = (str(cut), str(whole), "--n-ctx", "64", "--chunks", "1")
    here = luci("compare", *wanted, "--plot", str(tmp_path / "made.svg"))
    assert here.returncode == 1
    assert b"1 of 2 models could not be measured." in here.stderr
    assert "Could not be measured: cut" in (tmp_path / "made.svg").read_text(encoding="utf-8")
    job_id = luci("compare", *wanted, "--background").stdout.decode().strip()
    attached = luci("jobs", "attach", job_id)
    shown = luci("jobs", "show", job_id)
    assert (attached.returncode, shown.returncode) == (1, 0)
    head, failed, measured = here.stdout.decode().splitlines()
    assert head.startswith("model ")
    assert failed.startswith(f"! cut.gguf   {cut} is cut off: ")
    # All but how fast it was is the same each time.
    figures = measured.rpartition("base")[0]
    for said in (attached.stdout.decode(), shown.stdout.decode()):
        assert head in said
        assert f"\n{failed}\n{figures}base" in said
        assert "1 of 2 models could not be measured." in said
    result = json.loads(luci("jobs", "show", job_id, "--json").stdout)["result"]
    assert result["rows"][0]["code"] == "truncated"
    assert result["rows"][1]["scored"]["model"] == str(whole)
    assert result["base"] == str(whole)


def test_background_goes_without_a_report(luci: Luci) -> None:
    run = luci("quantize", "a.gguf", "-t", "Q8_0", "--background", "--report")
    assert run.returncode == 2
    assert b"--background goes with neither --report nor --dry-run" in run.stderr
