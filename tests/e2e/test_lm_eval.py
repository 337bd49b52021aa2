"""lm-evaluation-harness, in an environment of its own, against `luci serve`."""

from __future__ import annotations

import asyncio
import json
import math
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from luci_tui.engine import frames
from luci_tui.engine.client import EngineClient
from luci_tui.host.wiring import EngineKind, build_engine
from luci_tui.paths import builtin_model_file
from luci_tui.training.builtin.generator import Generator
from luci_tui.training.builtin.overlap import is_frozen, normalise
from tests.support import engines
from tests.support.own_venv import own_venv

Luci = Callable[..., subprocess.CompletedProcess[bytes]]

TASKS = Path(__file__).parents[1] / "lm_eval"
TASK_NAMES = ("luci_shell", "luci_shell_choice")
LIMIT_S = 600
N_SAMPLES = 60_000
"""Of training data that are looked through."""
TOLERANCE = 1e-3
"""Of a sum of log-probabilities. Requests that run side by side round otherwise."""


@dataclass(frozen=True)
class Results:
    """What lm_eval has written."""

    scores: dict[str, Any]
    samples: list[dict[str, Any]]


def rows(task: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TASKS / f"{task}.jsonl").read_text().splitlines()]


def run_lm_eval(task: str, options: list[str], key: str, env: dict[str, str], out: Path) -> Results:
    """Run a task and return its results."""
    program = own_venv("lm_eval", TASKS / "requirements.txt") / "lm_eval"
    options += ["--tasks", task, "--include_path", str(TASKS)]
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
    (results,) = out.glob("*/results_*.json")
    (samples,) = out.glob(f"*/samples_{task}_*.jsonl")
    return Results(
        scores=json.loads(results.read_text()),
        samples=[json.loads(line) for line in samples.read_text().splitlines()],
    )


@pytest.fixture
def served(luci: Luci) -> Iterator[tuple[str, str]]:
    """Give address and key of an API that serves the built-in model, in memory alone."""
    assert luci("load", "builtin").returncode == 0
    found = json.loads(luci("serve", "--port", "0", "--background", "--json").stdout)
    yield found["url"], Path(found["key_file"]).read_text().strip()
    assert b"is closed" in luci("serve", "--stop").stdout


@pytest.mark.parametrize(("task", "n_least"), [("luci_shell", 30), ("luci_shell_choice", 16)])
def test_task_then_no_request_is_one_of_the_frozen_sets(task: str, n_least: int) -> None:
    asked = [one["request"] for one in rows(task)]
    assert len(asked) == len({normalise(one) for one in asked}) >= n_least
    assert [request for request in asked if is_frozen(request)] == []


def test_choices_then_the_right_one_stands_everywhere_and_is_never_doubled() -> None:
    assert {len(one["choices"]) for one in rows("luci_shell_choice")} == {4}
    assert {len(set(one["choices"])) for one in rows("luci_shell_choice")} == {4}
    assert {one["answer"] for one in rows("luci_shell_choice")} == {0, 1, 2, 3}


@pytest.mark.slow
def test_tasks_then_training_data_has_none_of_their_requests() -> None:
    asked = {normalise(one["request"]) for name in TASK_NAMES for one in rows(name)}
    samples = islice(Generator(11), N_SAMPLES)
    assert asked.isdisjoint(normalise(sample.request) for sample in samples)


@pytest.mark.native
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_lm_eval_given_a_task_then_it_scores_what_luci_answers(
    luci: Luci, served: tuple[str, str], luci_env: dict[str, str], tmp_path: Path
) -> None:
    url, key = served
    model_args = f"model=builtin,base_url={url}/chat/completions,num_concurrent=4,max_retries=1"
    options = ["--model", "local-chat-completions", "--model_args", model_args]
    options += ["--apply_chat_template"]
    found = run_lm_eval("luci_shell", options, key, luci_env, tmp_path / "out")

    answered = {one["doc"]["request"]: one["resps"][0][0] for one in found.samples}
    own = {
        one["request"]: luci("run", "builtin", one["request"], "--temperature", "0").stdout.decode()
        for one in rows("luci_shell")
    }
    assert answered == {request: answer.rstrip("\n") for request, answer in own.items()}
    scores = found.scores
    assert scores["n-samples"]["luci_shell"] == {"original": len(own), "effective": len(own)}
    n_right = sum(own[one["request"]].rstrip("\n") == one["command"] for one in rows("luci_shell"))
    assert scores["results"]["luci_shell"]["exact_match,none"] == pytest.approx(n_right / len(own))


@pytest.mark.native
@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(3600)
async def test_lm_eval_given_choices_then_its_likelihoods_are_those_of_the_prompt(
    served: tuple[str, str], luci_env: dict[str, str], tmp_path: Path
) -> None:
    url, key = served
    model_args = f"model=builtin,base_url={url}/completions,auth_token={key},max_retries=1"
    options = ["--model", "local-completions", "--model_args", model_args]
    found = await asyncio.to_thread(
        run_lm_eval, "luci_shell_choice", options, key, luci_env, tmp_path / "out"
    )

    said = {
        (one["doc"]["request"], choice): (float(logprob), is_greedy == "True")
        for one in found.samples
        for choice, ((logprob, is_greedy),) in zip(one["doc"]["choices"], one["resps"], strict=True)
    }
    own = await own_likelihoods(rows("luci_shell_choice"))
    assert said.keys() == own.keys()
    for pair, (logprob, is_greedy) in own.items():
        assert said[pair][0] == pytest.approx(logprob, abs=TOLERANCE), pair
        assert said[pair][1] == is_greedy, pair
    n_right = 0
    for one in rows("luci_shell_choice"):
        sums = [own[one["request"], choice][0] for choice in one["choices"]]
        n_right += sums.index(max(sums)) == one["answer"]
    score = found.scores["results"]["luci_shell_choice"]["acc,none"]
    assert score == pytest.approx(n_right / len(rows("luci_shell_choice")))


async def own_likelihoods(asked: list[dict[str, Any]]) -> dict[tuple[str, str], tuple[float, bool]]:
    """Compute with an engine of one's own (sum of log-probabilities, each was the likeliest)."""
    engine = build_engine(EngineKind.WORKER)
    found: dict[tuple[str, str], tuple[float, bool]] = {}
    try:
        await engines.load(engine, str(builtin_model_file()))
        for one in asked:
            start = f"<s><|user|>{one['request']}<|assistant|>"
            for choice in one["choices"]:
                found[one["request"], choice] = await likelihood(engine, start, choice)
    finally:
        await engine.close()
    return found


async def likelihood(engine: EngineClient, start: str, end: str) -> tuple[float, bool]:
    """Say how likely `end` is after `start`, and whether the model would have written it."""
    before, whole = await tokens_of(engine, start), await tokens_of(engine, start + end)
    assert whole[: len(before)] == before
    sampling = frames.SamplingParams(n_logprobs=1, temperature=0.0)
    wanted = engines.request(
        prompt=None, tokens=whole, prompt_logprobs=True, max_tokens=0, sampling=sampling
    )
    answer = await engines.answer(engine, wanted)
    scored = [one for delta in answer.deltas for one in delta.prompt_logprobs][len(before) :]
    assert len(scored) == len(whole) - len(before) > 0
    is_greedy = all(one.token == one.top[0][0] for one in scored)
    return math.fsum(one.logprob for one in scored if one.logprob is not None), is_greedy


async def tokens_of(engine: EngineClient, text: str) -> tuple[int, ...]:
    event = await engine.ask(frames.Tokenize(request_id=0, text=text, parse_special=True))
    assert isinstance(event, frames.Tokenized)
    return event.tokens
