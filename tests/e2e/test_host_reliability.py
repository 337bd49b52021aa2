"""Whole hosts that are killed, whose workers crash, and that many use for long.

The seeded subsets take seconds on a quiet machine; `-m slow` runs the full counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.native

MAX_LOST_MS = 250
MAX_BACK_S = 2.0
FULL_SOAK_S = 3600


def report(module: str, folder: Path, *numbers: int, timeout_s: float) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-m", f"tests.support.{module}", str(folder), *map(str, numbers)],
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()[-3000:]
    return json.loads(run.stdout)


def without(found: dict[str, Any], *names: str) -> dict[str, Any]:
    wrong = {name: found[name] for name in names}
    return {name: value for name, value in wrong.items() if value}


def check_kills(found: dict[str, Any], n_kills: int) -> None:
    assert found["n_kills"] == n_kills
    assert found["n_in_answers"]
    assert found["n_turns"] > found["n_in_start"]
    assert not without(
        found,
        *("n_turns_lost", "n_answers_lost", "n_not_ok", "n_notices", "n_wrong_texts"),
        *("n_left_streaming", "n_orphans"),
    )
    assert max(found["lost_ms"]) <= MAX_LOST_MS


@pytest.mark.timeout(180)
def test_hosts_killed_in_chats_then_files_are_whole_and_next_to_nothing_is_lost(
    tmp_path: Path,
) -> None:
    check_kills(report("host_kills", tmp_path, 8, 1, 4, timeout_s=170), 8)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_hosts_killed_a_thousand_times_then_next_to_nothing_is_lost(tmp_path: Path) -> None:
    found = report("host_kills", tmp_path, 1000, 1000, 4, timeout_s=7100)
    print(json.dumps(found))
    check_kills(found, 1000)


def check_crashes(found: dict[str, Any], n_crashes: int) -> None:
    assert found["n_crashes"] == found["n_restarts"] == n_crashes
    assert found["n_cut"] == 4 * n_crashes
    assert found["n_other_answers"]
    wrong = ("n_wrong_ends", "n_texts_lost", "n_other_errors", "n_orphans")
    assert not without(found, *wrong), found["faults"]
    assert len(found["back_s"]) == n_crashes


@pytest.mark.timeout(180)
def test_host_given_crashes_of_a_worker_under_load_then_only_its_requests_fail(
    tmp_path: Path,
) -> None:
    check_crashes(report("worker_crashes", tmp_path, 3, 1, 1, timeout_s=170), 3)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_host_given_five_hundred_crashes_then_it_is_soon_back(tmp_path: Path) -> None:
    found = report("worker_crashes", tmp_path, 500, 500, 2, timeout_s=7100)
    print(json.dumps(found))
    check_crashes(found, 500)
    assert sorted(found["back_s"])[int(0.95 * 500)] < MAX_BACK_S


def check_soak(found: dict[str, Any]) -> None:
    assert not without(found, "n_errors", "n_orphans"), found["errors"]
    assert found["n_workers"] > 3
    before, after = found["before"], found["after"]
    assert (after["n_leases"], after["n_turns"], after["n_children"]) == (0, 0, 1)
    assert after["n_fds"] <= before["n_fds"]
    assert after["n_tasks"] <= before["n_tasks"]


@pytest.mark.timeout(180)
def test_host_given_many_clients_then_each_gets_what_it_asked_for_and_nothing_stays(
    tmp_path: Path,
) -> None:
    check_soak(report("host_soak", tmp_path, 6, 1, 8, timeout_s=170))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_host_given_many_clients_for_an_hour_then_its_memory_stays_flat(tmp_path: Path) -> None:
    found = report("host_soak", tmp_path, FULL_SOAK_S, 7, timeout_s=7100)
    print(json.dumps(found))
    check_soak(found)
    assert found["after"]["n_threads"] <= found["before"]["n_threads"]
    assert found["host_spread_percent"] <= 5
    assert found["pinned_spread_percent"] <= 5
    assert abs(found["total_drift_percent"]) <= 5
