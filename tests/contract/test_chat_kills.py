import json
import subprocess
import sys
from pathlib import Path

import pytest

MAX_LOST_MS = 250


def kills(
    folder: Path, n_kills: int, seed: int, n_parallel: int, timeout_s: float
) -> dict[str, object]:
    run = subprocess.run(
        [
            *(sys.executable, "-m", "tests.support.chat_kills", str(folder)),
            *(str(n_kills), str(seed), str(n_parallel)),
        ],
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    assert run.returncode == 0, run.stderr.decode()[-3000:]
    return json.loads(run.stdout)


def check(report: dict[str, object], n_kills: int) -> None:
    assert report["n_kills"] == n_kills
    wrong = ("n_not_ok", "n_turns_lost", "n_answers_lost", "n_wrong_texts", "n_left_streaming")
    assert {name: report[name] for name in wrong} == dict.fromkeys(wrong, 0)
    assert report["n_in_answers"]
    lost_ms = report["lost_ms"]
    assert isinstance(lost_ms, list)
    assert max(lost_ms) <= MAX_LOST_MS


def test_ten_kills_in_chats_then_files_are_whole_and_next_to_nothing_is_lost(
    tmp_path: Path,
) -> None:
    check(kills(tmp_path, 10, seed=20, n_parallel=5, timeout_s=55), 10)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thousand_kills_in_chats_then_files_are_whole_and_next_to_nothing_is_lost(
    tmp_path: Path,
) -> None:
    report = kills(tmp_path, 1000, seed=2000, n_parallel=4, timeout_s=3500)
    print(json.dumps(report))
    check(report, 1000)
