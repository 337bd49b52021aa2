from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui.engine import last_words

LOG = Path("/logs/worker.log")
ASSERT_TAIL = """\
2026-01-01 10:00:00,000 INFO llama.cpp: loaded
/src/ggml.c:77: GGML_ASSERT(a->type == b->type) failed
Fatal Python error: Aborted
"""


@pytest.mark.parametrize(
    ("status", "tail", "expected"),
    [
        (
            -9,
            "",
            "was killed (SIGKILL), most likely because the machine ran out of memory. Load it",
        ),
        (-11, "", "crashed (SIGSEGV"),
        (-7, "", "its model file became shorter"),
        (-4, "", "built for another kind of CPU. Build it again"),
        (-8, "", "division by zero"),
        (-15, "", "asked from outside to end (SIGTERM)"),
        (-6, ASSERT_TAIL, "(SIGABRT): ggml.c:77: GGML_ASSERT(a->type == b->type) failed. "),
        (-6, "  what():  bad thing\n", "(SIGABRT): what():  bad thing. "),
        (-6, "nothing of use\n", "stopped itself (SIGABRT). Load it again"),
        (-40, "", "was ended by signal 40. "),
        (70, "", "saw its pipe close (exit code 70). "),
        (1, "ModuleNotFoundError: x\n2026-01-01 10:00:00 INFO a: b\n\n", "code 1: ModuleNotFound"),
        (3, "", "ended with exit code 3. "),
    ],
)
def test_worker_lost_given_a_status_then_says_what_happened(
    status: int, tail: str, expected: str
) -> None:
    message = last_words.worker_lost("m.gguf", status, tail, LOG).message
    assert message.startswith("The worker for m.gguf ")
    assert expected in message
    assert message.endswith("Its log is /logs/worker.log.")


def test_worker_lost_given_a_long_line_with_escapes_then_it_is_cut_and_clean() -> None:
    message = last_words.worker_lost("m", 1, "\x1b[31m" + "x" * 5000, LOG).message
    assert "\x1b" not in message
    assert len(message) < 600


def test_read_tail_given_an_older_workers_lines_then_leaves_them_out(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    path.write_bytes(b"old line\nnew \xff line\n")
    assert last_words.read_tail(path, 9) == "new � line\n"
    assert last_words.read_tail(tmp_path / "none", 0) == ""
    path.write_bytes(b"x" * (last_words.TAIL_BYTES + 10) + b"end")
    tail = last_words.read_tail(path, 0)
    assert len(tail) == last_words.TAIL_BYTES
    assert tail.endswith("end")
