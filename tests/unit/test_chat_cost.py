from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from luci_tui.chat.answer import truth_line
from luci_tui.chat.cost import Rates, Spent, cost_of, cost_words, spent_by, spent_on
from luci_tui.chat.records import Message, Role
from luci_tui.chat.store import ChatStore
from luci_tui.engine import frames
from luci_tui.errors import ConfigError
from luci_tui.host.rates import load_rates
from luci_tui.manager.models_toml import read

USAGE = frames.Usage(prompt_tokens=100, cached_tokens=40, completion_tokens=50, n_ctx=4096)
TIMINGS = frames.Timings(prefill_ms=1000, decode_ms=2600)

MODELS = """
[[model]]
name = "far"
price_per_million_prompt_tokens = 1
price_per_million_completion_tokens = 4
endpoints = [{ base_url = "http://127.0.0.1:1/v1", model = "m" }]

[[model]]
name = "free"
endpoints = [{ base_url = "http://127.0.0.1:1/v1", model = "m" }]

[[model]]
name = "near"
path = "near.gguf"
"""


def answer(number: int, model: str, *, is_timed: bool = True) -> Message:
    return Message(
        id=f"m{number}",
        role=Role.ASSISTANT,
        model=model,
        usage=USAGE,
        timings=TIMINGS if is_timed else None,
        created_ms=0,
    )


def spent(*models: str) -> tuple[Spent, ...]:
    return spent_on([answer(number, model) for number, model in enumerate(models)])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    (tmp_path / "models.toml").write_text(MODELS)
    return tmp_path


def write_cost(home: Path, text: str) -> None:
    (home / "config.toml").write_text(f"[cost]\n{text}\n")


def test_spent_given_answers_then_each_model_is_summed_once() -> None:
    messages = [answer(1, "a"), answer(2, "b", is_timed=False), answer(3, "a")]
    question = Message(id="q", role=Role.USER, text="?", created_ms=0)
    a, b = spent_on([question, *messages])
    assert (a.model, a.n_answers, a.n_timed, a.compute_ms) == ("a", 2, 2, 7200)
    assert (b.model, b.n_answers, b.n_timed, b.compute_ms) == ("b", 1, 0, 0)
    assert (a.prompt_tokens, a.cached_tokens, a.completion_tokens) == (200, 80, 100)


def test_store_given_chats_then_it_sums_up_what_their_messages_say(tmp_path: Path) -> None:
    with closing(ChatStore(tmp_path / "chats.db")) as store:
        chats: dict[str, list[Message]] = {}
        for models in (("a", "b", "a"), ("b",), ()):
            chat = store.create()
            for model in models:
                _, reply = store.begin_turn(chat.id, "q", parent_id=None, model=model)
                done = {"model": model, "usage": USAGE, "timings": TIMINGS, "state": "complete"}
                store.finish(chat.id, reply.model_copy(update=done))
            chats[chat.id] = list(store.messages(chat.id))
        first, second, third = chats
        found = store.spent((first, third))
        assert {one.chat_id for one in found} == {first}
        for chat_id in chats:
            summed = [one.model_copy(update={"chat_id": "-"}) for one in store.spent((chat_id,))]
            assert sorted(summed, key=lambda one: one.model) == sorted(
                spent_on(chats[chat_id]), key=lambda one: one.model
            )
        assert len(store.spent((second,))) == 1


@pytest.mark.usefixtures("home")
def test_cost_given_no_settings_then_nothing_is_estimated() -> None:
    cost = cost_of(spent("near", "free"), load_rates())
    assert (cost.n_answers, cost.prompt_tokens, cost.cached_tokens) == (2, 200, 80)
    assert cost.compute_s.value == 3.6
    assert "1 answer of servers elsewhere left out" in cost.compute_s.source
    assert cost.energy.source == "unknown: the setting watts is not made"
    assert "watts and price_per_kwh" in cost.energy_money.source
    assert "no prices per million tokens for free" in cost.token_money.source
    assert cost.estimates() == []
    assert cost_words(cost) == ""


def test_cost_given_settings_then_each_figure_names_its_source(home: Path) -> None:
    write_cost(home, 'watts = 100\nprice_per_kwh = 0.5\ncurrency = "EUR"')
    cost = cost_of(spent("near", "near", "far", "free", "removed"), load_rates())
    assert cost.energy.value == pytest.approx(0.2)
    assert "estimate: seconds of compute x 100 W of the setting watts" in cost.energy.source
    assert cost.energy_money.value == pytest.approx(0.0001)
    assert (cost.energy_money.unit, cost.token_money.unit) == ("EUR", "EUR")
    assert cost.token_money.value == pytest.approx(0.0003)
    assert "estimate: 1 and 4 for far per million" in cost.token_money.source
    assert "without free, which has no price" in cost.token_money.source
    assert "1 answer of models left out that are gone" in cost.compute_s.source
    assert [noun for noun, _ in cost.estimates()] == [
        "energy",
        "cost of energy",
        "cost of tokens",
    ]
    assert cost_words(cost) == "about 0.2 Wh and 0.0004 EUR (estimate)"


def test_cost_given_options_then_they_stand_in_for_the_settings(home: Path) -> None:
    write_cost(home, "watts = 100")
    cost = cost_of(spent("near"), load_rates(watts=50, price_per_kwh=2))
    assert cost.energy.value == pytest.approx(0.05)
    assert cost.energy_money.value == pytest.approx(0.0001)


def test_truth_line_given_an_answer_then_its_estimate_is_last_and_only_if_there_is_one(
    home: Path,
) -> None:
    done = frames.Done(request_id=0, finish_reason="stop", usage=USAGE, timings=TIMINGS)
    one = [spent_by("near", USAGE, TIMINGS)]
    assert truth_line(done, cost_words(cost_of(one, load_rates()))).endswith("TTFT 0 ms")
    write_cost(home, "watts = 10")
    words = cost_words(cost_of(one, load_rates()))
    assert truth_line(done, words).endswith("TTFT 0 ms · about 0.01 Wh (estimate)")
    far = [spent_by("far", USAGE, TIMINGS)]
    assert cost_words(cost_of(far, load_rates())) == "about 0.0003 (estimate)"
    assert cost_words(cost_of(one, lambda _: Rates())) == ""


@pytest.mark.parametrize("text", ["watts = -1", "watts = 0", "price_per_kwh = nan", "pounds = 1"])
def test_settings_given_a_bad_cost_then_the_line_is_named(home: Path, text: str) -> None:
    write_cost(home, text)
    with pytest.raises(ConfigError, match=r"config\.toml, line 2: .*cost\."):
        load_rates()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('path = "a.gguf"\nprice_per_million_prompt_tokens = 1', "only a model with endpoints"),
        (
            'endpoints = [{ base_url = "http://a/v1", model = "m" }]\n'
            "price_per_million_prompt_tokens = 1",
            "one price",
        ),
    ],
)
def test_models_given_a_bad_price_then_the_entry_is_left_out(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "models.toml"
    file.write_text(f'[[model]]\nname = "x"\n{text}\n')
    (problem,) = read(file).problems
    assert words in problem
