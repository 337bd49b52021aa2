import sys

from luci_tui.engine import frames

N_TEXTS = 20_000


def test_events_given_many_texts_then_none_of_them_stays_in_memory() -> None:
    event = frames.Delta(request_id=1, text="TEXT").model_dump_json().encode()
    before = sys.getallocatedblocks()
    for number in range(N_TEXTS):
        frames.event_adapter.validate_json(event.replace(b"TEXT", b"word %d" % number))
    assert sys.getallocatedblocks() - before < N_TEXTS / 20
