from __future__ import annotations

import pytest

from luci_tui.host.openai import sse

TEXTS = ("", "plain", 'a "quote" and a \\', "two\nlines\x00\x1f", "ein Bär \u2028 \U0001f43b")


@pytest.mark.parametrize("text", TEXTS)
def test_text_events_given_a_text_then_the_same_bytes_as_data(text: str) -> None:
    def content(piece: str) -> object:
        return {"model": 'odd "\\u0000" name', "choices": [{"text": piece, "logprobs": None}]}

    assert sse.TextEvents(content).event(text) == sse.data(content(text))
