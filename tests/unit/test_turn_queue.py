import asyncio
import time

from luci_tui.chat.turn_events import TurnDelta, TurnFailed, TurnPrompt
from luci_tui.chat.turn_queue import MAX_WAITING, TurnQueue
from luci_tui.engine.frames import ToolCallDelta

LONG_S = 30.0
END = TurnFailed(reply_id="r", code="any", message="It ended.")


def piece(text: str) -> TurnDelta:
    return TurnDelta(text=text)


async def test_pieces_that_wait_then_they_come_as_one() -> None:
    queue = TurnQueue(LONG_S)
    call = ToolCallDelta(index=0, name="f", arguments="{")
    await queue.put(TurnDelta(text="a", reasoning="x"))
    await queue.put(TurnDelta(text="b", tool_calls=(call,)))
    await queue.put(TurnDelta(reasoning="y", tool_calls=(call,)))
    assert await queue.get() == TurnDelta(text="ab", reasoning="xy", tool_calls=(call, call))
    assert queue.empty()


async def test_first_piece_then_it_is_not_held_back() -> None:
    queue = TurnQueue(LONG_S)
    async with asyncio.timeout(10):
        reading = asyncio.create_task(queue.get())
        await queue.put(piece("a"))
        assert await reading == piece("a")


async def test_second_piece_soon_after_the_first_then_it_waits_for_more() -> None:
    queue = TurnQueue(0.05)
    await queue.put(piece("a"))
    await queue.get()
    started_s = time.monotonic()
    reading = asyncio.create_task(queue.get())
    await queue.put(piece("b"))
    await asyncio.sleep(0)
    await queue.put(piece("c"))
    assert await reading == piece("bc")
    assert time.monotonic() - started_s > 0.04


async def test_end_after_a_piece_then_neither_is_held_back() -> None:
    queue = TurnQueue(LONG_S)
    await queue.put(piece("a"))
    await queue.get()
    reading = asyncio.create_task(queue.get())
    await queue.put(piece("b"))
    await asyncio.sleep(0)
    await queue.put(END)
    async with asyncio.timeout(10):
        assert await reading == piece("b")
        assert not queue.empty()
        assert await queue.get() == END
    assert queue.empty()


async def test_prompt_between_pieces_then_the_order_stays() -> None:
    queue = TurnQueue(0)
    prompt = TurnPrompt(n_done=1, n_total=2)
    given = [piece("a"), prompt, prompt, piece("b"), piece("c"), END]
    for event in given:
        await queue.put(event)
    got = [await queue.get() for _ in range(5)]
    assert got == [piece("a"), prompt, prompt, piece("bc"), END]
    assert queue.empty()


async def test_text_after_a_prompt_that_was_read_late_then_it_is_gathered() -> None:
    queue = TurnQueue(0.05)
    await queue.put(TurnPrompt(n_done=1, n_total=1))
    await queue.put(piece("a"))
    await queue.get()
    assert await queue.get() == piece("a")
    reading = asyncio.create_task(queue.get())
    await queue.put(piece("b"))
    await asyncio.sleep(0)
    await queue.put(piece("c"))
    assert await reading == piece("bc")


async def test_wake_without_an_event_then_the_reader_gets_none_or_the_text_before_it() -> None:
    queue = TurnQueue(LONG_S)
    queue.put_nowait(None)
    assert await queue.get() is None
    await queue.put(piece("a"))
    queue.put_nowait(None)
    assert await queue.get() == piece("a")
    assert queue.empty()


async def test_slow_reader_then_the_writer_waits() -> None:
    queue = TurnQueue(0)
    for _ in range(MAX_WAITING):
        await queue.put(piece("a"))
    late = asyncio.create_task(queue.put(END))
    await asyncio.sleep(0)
    assert not late.done()
    assert await queue.get() == piece("a" * MAX_WAITING)
    await late
    assert await queue.get() == END
