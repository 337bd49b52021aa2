from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luci_tui.chat import context
from luci_tui.chat.context import Budget, TemplateCost, fit, report, reserve
from luci_tui.chat.prompt import chat_messages
from luci_tui.chat.records import ChatPolicy, Message, MessageKind, MessageState, Role, ToolCall
from luci_tui.errors import ChatError
from tests.support.chats import conversation

BUDGET = Budget(n_ctx=100, reserve_tokens=20, template=TemplateCost(per_message=1, fixed=2))


async def by_length(messages: Sequence[Message]) -> dict[str, int]:
    return {message.id: len(message.text) for message in messages}


def branch(*lengths: int, pinned: Sequence[int] = ()) -> list[Message]:
    """Make turns whose messages have so many tokens; the last one waits for its answer."""
    made = conversation(*(("q" * n, "a" * n) for n in lengths))[:-1]
    return [m.model_copy(update={"is_pinned": i in pinned}) for i, m in enumerate(made)]


@pytest.mark.parametrize(
    ("n_ctx", "max_tokens", "asked", "tokens"),
    [
        (8192, -1, None, 1024),
        (2000, -1, None, 500),
        (8192, 300, None, 300),
        (8192, 300, 50, 50),
        (1000, 5000, None, 500),
    ],
)
def test_reserve(n_ctx: int, max_tokens: int, asked: int | None, tokens: int) -> None:
    assert reserve(n_ctx, max_tokens, asked) == tokens


async def test_fit_keeps_the_newest_turns_that_fit() -> None:
    messages = branch(10, 10, 10, 10)
    fitted = await fit(messages, BUDGET, by_length)
    # 2 + (10 + 1) for the last message + 22 for each turn: three turns are 79 of 80 tokens.
    assert fitted.kept == tuple(messages)
    assert fitted.tokens == 79
    fitted = await fit(branch(11, 10, 10, 10), BUDGET, by_length)
    assert [len(message.text) for message in fitted.left_out] == [11, 11]


async def test_fit_leaves_no_gap_behind_a_turn_that_is_too_long() -> None:
    fitted = await fit(branch(2, 60, 2, 2), BUDGET, by_length)
    assert [len(message.text) for message in fitted.kept] == [2, 2, 2]


async def test_report_groups_what_is_left_out_into_runs() -> None:
    messages = branch(20, 5, 20, 20, 20, pinned=[2])
    fitted = await fit(messages, BUDGET, by_length)
    made = report(messages, fitted, BUDGET, {messages[0].id: 7})
    first, second = made.left_out
    assert (first.first_id, first.last_id, first.n_messages) == (messages[0].id, messages[1].id, 2)
    assert first.is_estimated
    assert first.tokens == 7 + 7  # The second one's 20 bytes are estimated as 7 tokens.
    assert second.first_id == messages[4].id
    assert made.n_sent + made.n_left_out == len(messages)
    assert made.pinned_ids == (messages[2].id,)


async def test_fit_names_what_does_not_fit() -> None:
    with pytest.raises(ChatError, match=r"your message has 90 tokens, and n_ctx 100 leaves 80"):
        await fit(branch(90), BUDGET, by_length)
    with pytest.raises(ChatError, match=r"10 tokens, pinned turns 70.*Unpin some"):
        await fit(branch(35, 10, pinned=[0]), BUDGET, by_length)
    crowded = Budget(n_ctx=100, reserve_tokens=20, system_tokens=75)
    with pytest.raises(ChatError, match="system message and summary 83"):
        await fit(branch(10), crowded, by_length)
    with pytest.raises(ChatError, match="2 of its messages are beyond the 80 tokens"):
        await fit(branch(11, 10, 10, 10), BUDGET, by_length, ChatPolicy.REFUSE)


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(0, 60), min_size=1, max_size=12),
    pins=st.lists(st.integers(0, 23), max_size=2),
    share=st.floats(0.1, 1),
)
async def test_fit_keeps_its_promises(lengths: list[int], pins: list[int], share: float) -> None:
    messages = branch(*lengths, pinned=pins)
    try:
        fitted = await fit(messages, BUDGET, by_length, share=share)
    except ChatError:
        return
    there = context.sendable(messages)
    kept, left_out = set(map(id, fitted.kept)), set(map(id, fitted.left_out))
    assert kept | left_out == set(map(id, there))
    assert not kept & left_out
    assert fitted.tokens <= BUDGET.room
    assert fitted.kept[-1] is messages[-1]
    assert all(id(message) in kept for message in there if message.is_pinned)
    for turn in context.turns_of(there):
        assert len({id(message) in kept for message in turn.messages}) == 1
    needed = [turn for turn in context.turns_of(there) if not turn.is_pinned]
    flags = [id(turn.messages[0]) in kept for turn in needed]
    assert flags == sorted(flags), "newest first, without a gap"


def test_template_cost_is_measured_from_two_prompts() -> None:
    once = TemplateCost().measured(1, 20)
    assert (once.per_message, once.fixed) == (20, 0)
    twice = once.measured(3, 30)
    assert (twice.per_message, twice.fixed) == (5, 15)
    assert twice.of(11) == 70
    assert twice.measured(3, 30) is twice
    assert twice.measured(2, 100).fixed == 0, "a line that falls is no cost"
    assert TemplateCost().measured(2, -50).per_message == 0
    assert once.doubled().per_message == 48


def test_neighbours_of_one_role_become_one_message() -> None:
    first, answer, second = branch(1, 1)
    call = ToolCall(id="c", name="f", arguments="{}")
    calling = answer.model_copy(update={"tool_calls": (call,), "text": ""})
    told = answer.model_copy(update={"role": Role.TOOL, "tool_call_id": "c", "text": "r"})
    made = chat_messages([first, second, calling, told, answer])
    assert [one["role"] for one in made] == ["user", "assistant", "tool", "assistant"]
    assert made[0]["content"] == "q\n\nq"
    assert made[2] == {"role": "tool", "content": "r", "tool_call_id": "c"}


def test_summary_is_of_use_only_where_its_last_message_is_in_the_branch() -> None:
    messages = branch(1, 1)
    summary = messages[1].model_copy(
        update={"id": "s", "kind": MessageKind.SUMMARY, "parent_id": messages[1].id}
    )
    ids = {message.id for message in messages}
    assert context.is_usable(summary, ids)
    assert not context.is_usable(summary, {"other"})
    broken = summary.model_copy(update={"state": MessageState.FAILED})
    assert not context.is_usable(broken, ids)
    assert context.covered(messages, summary) == {messages[0].id, messages[1].id}
