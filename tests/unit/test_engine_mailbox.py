from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luci_tui.engine import frames
from luci_tui.engine.mailbox import MAX_WAITING_DELTAS, Mailbox, merge_deltas
from luci_tui.errors import EngineError, WorkerLostError

END = frames.Done(
    request_id=1,
    finish_reason=frames.FinishReason.STOP,
    usage=frames.Usage(prompt_tokens=1, completion_tokens=1, n_ctx=8),
    timings=frames.Timings(),
)


def delta(number: int) -> frames.Delta:
    return frames.Delta(request_id=1, text=f"{number} ", tokens=(number,))


async def drain(mailbox: Mailbox) -> list[frames.Event]:
    events = [await mailbox.take()]
    while events[-1] is not END:
        events.append(await mailbox.take())
    return events


@given(st.lists(st.booleans(), max_size=200))
def test_mailbox_given_any_rhythm_of_taking_then_loses_no_token(is_taken: list[bool]) -> None:
    async def run() -> list[frames.Event]:
        mailbox = Mailbox()
        taken: list[frames.Event] = []
        for number, take in enumerate(is_taken):
            mailbox.put(delta(number))
            if take:
                taken.append(await mailbox.take())
        mailbox.put(END)
        return taken + await drain(mailbox)

    events = asyncio.run(run())
    tokens = [token for event in events if event.kind == "delta" for token in event.tokens]
    assert tokens == list(range(len(is_taken)))
    assert "".join(e.text for e in events if e.kind == "delta") == "".join(f"{t} " for t in tokens)


async def test_mailbox_given_no_consumer_then_text_is_merged() -> None:
    mailbox = Mailbox()
    n_deltas = 10 * MAX_WAITING_DELTAS
    for number in range(n_deltas):
        mailbox.put(delta(number))
    mailbox.put(END)
    assert mailbox.has_ended
    events = await drain(mailbox)
    assert len(events) == 2
    assert isinstance(events[0], frames.Delta)
    assert events[0].tokens == tuple(range(n_deltas))


async def test_mailbox_given_progress_then_only_the_newest_is_kept() -> None:
    mailbox = Mailbox()
    for n_done in (1, 2, 3):
        mailbox.put(frames.PromptProgress(request_id=1, n_done=n_done, n_total=3))
    event = await mailbox.take()
    assert isinstance(event, frames.PromptProgress)
    assert event.n_done == 3


async def test_mailbox_given_a_failure_then_what_came_before_is_taken_first() -> None:
    mailbox = Mailbox()
    mailbox.put(delta(1))
    mailbox.fail(WorkerLostError("gone"))
    assert (await mailbox.take()).kind == "delta"
    with pytest.raises(WorkerLostError, match="gone"):
        await mailbox.take()


async def test_mailbox_given_a_failure_after_the_end_then_the_end_stays() -> None:
    mailbox = Mailbox()
    mailbox.put(END)
    mailbox.fail(EngineError("too late"))
    assert await mailbox.take() is END


async def test_mailbox_given_a_waiting_consumer_then_wakes_it() -> None:
    mailbox = Mailbox()
    task = asyncio.ensure_future(mailbox.take())
    await asyncio.sleep(0)
    mailbox.put(delta(1))
    mailbox.put(delta(2))
    event = await task
    assert isinstance(event, frames.Delta)
    assert event.tokens == (1, 2)


async def test_mailbox_given_a_cancelled_consumer_then_nothing_is_lost() -> None:
    mailbox = Mailbox()
    task = asyncio.ensure_future(mailbox.take())
    await asyncio.sleep(0)
    mailbox.put(delta(1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await mailbox.take()).kind == "delta"


def test_merge_given_all_fields_then_keeps_each_in_order() -> None:
    call = frames.ToolCallDelta(index=0, id="a", name="f", arguments="{")
    more = frames.ToolCallDelta(index=0, arguments="}")
    one = frames.TokenLogprob(token=1, text="a", logprob=-0.5)
    merged = merge_deltas(
        [
            frames.Delta(
                request_id=4, text="a", reasoning="x", tool_calls=(call,), logprobs=(one,)
            ),
            frames.Delta(request_id=4, text="b", reasoning="y", tool_calls=(more,), tokens=(2,)),
        ]
    )
    assert merged == frames.Delta(
        request_id=4,
        text="ab",
        reasoning="xy",
        tool_calls=(call, more),
        tokens=(2,),
        logprobs=(one,),
    )
