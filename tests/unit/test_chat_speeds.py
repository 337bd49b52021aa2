import json
from pathlib import Path

from luci_tui.chat.speeds import MAX_ANSWERS, ChatSpeed, read_speeds


def line(number: int, model: str = "tiny", n_tokens: int = 101, decode_ms: float = 2000.0) -> str:
    ended = {
        "time": float(number),
        "event": "turn_done",
        "chat": "c",
        "model": model,
        "usage": {"prompt_tokens": 5, "completion_tokens": n_tokens},
        "timings": {"queue_ms": 0.0, "prefill_ms": 1.0, "decode_ms": decode_ms, "ttft_ms": 1.0},
    }
    return json.dumps(ended) + "\n"


def test_no_logs_know_no_speed(tmp_path: Path) -> None:
    assert read_speeds(tmp_path / "nowhere") == {}


def test_speed_is_the_median_of_the_answers_of_all_chats(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(line(1) + line(2, decode_ms=1000.0))
    (tmp_path / "b.jsonl").write_text(line(3, decode_ms=4000.0) + line(4, model="other"))
    assert read_speeds(tmp_path) == {"tiny": ChatSpeed(50.0, 3), "other": ChatSpeed(50.0, 1)}


def test_only_the_last_answers_count(tmp_path: Path) -> None:
    slow = "".join(line(number, decode_ms=20_000.0) for number in range(MAX_ANSWERS))
    fast = "".join(line(100 + number) for number in range(MAX_ANSWERS))
    (tmp_path / "a.jsonl").write_text(slow + fast)
    assert read_speeds(tmp_path) == {"tiny": ChatSpeed(50.0, MAX_ANSWERS)}


def test_short_answers_and_lines_without_sense_say_nothing(tmp_path: Path) -> None:
    broken = '{"event": "turn_done"}\n{"event": "turn_done", "model": 1\n\xff\n'
    (tmp_path / "a.jsonl").write_text(
        broken + line(1, n_tokens=3) + line(2, decode_ms=0.0) + '{"event": "turn_failed"}\n'
    )
    (tmp_path / "notes.txt").write_text(line(1))
    (tmp_path / "d.jsonl").mkdir()
    assert read_speeds(tmp_path) == {}
