import json
import stat
from pathlib import Path

import pytest

from luci_tui.chat import journal as journals
from luci_tui.chat.journal import Journal
from luci_tui.chat.records import ContextReport
from luci_tui.chat.turn_events import TurnDone, TurnFailed, TurnStarted
from luci_tui.engine import frames

STARTED = TurnStarted(chat_id="c", user_message_id="u", reply_id="r", model="m")
DONE = TurnDone(
    reply_id="r",
    model="m",
    finish_reason=frames.FinishReason.STOP,
    usage=frames.Usage(prompt_tokens=1, completion_tokens=2, n_ctx=3),
    timings=frames.Timings(decode_ms=4),
    seed=5,
    context=ContextReport(n_ctx=3, reserve_tokens=1, counted_tokens=1, n_sent=1),
)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_journal_notes_turns_without_their_texts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "logs", clock=lambda: 7.0)
    journal.begun(STARTED, "my secret")
    journal.ended("c", DONE, 1.5, "its secret")
    journal.ended("c", TurnFailed(reply_id="r", code="x", message="It died."), 2.0, "its secret")
    journal.cancelled("c", "r", 3.0)
    begun, done, failed, cancelled = lines(journal.path("c"))
    assert begun == {
        "time": 7.0,
        "event": "turn_started",
        "chat": "c",
        "reply": "r",
        "message": "u",
        "model": "m",
        "n_characters": 9,
    }
    assert (done["seed"], done["elapsed_s"], done["finish_reason"]) == (5, 1.5, "stop")
    assert (failed["code"], failed["message"]) == ("x", "It died.")
    assert cancelled["event"] == "turn_cancelled"
    assert "secret" not in journal.path("c").read_text()
    assert stat.S_IMODE(journal.path("c").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "logs").stat().st_mode) == 0o700


def test_journal_notes_texts_when_asked(tmp_path: Path) -> None:
    journal = Journal(tmp_path, with_texts=True)
    journal.begun(STARTED, "two\nlines")
    journal.ended("c", DONE, 1.0, "answer")
    assert [line["text"] for line in lines(journal.path("c"))] == ["two\nlines", "answer"]


def test_journal_that_cannot_be_written_warns_once_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file")
    journal.begun(STARTED, "x")
    journal.begun(STARTED, "x")
    assert len(caplog.records) == 1


def test_long_journal_is_put_aside_and_both_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journals, "MAX_BYTES", 100)
    journal = Journal(tmp_path)
    journal.begun(STARTED, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["c.jsonl.1"]
    journal.begun(STARTED, "x")
    journal.forget("c")
    assert list(tmp_path.iterdir()) == []
