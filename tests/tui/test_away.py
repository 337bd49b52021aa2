import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from luci_tui.chat.records import ChatRow, ChatSession, Message, MessageState, OpenedChat, Role
from luci_tui.download.records import ItemState
from luci_tui.errors import HostError, LuciError
from luci_tui.host.api.download_messages import DownloadChanged, DownloadList, DownloadRecord
from luci_tui.host.api.messages import (
    ChatItems,
    ErrorBody,
    JobChanged,
    JobRecord,
    Jobs,
    JobState,
)
from luci_tui.tui.app import ChatApp
from luci_tui.tui.away import MAX_LINES, away_text, look_back, of_job
from luci_tui.tui.watch import what_goes_on
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.screen import NOW_S, modes_app, shown_text, wait_for_text, wait_until
from tests.support.screen_texts import check_in_both_themes

SIZES = ((80, 24), (120, 40))
SINCE_S = NOW_S - 3600
BEFORE_S = SINCE_S - 60


def job(number: int, state: JobState, ended_s: float | None, **fields: object) -> JobRecord:
    values: dict[str, object] = {
        "id": str(number),
        "kind": "quantize",
        "title": f"quantize m{number}.gguf to Q4_K_M",
        "state": state,
        "created_at": (ended_s or NOW_S) - 65,
        "ended_at": ended_s,
        **fields,
    }
    return JobRecord.model_validate(values)


def download(name: str, state: ItemState, ended_s: float | None, error: str = "") -> DownloadRecord:
    return DownloadRecord(
        id=1,
        name=name,
        source="hf:a/b",
        version="v",
        state=state,
        done_bytes=1,
        size_bytes=1,
        is_size_known=True,
        files=(),
        error=ErrorBody(code="gated", message=error) if error else None,
        created_at=BEFORE_S,
        ended_at=ended_s,
    )


def listed(*downloads: DownloadRecord) -> DownloadList:
    return DownloadList(downloads=downloads, limit_bytes_per_s=0, seq=0)


def chat(
    chat_id: str, title: str, state: MessageState, ended_s: float
) -> tuple[ChatRow, OpenedChat]:
    at_ms = round(ended_s * 1000)
    session = ChatSession(id=chat_id, title=title, created_ms=0, updated_ms=at_ms)
    asked = Message(id="u", role=Role.USER, text=title, created_ms=0)
    reply = Message(
        id="a",
        role=Role.ASSISTANT,
        parent_id="u",
        state=state,
        created_ms=at_ms - 20_000,
        finished_ms=at_ms,
    )
    return ChatRow(session=session, n_messages=2), OpenedChat(
        session=session, messages=(asked, reply)
    )


def host(
    *jobs: JobRecord,
    downloads: tuple[DownloadRecord, ...] = (),
    chats: tuple[tuple[ChatRow, OpenedChat], ...] = (),
) -> FakeHost:
    says: dict[str, BaseModel | LuciError] = {
        "/luci/jobs": Jobs(jobs=jobs),
        "/luci/downloads": listed(*downloads),
        "/luci/chats?limit=8": ChatItems(items=tuple(row.model_dump() for row, _ in chats)),
    }
    says |= {f"/luci/chats/{row.session.id}": opened for row, opened in chats}
    return FakeHost(says)


BUSY_NIGHT = host(
    job(12, JobState.DONE, NOW_S - 60),
    job(11, JobState.FAILED, NOW_S - 900, error=ErrorBody(code="x", message="The disk is full.")),
    job(10, JobState.RUNNING, None),
    job(9, JobState.DONE, BEFORE_S),
    job(8, JobState.CANCELLED, NOW_S - 50),
    job(7, JobState.DONE, NOW_S - 40, kind="load", title="load m7"),
    downloads=(
        download("phi-4", ItemState.DONE, NOW_S - 300),
        download(
            "evil\x1b[2J[red]", ItemState.FAILED, NOW_S - 200, "A licence has to be accepted."
        ),
        download("old", ItemState.DONE, BEFORE_S),
        download("still", ItemState.RUNNING, None),
    ),
    chats=(
        chat(
            "c1",
            "list the files in a folder with a long, long name",
            MessageState.COMPLETE,
            NOW_S - 30,
        ),
        chat("c2", "before", MessageState.COMPLETE, BEFORE_S),
    ),
)


async def test_look_back_then_only_what_ended_since_is_told_and_failures_first() -> None:
    found = await look_back(BUSY_NIGHT, SINCE_S)
    assert [one.words for one in found] == [
        "download evil[red]: failed, A licence has to be accepted",
        "job 11, quantize m11.gguf to Q4_K_M: failed, The disk is full",
        'answer in "list the files in a folder with a long,…": complete; luci --resume c1 opens it',
        "job 12, quantize m12.gguf to Q4_K_M: done",
        "download phi-4: done",
    ]
    assert "2 downloads, 2 jobs, 1 answer" in away_text(found, SINCE_S, NOW_S)


async def test_look_back_with_a_load_that_failed_then_it_is_told() -> None:
    failed = job(1, JobState.FAILED, NOW_S, kind="load", title="load m1")
    assert [one.words for one in await look_back(host(failed), SINCE_S)] == [
        "job 1, load m1: failed"
    ]


def test_conversion_whose_texts_differ_then_its_end_says_so() -> None:
    check: dict[str, object] = {"n_strings": 1005, "n_different": 22}
    ended = of_job(job(3, JobState.DONE, NOW_S, kind="convert", result={"check": check}))
    assert ended is not None
    assert ended.words.endswith("done, but 22 of 1005 texts give other tokens than its source")
    check["n_different"] = 0
    ended = of_job(job(3, JobState.DONE, NOW_S, kind="convert", result={"check": check}))
    assert ended is not None
    assert ended.words.endswith("done")


async def test_look_back_at_a_chat_that_was_deleted_meanwhile_then_the_rest_is_told() -> None:
    gone = host(job(1, JobState.DONE, NOW_S), chats=BUSY_CHAT)
    gone.says["/luci/chats/c1"] = HostError("There is no such chat.", code="not_found")
    assert len(await look_back(gone, SINCE_S)) == 1


BUSY_CHAT = (chat("c1", "asked", MessageState.INTERRUPTED, NOW_S - 30),)


async def test_away_text_of_many_then_six_are_named_and_the_rest_counted() -> None:
    many = await look_back(host(*(job(n, JobState.DONE, NOW_S - n) for n in range(1, 20))), SINCE_S)
    lines = away_text(many, SINCE_S, NOW_S).splitlines()
    assert len(lines) == MAX_LINES + 2
    assert lines[-1] == "Downloads (3) and Jobs (4) have the other 13."


def test_away_text_of_nothing_is_empty() -> None:
    assert not away_text([], SINCE_S, NOW_S)


def app_seen(home: Path, link: FakeLink, seen_s: float | None) -> ChatApp:
    if seen_s is not None:
        (home / "screen.json").write_text(json.dumps({"seen_at": seen_s}))
    return modes_app(link, home=home)


def seen_s_of(home: Path) -> float:
    return float(json.loads((home / "screen.json").read_text())["seen_at"])


@pytest.mark.parametrize("size", SIZES)
async def test_screen_that_comes_back_tells_what_ended_once(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    app = app_seen(tmp_path, FakeLink(BUSY_NIGHT), SINCE_S)
    async with app.run_test(size=size) as pilot:
        await wait_for_text(pilot, "While you were away, since 07:00:00")
        await check_in_both_themes(pilot, "away")
    assert seen_s_of(tmp_path) == NOW_S
    later = modes_app(FakeLink(BUSY_NIGHT), home=tmp_path, now_s=lambda: NOW_S + 10)
    async with later.run_test(size=size) as pilot:
        await wait_until(pilot, lambda: seen_s_of(tmp_path) == NOW_S + 10)
        await wait_for_text(pilot, "ready")
        assert "While you were away" not in shown_text(later)


async def test_screen_after_a_clock_that_was_put_back_tells_nothing_and_goes_on(
    tmp_path: Path,
) -> None:
    app = app_seen(tmp_path, FakeLink(BUSY_NIGHT), NOW_S + 86_400)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await wait_until(pilot, lambda: seen_s_of(tmp_path) == NOW_S)
        assert "While you were away" not in shown_text(app)


async def test_screen_whose_file_of_the_last_look_is_broken_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "screen.json").write_text('{"seen_at": "yester')
    app = modes_app(FakeLink(BUSY_NIGHT), home=tmp_path)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for_text(pilot, "ready")
        await wait_until(pilot, lambda: "NOW" not in (tmp_path / "screen.json").read_text())
        await pilot.press("ctrl+q")
    assert seen_s_of(tmp_path) == NOW_S


@pytest.mark.parametrize("size", SIZES)
async def test_job_and_download_that_end_under_the_screen_are_said_in_every_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(ChatApp, "NOTIFICATION_TIMEOUT", 600)
    live = host()
    live.streams = {
        "/luci/events": [
            JobChanged(job=job(5, JobState.DONE, BEFORE_S)),
            JobChanged(job=job(6, JobState.RUNNING, None)),
            JobChanged(job=job(6, JobState.DONE, NOW_S + 5)),
        ],
        "/luci/downloads/events": [
            DownloadChanged(download=download("phi-4", ItemState.FAILED, NOW_S + 1, "No room."))
        ],
    }
    app = modes_app(FakeLink(live), home=tmp_path)
    async with app.run_test(size=size, notifications=True) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "Job 6, quantize m6")
        await wait_for_text(pilot, "Download phi-4: failed")
        assert "Job 5" not in shown_text(app)
        await check_in_both_themes(pilot, "news")


async def test_what_goes_on_counts_jobs_and_downloads() -> None:
    assert await what_goes_on(FakeLink(None)) == ""
    assert await what_goes_on(FakeLink(None, error=HostError("gone", code="unreachable"))) == ""
