from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luci_tui.engine import frames, wire

payloads_strategy = st.lists(st.binary(min_size=1, max_size=60), max_size=6)


@given(payloads_strategy)
def test_decoder_given_any_split_into_two_then_returns_the_same_payloads(
    payloads: list[bytes],
) -> None:
    stream = b"".join(wire.encode(payload) for payload in payloads)
    for cut in range(len(stream) + 1):
        decoder = wire.FrameDecoder()
        received = decoder.feed(stream[:cut]) + decoder.feed(stream[cut:])
        decoder.finish()
        assert received == payloads


@given(payloads_strategy)
def test_decoder_given_single_bytes_then_returns_the_same_payloads(payloads: list[bytes]) -> None:
    stream = b"".join(wire.encode(payload) for payload in payloads)
    decoder = wire.FrameDecoder()
    received = [done for byte in stream for done in decoder.feed(bytes([byte]))]
    decoder.finish()
    assert received == payloads


@given(payloads_strategy.filter(bool), st.data())
def test_decoder_given_a_stream_cut_inside_a_frame_then_finish_raises(
    payloads: list[bytes], data: st.DataObject
) -> None:
    complete = [wire.encode(payload) for payload in payloads]
    cut = data.draw(st.integers(1, len(complete[-1]) - 1))
    decoder = wire.FrameDecoder()
    received = decoder.feed(b"".join(complete[:-1]) + complete[-1][:cut])
    assert received == payloads[:-1]
    with pytest.raises(wire.BrokenFrameError, match="ended inside a frame"):
        decoder.finish()


@pytest.mark.parametrize("length", [0, frames.MAX_FRAME_BYTES + 1, 2**32 - 1])
def test_decoder_given_a_bad_length_then_raises_before_the_payload_arrives(length: int) -> None:
    decoder = wire.FrameDecoder()
    assert decoder.feed(struct.pack("<I", length)[:3]) == []
    with pytest.raises(wire.BrokenFrameError, match=str(length)):
        decoder.feed(struct.pack("<I", length)[3:])


def test_encode_given_an_empty_payload_then_raises() -> None:
    with pytest.raises(wire.BrokenFrameError):
        wire.encode(b"")


def test_encode_given_too_long_a_payload_then_raises() -> None:
    with pytest.raises(wire.BrokenFrameError, match=str(frames.MAX_FRAME_BYTES)):
        wire.encode(bytes(frames.MAX_FRAME_BYTES + 1))
