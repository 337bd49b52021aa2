from collections.abc import Sequence
from pathlib import Path

import pytest

from luci_tui.errors import HostError
from luci_tui.host.api.download_messages import (
    DownloadList,
    DownloadRecord,
    MoveDownload,
    SetLimit,
)
from luci_tui.host.api.messages import ErrorBody
from luci_tui.tui.app import ChatApp
from luci_tui.tui.modes.downloads import screen as downloads_screen
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.keys import Keys, presses
from tests.support.screen import NOW_S, modes_app, shown_text, wait_for_text, wait_until
from tests.support.screen_texts import check_in_both_themes

SIZES = ((80, 24), (120, 40))
GIB = 1024**3


def file(name: str, step: str = "downloading", **fields: object) -> dict[str, object]:
    known = {"done_bytes": 0, "size_bytes": 2 * GIB, "rate_bytes_per_s": 0, "n_retries": 0}
    return {"name": name, "step": step, "note": "", **known, **fields}


def download(number: int, name: str, state: str, **fields: object) -> DownloadRecord:
    values: dict[str, object] = {
        "id": number,
        "name": name,
        "source": f"hf:org/{name}",
        "version": "",
        "state": state,
        "done_bytes": 0,
        "size_bytes": 2 * GIB,
        "is_size_known": True,
        "files": (file(f"{name}-Q4_K_M.gguf", "queued"),),
        "created_at": NOW_S - 500,
    }
    return DownloadRecord.model_validate({**values, **fields})


RUNNING = download(
    4,
    "llama-3.2-3b",
    "running",
    done_bytes=GIB,
    rate_bytes_per_s=30_000_000,
    left_s=36,
    files=(
        file("llama-3.2-3b-Q4_K_M.gguf", done_bytes=GIB, rate_bytes_per_s=30_000_000, n_retries=2),
        file("mmproj-F16.gguf", "queued"),
    ),
)
STALLED = download(
    5,
    "qwen2.5-coder-7b\x1b[2J[red]",
    "running",
    files=(file("q.gguf", "waiting", note="no data for 8 s, asking again (3rd time)"),),
)
QUEUED = download(6, "phi-4", "queued", is_size_known=False)
FAILED = download(
    3,
    "gemma-3",
    "failed",
    done_bytes=GIB // 4,
    error=ErrorBody(code="disk", message="The disk has 1 GiB, and 2 GiB are missing."),
)
PAUSED = download(2, "smollm2", "paused")
DONE = download(1, "tiny", "done", done_bytes=2 * GIB, ended_at=NOW_S - 60)
ALL = (RUNNING, STALLED, QUEUED, FAILED, PAUSED, DONE)


@pytest.fixture(autouse=True)
def same_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    init = downloads_screen.DownloadsScreen.__init__
    monkeypatch.setattr(init, "__defaults__", (lambda: 112 * GIB,))


def app_with(downloads: Sequence[DownloadRecord] = ALL) -> tuple[ChatApp, FakeHost]:
    listed = DownloadList(downloads=tuple(downloads), limit_bytes_per_s=0, seq=1)
    verbs = ("pause", "resume", "cancel", "move")
    says = {f"/luci/downloads/{one.id}/{verb}": one for one in downloads for verb in verbs}
    host = FakeHost({"/luci/downloads": listed, "/luci/downloads/limit": listed, **says})
    return modes_app(FakeLink(host)), host


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "downloads", "keys", "waits_for"),
    [
        ("downloads-empty", (), (), "Nothing is being downloaded"),
        ("downloads", ALL, (), "2 retries"),
        ("downloads-stalled", ALL, ("down",), "no data for 8 s"),
        ("downloads-ended", ALL, ("end",), "tiny · done"),
        ("downloads-failed", ALL, ("down", "down", "down"), "Error: The disk has 1 GiB"),
    ],
)
async def test_downloads_are_drawn(
    size: tuple[int, int],
    name: str,
    downloads: tuple[DownloadRecord, ...],
    keys: tuple[str, ...],
    waits_for: str,
) -> None:
    app, _ = app_with(downloads)
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+3")
        await wait_for_text(pilot, "free")
        await pilot.press(*keys)
        await wait_for_text(pilot, waits_for)
        await check_in_both_themes(pilot, name)


@pytest.mark.parametrize(
    ("one", "key", "path"),
    [
        (RUNNING, "p", "/luci/downloads/4/pause"),
        (FAILED, "r", "/luci/downloads/3/resume"),
        (QUEUED, "plus", "/luci/downloads/6/move"),
        (QUEUED, "minus", "/luci/downloads/6/move"),
    ],
)
async def test_key_changes_the_download_with_the_cursor(
    one: DownloadRecord, key: str, path: str
) -> None:
    app, host = app_with((one,))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+3")
        await wait_for_text(pilot, f"{one.name} · {one.state.value}")
        await pilot.press(key)
        await wait_until(pilot, lambda: len(host.asked) == 1)
        assert host.asked[0].path == path
        if key in ("plus", "minus"):
            place = "up" if key == "plus" else "down"
            assert host.asked[0].body == MoveDownload(place=place)


@pytest.mark.parametrize("size", SIZES)
async def test_cancel_asks_and_says_what_is_lost(size: tuple[int, int]) -> None:
    app, host = app_with((RUNNING,))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+3")
        await wait_for_text(pilot, "2 retries")
        await pilot.press("x")
        await wait_for_text(pilot, "The 1.00 GiB of it that have arrived are removed.")
        await check_in_both_themes(pilot, "downloads-cancel")
        await pilot.press("enter")
        await wait_until(pilot, lambda: "are removed" not in shown_text(app))
        assert host.asked == []
        await pilot.press("x")
        await wait_for_text(pilot, "are removed")
        await pilot.press("y")
        await wait_until(pilot, lambda: len(host.asked) == 1)
        assert host.asked[0].path == "/luci/downloads/4/cancel"


@pytest.mark.parametrize("size", SIZES)
async def test_limit_is_typed_and_what_cannot_be_read_is_said(size: tuple[int, int]) -> None:
    app, host = app_with(())
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+3")
        await wait_for_text(pilot, "no limit")
        await pilot.press("l")
        await wait_for_text(pilot, "Bytes per second")
        await pilot.press(*"fast", "enter")
        await wait_for_text(pilot, "'fast' is no rate")
        await check_in_both_themes(pilot, "downloads-limit")
        await pilot.press(*["backspace"] * 4, *"5MB", "enter")
        await wait_until(pilot, lambda: len(host.asked) == 1)
        assert host.asked[0].body == SetLimit(bytes_per_s=5_000_000)
        await wait_for_text(pilot, "no limit")
        await pilot.press("l")
        await wait_for_text(pilot, "Bytes per second")
        await pilot.press("escape")
        await wait_until(pilot, lambda: "Bytes per second" not in shown_text(app))
        assert len(host.asked) == 1


async def test_keys_that_make_no_sense_for_a_download_are_not_offered() -> None:
    app, host = app_with((DONE,))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+3")
        await wait_for_text(pilot, "tiny · done")
        for word in ("Pause", "Resume", "Cancel", "Earlier"):
            assert word not in shown_text(app)
        await pilot.press("p", "r", "x", "plus")
        await pilot.pause()
        assert host.asked == []


async def test_refusal_of_the_host_is_told() -> None:
    app, host = app_with((RUNNING,))
    host.says["/luci/downloads/4/pause"] = HostError("The host is leaving.", code="leaving")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("alt+3")
        await wait_for_text(pilot, "2 retries")
        await pilot.press("p")
        await wait_for_text(pilot, "Error: The host is leaving.")


def test_free_disk_is_that_of_the_nearest_folder_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path / "not" / "yet"))
    assert downloads_screen.free_disk_bytes() > 0


# ---- keys


@presses(
    *("downloads.pause", "downloads.resume", "downloads.cancel", "downloads.earlier"),
    *("downloads.later", "downloads.limit", "ask.leave"),
)
async def test_keys_of_the_downloads(keys: Keys) -> None:
    app, host = app_with((RUNNING, QUEUED, FAILED))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+3")
        await wait_for_text(pilot, "p Pause")
        await keys.press(pilot, "downloads.pause", "p", lambda: len(host.asked) == 1)
        await keys.press(pilot, "downloads.cancel", "x", "are removed")
        await pilot.press("n")
        await wait_until(pilot, lambda: "are removed" not in shown_text(app))
        await pilot.press("down")
        await wait_for_text(pilot, "phi-4 · queued")
        await keys.press(pilot, "downloads.earlier", "plus", lambda: len(host.asked) == 2)
        await keys.press(pilot, "downloads.later", "minus", lambda: len(host.asked) == 3)
        await pilot.press("down")
        await wait_for_text(pilot, "gemma-3 · failed")
        await keys.press(pilot, "downloads.resume", "r", lambda: len(host.asked) == 4)
        await keys.press(pilot, "downloads.limit", "l", "Bytes per second")
        await keys.press(
            pilot, "ask.leave", "escape", lambda: "Bytes per second" not in shown_text(app)
        )
    assert [one.path.removeprefix("/luci/downloads/") for one in host.asked] == [
        *("4/pause", "6/move", "6/move", "3/resume"),
    ]
