"""lm-evaluation-harness, in an environment of its own, against `luci serve`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from luci_tui.training.builtin.overlap import is_frozen
from tests.support.own_venv import own_venv

Luci = Callable[..., subprocess.CompletedProcess[bytes]]

TASKS = Path(__file__).parents[1] / "lm_eval"
LIMIT_S = 600


def requests() -> list[dict[str, str]]:
    return [json.loads(line) for line in (TASKS / "luci_shell.jsonl").read_text().splitlines()]


def run_lm_eval(program: Path, url: str, key: str, env: dict[str, str], out: Path) -> Path:
    """Run the task and return the folder with the results."""
    model_args = f"model=builtin,base_url={url}/chat/completions,num_concurrent=4,max_retries=1"
    options = ["--model", "local-chat-completions", "--model_args", model_args]
    options += ["--tasks", "luci_shell", "--include_path", str(TASKS), "--apply_chat_template"]
    options += ["--output_path", str(out), "--log_samples"]
    done = subprocess.run(
        [program, "run", *options],
        cwd=TASKS,
        env={**env, "OPENAI_API_KEY": key, "HF_HOME": str(out / "hf"), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")
    return next(out.glob("*/results_*.json")).parent


def test_task_then_no_request_is_one_of_the_frozen_sets() -> None:
    asked = [one["request"] for one in requests()]
    assert len(asked) == len(set(asked)) >= 30
    assert [request for request in asked if is_frozen(request)] == []


@pytest.mark.native
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_lm_eval_given_a_task_then_it_scores_what_luci_answers(
    luci: Luci, luci_env: dict[str, str], tmp_path: Path
) -> None:
    program = own_venv("lm_eval", TASKS / "requirements.txt") / "lm_eval"
    served = json.loads(luci("serve", "--port", "0", "--background", "--json").stdout)
    key = Path(served["key_file"]).read_text().strip()
    folder = run_lm_eval(program, served["url"], key, luci_env, tmp_path / "out")
    assert b"is closed" in luci("serve", "--stop").stdout

    samples = [
        json.loads(line)
        for line in next(folder.glob("samples_luci_shell_*.jsonl")).read_text().splitlines()
    ]
    answered = {one["doc"]["request"]: one["resps"][0][0] for one in samples}
    own = {
        one["request"]: luci("run", "builtin", one["request"], "--temperature", "0").stdout.decode()
        for one in requests()
    }
    assert answered == {request: answer.rstrip("\n") for request, answer in own.items()}
    results = json.loads(next(folder.glob("results_*.json")).read_text())
    assert results["n-samples"]["luci_shell"] == {"original": len(own), "effective": len(own)}
    n_right = sum(own[one["request"]].rstrip("\n") == one["command"] for one in requests())
    assert results["results"]["luci_shell"]["exact_match,none"] == pytest.approx(n_right / len(own))
