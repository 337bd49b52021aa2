from pathlib import Path

import pytest

from luci_tui.tui.modes.logs.reading import MAX_LINE, TAIL_BYTES, LogReader, log_files
from luci_tui.tui.modes.logs.words import Level, line_of
from tests.support.fake_host import FakeLink
from tests.support.keys import Keys, presses
from tests.support.screen import modes_app, shown_text, wait_for_text, wait_until
from tests.support.screen_texts import check_in_both_themes

SIZES = ((80, 24), (120, 40))
HOST_LOG = """\
2026-11-26 01:14:02,118 INFO luci_tui.host.jobs: job 12 is done
2026-11-26 01:14:05,020 WARNING luci_tui.manager: worker 88 was lost (signal 9)
2026-11-26 01:14:05,022 ERROR luci_tui.manager: the model \x1b[2J[red]any\u202e.gguf is not there
Traceback (most recent call last):
  File "manager.py", line 3
2026-11-26 01:14:06,001 INFO luci_tui.host: the host leaves
"""


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    return tmp_path / "logs"


def write_logs(logs: Path) -> None:
    (logs / "chats").mkdir(parents=True)
    (logs / "host.log").write_text(HOST_LOG)
    (logs / "worker.log").write_text("llama_model_loader: loaded meta data\n")
    (logs / "chats" / "c1.jsonl").write_text('{"kind": "turn_failed", "code": "worker_lost"}\n')


@pytest.mark.parametrize("size", SIZES)
async def test_logs_are_drawn(logs: Path, size: tuple[int, int]) -> None:
    write_logs(logs)
    app = modes_app(FakeLink(None))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+8")
        await wait_for_text(pilot, "the host leaves")
        await pilot.press("up", "up", "up")
        await wait_for_text(pilot, "stands still, 3 lines below")
        await check_in_both_themes(pilot, "logs")


@pytest.mark.parametrize("size", SIZES)
async def test_no_logs_say_who_writes_them(
    logs: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    del logs
    monkeypatch.setenv("LUCI_HOME", "/nowhere/luci")
    app = modes_app(FakeLink(None))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+8")
        await wait_for_text(pilot, "There are no logs in /nowhere/luci/logs yet.")
        await check_in_both_themes(pilot, "logs-empty")


async def test_lines_that_come_are_followed_until_the_person_goes_up(logs: Path) -> None:
    write_logs(logs)
    app = modes_app(FakeLink(None))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+8")
        await wait_for_text(pilot, "follows")
        with (logs / "host.log").open("a") as file:
            file.write("".join(f"line {number}\n" for number in range(100)))
        await wait_for_text(pilot, "> line 99")
        await pilot.press("up")
        with (logs / "host.log").open("a") as file:
            file.write("later\n")
        await wait_for_text(pilot, "stands still, 2 lines below")
        await pilot.press("f")
        await wait_for_text(pilot, "> later")


async def test_level_shows_warnings_then_errors_then_all(logs: Path) -> None:
    write_logs(logs)
    app = modes_app(FakeLink(None))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+8")
        await wait_for_text(pilot, "the host leaves")
        await pilot.press("l")
        await wait_for_text(pilot, "warnings and errors")
        assert "INFO" not in shown_text(app)
        assert "WARNING" in shown_text(app)
        await pilot.press("l")
        await wait_for_text(pilot, "errors alone")
        assert "WARNING" not in shown_text(app)
        assert 'File "manager.py", line 3' in shown_text(app)
        await pilot.press("l")
        await wait_for_text(pilot, "the host leaves")


async def test_left_and_right_turn_to_the_other_logs(logs: Path) -> None:
    write_logs(logs)
    app = modes_app(FakeLink(None))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+8")
        await wait_for_text(pilot, "host.log (1 of 3)")
        await pilot.press("right")
        await wait_for_text(pilot, "llama_model_loader")
        await pilot.press("right")
        await wait_for_text(pilot, "turn_failed")
        await pilot.press("right")
        await wait_for_text(pilot, "host.log (1 of 3)")
        await pilot.press("left")
        await wait_for_text(pilot, "c1.jsonl (3 of 3)")


async def test_filter_finds_a_line(logs: Path) -> None:
    write_logs(logs)
    app = modes_app(FakeLink(None))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+8")
        await wait_for_text(pilot, "the host leaves")
        await pilot.press("slash", *"lost")
        await wait_for_text(pilot, "1 of 6")
        await pilot.press("enter")
        await wait_until(pilot, lambda: "job 12 is done" not in shown_text(app))


def test_reader_gives_the_tail_then_what_is_added_then_the_file_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"x" * TAIL_BYTES + b"\nlast\nhalf")
    reader = LogReader(path)
    assert reader.read_new() == (["last"], True)
    with path.open("ab") as file:
        file.write(b" line\n\xff\n")
    assert reader.read_new() == (["half line", "\ufffd"], False)
    assert reader.read_new() == ([], False)
    path.rename(tmp_path / "a.log.1")
    assert reader.read_new() == ([], False)
    path.write_bytes(b"new\n")
    assert reader.read_new() == (["new"], True)


def test_reader_cuts_a_line_without_an_end(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"y" * (MAX_LINE + 5) + b"\n")
    (line,), _ = LogReader(path).read_new()
    assert line.endswith("… (5 more characters)")


def test_files_begin_with_the_hosts_log_and_end_with_chats(tmp_path: Path) -> None:
    assert log_files(tmp_path / "nothing") == []
    write_logs(tmp_path / "logs")
    names = [path.name for path in log_files(tmp_path / "logs")]
    assert names == ["host.log", "worker.log", "c1.jsonl"]


def test_level_is_read_from_the_head_of_a_line_and_a_traceback_goes_on_with_its_error() -> None:
    assert line_of(1, "2026 ERROR a: b", Level.INFO).level is Level.ERROR
    assert line_of(1, "  File x", Level.ERROR).level is Level.ERROR
    assert line_of(1, "x" * 70 + " ERROR", Level.ERROR).level is Level.INFO
    assert line_of(1, "a\x1b[2Jb", Level.INFO).text == "ab"


@presses("logs.next", "logs.previous", "logs.level", "logs.follow")
async def test_keys_of_the_logs(logs: Path, keys: Keys) -> None:
    write_logs(logs)
    app = modes_app(FakeLink(None))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+8")
        await wait_for_text(pilot, "host.log (1 of 3)")
        # What scrolls sideways is asked first; a list that has nothing to the side leaves it.
        await keys.press(pilot, "logs.next", "right", "worker.log (2 of 3)", is_behind=True)
        await keys.press(pilot, "logs.previous", "left", "host.log (1 of 3)", is_behind=True)
        await wait_for_text(pilot, "the host leaves")
        await pilot.press("up")
        await wait_for_text(pilot, "stands still")
        await keys.press(pilot, "logs.follow", "f", "follows")
        await keys.press(pilot, "logs.level", "l", "warnings and errors")


@pytest.mark.parametrize("size", SIZES)
async def test_empty_log_and_filter_without_a_hit_are_drawn(
    logs: Path, size: tuple[int, int]
) -> None:
    write_logs(logs)
    (logs / "host.log").write_text("")
    app = modes_app(FakeLink(None))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+8")
        await wait_for_text(pilot, "host.log is empty.")
        await check_in_both_themes(pilot, "logs-empty-file")
        (logs / "host.log").write_text(HOST_LOG)
        await wait_for_text(pilot, "the host leaves")
        await pilot.press("slash", *"xyz")
        await wait_for_text(pilot, "Nothing here has")
        await check_in_both_themes(pilot, "logs-no-hit")
