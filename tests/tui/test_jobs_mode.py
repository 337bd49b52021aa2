import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from luci_tui.errors import HostError
from luci_tui.host.api.messages import ErrorBody, JobRecord, Jobs, JobState, Progress
from luci_tui.host.lifecycle import Launcher
from luci_tui.tui.modes.jobs.words import details_of
from luci_tui.tui.services import HostLink
from luci_tui.tui.widgets.rows import Rows
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.hosts import running_host
from tests.support.keys import Keys, presses
from tests.support.paced_job import HOLD_JOBS
from tests.support.screen import NOW_S, modes_app, shown_text, wait_for_text, wait_until
from tests.support.screen_texts import check_in_both_themes
from tests.support.wide_models import write_wide_model

SIZES = ((80, 24), (120, 40))
PACED = Launcher(
    command=(sys.executable, "-m", "tests.support.paced_host"), arguments=("--idle-exit-s", "60")
)


def job(number: int, title: str, state: JobState, **fields: object) -> JobRecord:
    began_s = NOW_S - 4000 + 100 * number
    ended_s = None if state is JobState.RUNNING else began_s + 65
    values: dict[str, object] = {"created_at": began_s, "ended_at": ended_s, **fields}
    return JobRecord.model_validate(
        {"id": str(number), "kind": title.split()[0], "title": title, "state": state, **values}
    )


RUNNING = job(
    12,
    "quantize llama-1b.gguf to Q4_K_M",
    JobState.RUNNING,
    created_at=NOW_S - 130,
    progress=Progress(
        what="blk.12.ffn_down.weight",
        n_done=86,
        n_total=201,
        unit="tensors",
        bytes_done=430_000_000,
        bytes_total=1_000_000_000,
    ),
)
ENDED = (
    job(11, "imatrix of llama-1b.gguf", JobState.DONE, result={"path": "/m/llama.imatrix"}),
    job(
        10,
        "load /models/broken\x1b[2J[red].gguf",
        JobState.FAILED,
        error=ErrorBody(code="model_load", message="broken.gguf ends in the middle of a tensor."),
    ),
    job(9, "load llama-1b", JobState.CANCELLED),
    job(8, "quantize old.gguf to Q8_0", JobState.INTERRUPTED),
)
ALL = (RUNNING, *ENDED)


def fake(jobs: Sequence[JobRecord] = ALL) -> FakeHost:
    ended = RUNNING.model_copy(update={"state": JobState.CANCELLED, "ended_at": NOW_S})
    return FakeHost({"/luci/jobs": Jobs(jobs=tuple(jobs)), "/luci/jobs/12/cancel": ended})


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "jobs", "waits_for"),
    [("jobs-empty", (), "No job has run yet"), ("jobs", ALL, "blk.12.ffn_down")],
)
async def test_jobs_are_drawn(
    size: tuple[int, int], name: str, jobs: tuple[JobRecord, ...], waits_for: str
) -> None:
    app = modes_app(FakeLink(fake(jobs)))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, waits_for)
        await check_in_both_themes(pilot, name)


@pytest.mark.parametrize("size", SIZES)
async def test_failed_job_says_why(size: tuple[int, int]) -> None:
    app = modes_app(FakeLink(fake()))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "blk.12")
        await pilot.press("down", "down")
        await wait_for_text(pilot, "Error: broken.gguf ends in the")
        await check_in_both_themes(pilot, "jobs-failed")


def test_details_of_each_end_say_what_came_of_it() -> None:
    assert "path: /m/llama.imatrix" in details_of(ENDED[0], (), NOW_S)
    assert "broken[red].gguf" in details_of(ENDED[1], (), NOW_S)
    assert "The host left or was killed" in details_of(ENDED[3], (), NOW_S)


@pytest.mark.parametrize("size", SIZES)
async def test_cancel_asks_first_and_enter_alone_means_no(size: tuple[int, int]) -> None:
    host = fake()
    app = modes_app(FakeLink(host))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "blk.12")
        for key in ("enter", "n", "escape"):
            await pilot.press("x")
            await wait_for_text(pilot, "Cancel job 12, quantize llama-1b.gguf to Q4_K_M?")
            await check_in_both_themes(pilot, "jobs-cancel")
            await pilot.press(key)
            await wait_until(pilot, lambda: "Cancel job 12" not in shown_text(app))
        assert host.asked == []


@pytest.mark.parametrize("keys", [("y",), ("right", "enter")])
async def test_cancel_that_is_confirmed_ends_the_job(keys: tuple[str, ...]) -> None:
    host = fake()
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "blk.12")
        await pilot.press("x")
        await wait_for_text(pilot, "Cancel job 12")
        await pilot.press(*keys)
        await wait_until(pilot, lambda: len(host.asked) == 1)
        assert host.asked[0].path == "/luci/jobs/12/cancel"


async def test_cancel_is_offered_only_for_a_job_that_runs() -> None:
    app = modes_app(FakeLink(fake()))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "x Cancel")
        await pilot.press("down")
        await wait_until(pilot, lambda: "x Cancel" not in shown_text(app))
        await pilot.press("x")
        assert "Cancel job" not in shown_text(app)


async def test_cancel_that_is_refused_is_told() -> None:
    host = fake()
    host.says["/luci/jobs/12/cancel"] = HostError("The host is leaving.", code="leaving")
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "blk.12")
        await pilot.press("x")
        await wait_for_text(pilot, "Cancel job 12")
        await pilot.press("y")
        await wait_for_text(pilot, "Error: The host is leaving.")


@pytest.mark.parametrize("size", SIZES)
async def test_filter_shows_what_holds_the_words_and_escape_takes_it_away(
    size: tuple[int, int],
) -> None:
    app = modes_app(FakeLink(fake()))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "blk.12")
        await pilot.press("slash", *"load 4")
        await wait_for_text(pilot, "0 of 5")
        await pilot.press("backspace")
        await wait_for_text(pilot, "2 of 5")
        await check_in_both_themes(pilot, "jobs-filter")
        await pilot.press("enter", "escape")
        await wait_for_text(pilot, "quantize llama-1b")


async def test_lost_host_leaves_what_was_known_and_says_since_when() -> None:
    host = fake()
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "blk.12")
        host.says["/luci/jobs"] = HostError("It does not answer.", code="unreachable")
        await wait_for_text(pilot, "Error: as of ")
        assert "quantize llama-1b.gguf" in shown_text(app)


@pytest.mark.native
async def test_job_of_a_real_host_is_watched_left_and_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("LUCI_HOME", str(home))
    source = await asyncio.to_thread(write_wide_model, tmp_path / "wide-F16.gguf")
    target = tmp_path / "wide-Q4_K_M.gguf"
    (home / HOLD_JOBS).touch()
    async with running_host(home, PACED) as client:
        spec = {"source": str(source), "outputs": [{"type": "Q4_K_M", "path": str(target)}]}
        started = await client.start_job("quantize", spec)
        link = HostLink(lambda: PACED)
        app = modes_app(link)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.press("alt+4")
            await wait_for_text(pilot, "1 running")
            await wait_for_text(pilot, "tensors")
            await pilot.press("1", "alt+4")
            await wait_for_text(pilot, "1 running")
            await pilot.press("x")
            await wait_for_text(pilot, "Cancel job 1")
            await pilot.press("y")
            await wait_for_text(pilot, "0 running")
            await wait_for_text(pilot, "cancelled")
        await link.drop()
        assert (await client.job(started.id)).state is JobState.CANCELLED
    assert not target.exists()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "keys", "waits_for"),
    [
        ("jobs-done", ("down",), "/m/llama.imatrix"),
        ("jobs-interrupted", ("end",), "The host left or was killed"),
    ],
)
async def test_ends_of_jobs_are_drawn(
    name: str, keys: tuple[str, ...], waits_for: str, size: tuple[int, int]
) -> None:
    app = modes_app(FakeLink(fake()))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "blk.12")
        await pilot.press(*keys)
        await wait_for_text(pilot, waits_for)
        await check_in_both_themes(pilot, name)


@pytest.mark.parametrize("size", SIZES)
async def test_no_host_is_drawn(size: tuple[int, int]) -> None:
    app = modes_app(FakeLink(None))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "No host runs. Ctrl-R starts one")
        await check_in_both_themes(pilot, "jobs-no-host")


# ---- keys


@presses("jobs.cancel", "confirm.other", "confirm.no", "confirm.yes", "jobs.resume")
async def test_keys_of_the_jobs_and_of_a_question(keys: Keys) -> None:
    resumable = job(
        8,
        "quantize old.gguf to Q8_0",
        JobState.INTERRUPTED,
    )
    host = fake((RUNNING, resumable))
    host.says["POST /luci/jobs"] = RUNNING
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "x Cancel")
        for key in ("n", "escape"):
            await keys.press(pilot, "jobs.cancel", "x", "Cancel job 12")
            for other, button in (("right", "yes"), ("left", "no")):
                await keys.press(
                    pilot,
                    "confirm.other",
                    other,
                    lambda name=button: app.focused is not None and app.focused.id == name,
                )
            await keys.press(
                pilot, "confirm.no", key, lambda: "Cancel job 12" not in shown_text(app)
            )
        await pilot.press("x")
        await wait_for_text(pilot, "Cancel job 12")
        await keys.press(pilot, "confirm.yes", "y", lambda: len(host.asked) == 1)
        await pilot.press("down")
        await wait_for_text(pilot, "r Resume")
        await keys.press(pilot, "jobs.resume", "r", lambda: len(host.asked) == 2)
        assert [one.path for one in host.asked] == ["/luci/jobs/12/cancel", "/luci/jobs/8/resume"]


@presses("live.filter", "live.unfilter", "live.reload", "filter.keep", "filter.clear")
async def test_keys_of_the_filter_and_of_a_list_that_looks_again(keys: Keys) -> None:
    link = FakeLink(fake())
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+4")
        await wait_for_text(pilot, "blk.12")
        list_of = app.screen.query_one(Rows)
        for key in ("enter", "down"):
            await keys.press(pilot, "live.filter", "slash", "Filter:")
            await pilot.press(*"load")
            await wait_for_text(pilot, "2 of 5")
            await keys.press(
                pilot,
                "filter.keep",
                key,
                lambda: list_of.has_focus,
                # The line of text is asked first: it passes Enter on, and does not scroll.
                is_behind=True,
            )
            await keys.press(pilot, "live.unfilter", "escape", "quantize llama-1b.gguf")
        await pilot.press("slash", *"load")
        await wait_for_text(pilot, "2 of 5")
        await keys.press(pilot, "filter.clear", "escape", "quantize llama-1b.gguf")
        n_started = link.n_started
        await keys.press(pilot, "live.reload", "ctrl+r", lambda: link.n_started > n_started)


def test_details_of_a_result_in_a_result_then_a_value_stands_on_each_line() -> None:
    files = [{"type": "Q4_K_M", "size_bytes": 3_500_320, "n_by_type": {"q4_K": 38}, "left": []}]
    result = {"n_params": 5, "dry_run": False, "took_s": 0.39542, "imatrix": "", "files": files}
    text = details_of(job(3, "quantize a.gguf", JobState.DONE, result=result), (), NOW_S)
    assert text.splitlines()[2:-1] == [
        "n_params: 5",
        "dry_run: no",
        "took_s: 0.3954",
        "files:",
        "  type: Q4_K_M",
        "  size_bytes: 3.34 MiB",
        "  n_by_type:",
        "    q4_K: 38",
    ]
