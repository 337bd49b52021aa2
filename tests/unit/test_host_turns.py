from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest

from luci_tui.chat.turn_events import TurnDelta
from luci_tui.errors import CatalogError
from luci_tui.host.turns import KEPT_BYTES, KEPT_TURNS, Turns

LARGE = KEPT_BYTES // 3


async def saying(*texts: str) -> AsyncGenerator[TurnDelta]:
    for text in texts:
        yield TurnDelta(text=text)


async def said(turns: Turns, number: int, text: str) -> str:
    turn_id = await turns.start(f"chat {number}", saying(text), lambda: None)
    await turns.drain(10)
    turns._is_leaving = False
    return turn_id


async def test_turns_given_many_then_the_youngest_are_kept() -> None:
    turns = Turns()
    ids = [await said(turns, number, "a") for number in range(KEPT_TURNS + 3)]
    assert [record.turn_id for record in turns.records()] == ids[:2:-1]


async def test_turns_given_large_ones_then_their_events_stay_within_a_limit() -> None:
    turns = Turns()
    ids = [await said(turns, number, "a" * LARGE) for number in range(6)]
    assert [record.turn_id for record in turns.records()] == ids[:2:-1]
    with pytest.raises(CatalogError, match="What it said is in the chat"):
        turns.log(ids[0])


async def test_turn_that_is_larger_than_all_may_be_is_kept_until_the_next_has_ended() -> None:
    turns = Turns()
    large = await said(turns, 0, "a" * 2 * KEPT_BYTES)
    assert turns.log(large).n_bytes > KEPT_BYTES
    small = await said(turns, 1, "a")
    assert turns.log(large).is_closed
    await said(turns, 2, "a")
    with pytest.raises(CatalogError):
        turns.log(large)
    assert turns.log(small).is_closed
