import asyncio
import json
from contextlib import aclosing

from hypothesis import given
from hypothesis import strategies as st

from luci_tui.host.api.messages import Notice, Progress
from luci_tui.host.events import Entry, EventLog


def note(text: str) -> Notice:
    return Notice(text=text)


async def read(log: EventLog, after: int = 0) -> list[Entry]:
    return [entry async for entry in log.subscribe(after)]


async def test_subscribe_gives_what_was_and_what_comes() -> None:
    log = EventLog()
    log.append(note("before"))
    reading = asyncio.create_task(read(log))
    await asyncio.sleep(0)
    log.append(note("after"))
    log.close()
    entries = await asyncio.wait_for(reading, 5)
    assert [(entry.seq, json.loads(entry.data)["text"]) for entry in entries] == [
        (1, "before"),
        (2, "after"),
    ]


async def test_subscribe_after_a_number_leaves_out_what_was_seen() -> None:
    log = EventLog()
    for text in "abc":
        log.append(note(text))
    log.close()
    assert [entry.seq for entry in await read(log, after=2)] == [3]
    assert await read(log, after=3) == []


async def test_subscribe_for_what_was_dropped_gets_a_gap_first() -> None:
    log = EventLog(max_events=8)
    for number in range(20):
        log.append(note(str(number)))
    log.close()
    gap, *rest = await read(log, after=2)
    assert gap.kind == "gap"
    assert json.loads(gap.data)["dropped_to"] == gap.seq
    assert [entry.seq for entry in rest] == list(range(gap.seq + 1, 21))
    assert len(rest) <= 8


async def test_progress_that_was_replaced_is_no_gap() -> None:
    log = EventLog()
    for number in range(5):
        log.append(Progress(n_done=number), replaces=True)
    log.close()
    (entry,) = await read(log)
    assert (entry.seq, json.loads(entry.data)["n_done"]) == (5, 4)
    assert [entry.kind for entry in await read(log, after=3)] == ["progress"]


async def test_subscribe_with_a_number_of_another_life_gets_everything() -> None:
    log = EventLog()
    log.append(note("first"))
    log.close()
    kinds = [entry.kind for entry in await read(log, after=900)]
    assert kinds[-1] == "notice"


async def test_slow_reader_of_a_full_log_gets_a_gap_and_no_event_twice() -> None:
    log = EventLog(max_events=16)
    log.append(note("first"))
    seen: list[Entry] = []
    async with aclosing(log.subscribe()) as entries:
        seen.append(await anext(entries))
        for number in range(200):
            log.append(note(str(number)))
        log.close()
        seen += [entry async for entry in entries]
    numbers = [entry.seq for entry in seen]
    assert numbers == sorted(set(numbers))
    assert "gap" in [entry.kind for entry in seen]
    assert numbers[-1] == 201


async def test_bytes_are_bounded_too() -> None:
    log = EventLog(max_bytes=10_000)
    for _ in range(100):
        log.append(note("x" * 1000))
    log.close()
    entries = await read(log)
    assert sum(len(entry.data) for entry in entries if entry.kind != "gap") <= 10_000


@given(st.lists(st.integers(min_value=0, max_value=30), max_size=6), st.integers(1, 40))
def test_readers_that_come_back_lose_nothing_within_the_bounds(
    stops: list[int], n_events: int
) -> None:
    async def play() -> None:
        log = EventLog()
        for number in range(n_events):
            log.append(note(str(number)))
        log.close()
        seen: list[int] = []
        for stop in [*stops, n_events]:
            async with aclosing(log.subscribe(seen[-1] if seen else 0)) as entries:
                n_read = 0
                async for entry in entries:
                    if n_read == stop:
                        break
                    seen.append(entry.seq)
                    n_read += 1
        assert seen == list(range(1, n_events + 1))

    asyncio.run(play())
