from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luci_tui.manager.sse import BrokenStreamError, EventReader


@given(
    st.lists(st.text("a :é漢🙂", max_size=9), max_size=4),
    st.lists(st.integers(0, 60), max_size=5),
    st.sampled_from(["\n", "\r\n"]),
)
def test_reader_given_any_cuts_then_the_events_are_the_same(
    texts: list[str], cuts: list[int], newline: str
) -> None:
    stream = "".join(f": hi{newline}data: {text}{newline}{newline}" for text in texts).encode()
    reader, found, start = EventReader(), list[str](), 0
    for end in [*sorted(cuts), len(stream)]:
        found += reader.feed(stream[start:end])
        start = max(start, end)
    assert found == texts


def test_reader_given_an_event_of_several_lines_then_they_are_joined() -> None:
    assert EventReader().feed(b"event: x\nid: 3\ndata: a\ndata:b\n\n\n") == ["a\nb"]


@pytest.mark.parametrize(
    "stream", [b"data: " + b"x" * 40, b"data: 12345678\n" * 4, b"data: \xff\n\n"]
)
def test_reader_given_what_is_no_stream_then_raises(stream: bytes) -> None:
    with pytest.raises(BrokenStreamError):
        EventReader(max_event_bytes=30).feed(stream)
