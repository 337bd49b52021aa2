import json
from pathlib import Path

import pytest
from textual.pilot import Pilot

from luci_tui import paths
from luci_tui.bench.history import BenchRun, add_run, read_history, run_of
from luci_tui.bench.peers import results
from luci_tui.bench.report import BenchReport, Measured, Spread, Via
from luci_tui.errors import HostError
from luci_tui.host.api.download_messages import DownloadList
from luci_tui.host.api.messages import (
    ErrorBody,
    JobChanged,
    JobRecord,
    Jobs,
    JobState,
    ModelEntryInfo,
    Models,
    Progress,
    ProgressSeries,
)
from luci_tui.host.lifecycle import Launcher
from luci_tui.tui.app import ChatApp
from luci_tui.tui.services import HostLink
from luci_tui.tui.widgets.rows import Rows
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.hosts import running_host
from tests.support.keys import Keys, presses
from tests.support.screen import NOW_S, modes_app, shown_text, wait_for_text, wait_until
from tests.support.screen_texts import check_in_both_themes

SIZES = ((80, 24), (120, 40))
HISTORY = "bench.jsonl"


def run(number: int, name: str = "llama-1b", tg: float = 60.0, threads: int = 2) -> BenchRun:
    def spread(value: float) -> Spread:
        return Spread(value, value - 1.1, value + 0.5)

    report = BenchReport(
        model=name,
        description="llama 1B Q8_0",
        threads=threads,
        rounds=5,
        temperature=0.0,
        results=[
            Measured("pp512", Via.WORKER, 1, spread(3.5 * tg), spread(85.0)),
            Measured("pp512", Via.CORE, 1, spread(3.6 * tg), None),
            Measured("tg128", Via.WORKER, 1, spread(tg), spread(17.0)),
            Measured("tg128", Via.CORE, 1, spread(tg + 0.5), None),
        ],
        cancel_ms=[1.0],
        step_ms=10.0,
    )
    made = run_of(report, name, f"/m/{name}.gguf", "AMD EPYC, 2 CPUs")
    return made.model_copy(update={"id": f"run{number}", "at": NOW_S - 90_000 + 8000 * number})


def job(state: JobState = JobState.RUNNING, **fields: object) -> JobRecord:
    values: dict[str, object] = {
        "id": "12",
        "kind": "bench",
        "title": "bench of llama-1b",
        "state": state,
        "created_at": NOW_S - 60,
        **fields,
    }
    return JobRecord.model_validate(values)


PROGRESS = Progress(
    what="tg128 x1, round 4, worker",
    n_done=20,
    n_total=27,
    unit="steps",
    series=(
        ProgressSeries(name="pp512 x1, worker", unit="tok/s", values=(211, 208, 215, 212, 210)),
        ProgressSeries(name="pp512 x1, core", unit="tok/s", values=(215, 212, 219, 222, 214)),
        ProgressSeries(name="tg128 x1, worker", unit="tok/s", values=(60.1, 58.0, 61.2)),
        ProgressSeries(name="tg128 x1, core", unit="tok/s", values=(60.9, 59.0, 61.7, 60.0)),
    ),
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LUCI_HOME", "home")
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def runs(home: Path) -> list[BenchRun]:
    made = [
        run(number, "qwen2.5-7b" if number % 3 == 0 else "llama-1b", 60 + number * 7 % 5 / 2)
        for number in range(8)
    ]
    for one in made:
        add_run(home / HISTORY, one)
    return made


def host_with(*jobs: JobRecord) -> FakeHost:
    names = ("builtin", "llama-1b")
    models = tuple(ModelEntryInfo(name=name, path=f"/m/{name}.gguf") for name in names)
    return FakeHost(
        {
            "/luci/jobs": Jobs(jobs=jobs),
            "/luci/models": Models(entries=models, loaded=()),
            "/luci/jobs/12/cancel": job(JobState.CANCELLED),
        }
    )


def app_with(*jobs: JobRecord) -> ChatApp:
    return modes_app(FakeLink(host_with(*jobs)))


async def open_bench(pilot: Pilot[int], waits_for: str) -> None:
    await pilot.press("alt+5")
    await wait_for_text(pilot, waits_for)


@pytest.mark.parametrize("size", SIZES)
async def test_runs_are_drawn_with_the_history_of_the_model(
    runs: list[BenchRun], size: tuple[int, int]
) -> None:
    del runs
    app = app_with()
    async with app.run_test(size=size) as pilot:
        await open_bench(pilot, "5 runs of llama-1b")
        await pilot.press("down", "space")
        await wait_for_text(pilot, "* qwen2.5-7b")
        await check_in_both_themes(pilot, "bench")


@pytest.mark.parametrize("size", SIZES)
async def test_run_that_is_measured_is_drawn_round_by_round(
    runs: list[BenchRun], size: tuple[int, int]
) -> None:
    del runs
    app = app_with(job(progress=PROGRESS))
    async with app.run_test(size=size) as pilot:
        await open_bench(pilot, "tg128 x1, tok/s by round")
        await check_in_both_themes(pilot, "bench-running")
        await pilot.press("left")
        await wait_for_text(pilot, "pp512 x1, tok/s by round")


@pytest.mark.parametrize("size", SIZES)
async def test_without_a_run_the_page_says_how_to_get_one(size: tuple[int, int]) -> None:
    app = modes_app(FakeLink(None))
    async with app.run_test(size=size) as pilot:
        await open_bench(pilot, "No run is kept yet. b measures a model")
        assert "Export" not in shown_text(app)
        await check_in_both_themes(pilot, "bench-empty")


async def test_history_without_a_host_and_with_broken_lines_is_shown(
    runs: list[BenchRun], home: Path
) -> None:
    del runs
    path = home / HISTORY
    path.write_text("{\n" + path.read_text() + "nothing\n")
    link = FakeLink(None)
    app = modes_app(link)
    async with app.run_test(size=(120, 40)) as pilot:
        await open_bench(pilot, "8 runs kept · 2 lines of bench.jsonl cannot be read")
        link.error = HostError("The host does not answer.", code="unreachable")
        await wait_for_text(pilot, "Error: The host does not answer.")
        assert "5 runs of llama-1b" in shown_text(app)


async def test_plot_turns_to_the_other_figures(runs: list[BenchRun]) -> None:
    del runs
    app = app_with()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_bench(pilot, "tg, tok/s · 5 runs")
        await pilot.press("right")
        await wait_for_text(pilot, "pp, tok/s · 5 runs")
        await pilot.press("right")
        await wait_for_text(pilot, "TTFT, ms · 5 runs")
        await pilot.press("left", "left")
        await wait_for_text(pilot, "tg, tok/s · 5 runs")


@pytest.mark.parametrize("size", SIZES)
async def test_two_runs_are_compared(
    runs: list[BenchRun], home: Path, size: tuple[int, int]
) -> None:
    del runs
    add_run(home / HISTORY, run(9, tg=70, threads=4))
    app = app_with()
    async with app.run_test(size=size) as pilot:
        await open_bench(pilot, "9 runs kept")
        await pilot.press("down", "space", "home", "c")
        await wait_for_text(pilot, "threads: 2, then 4")
        await check_in_both_themes(pilot, "bench-compare")
        await pilot.press("escape")
        await wait_until(pilot, lambda: "then 4" not in shown_text(app))


async def test_run_without_one_before_has_nothing_to_be_compared_with(
    runs: list[BenchRun],
) -> None:
    del runs
    app = app_with()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await open_bench(pilot, "8 runs kept")
        await pilot.press("end", "c")
        await wait_for_text(pilot, "There is nothing to compare with")


async def test_b_asks_for_model_and_options_and_begins_a_job(runs: list[BenchRun]) -> None:
    del runs
    host = host_with()
    host.says["/luci/jobs"] = job(progress=PROGRESS)
    link = FakeLink(host)
    app = modes_app(link)
    async with app.run_test(size=(80, 24)) as pilot:
        host.says["/luci/jobs"] = Jobs(jobs=())
        await open_bench(pilot, "8 runs kept")
        await pilot.press("b")
        await wait_for_text(pilot, "> llama-1b")
        await pilot.press("enter")
        await wait_for_text(pilot, "What is measured of llama-1b?")
        await pilot.press(*" --fast", "enter")
        await wait_for_text(pilot, "no option of a bench")
        await pilot.press(*["backspace"] * 7, *" --pp 64")
        host.says["/luci/jobs"] = job()
        await pilot.press("enter")
        await wait_until(pilot, lambda: bool(host.asked))
        assert link.n_started >= 1
        body = host.asked[0].body
        assert body is not None
        assert not isinstance(body, bytes)
        wanted = json.loads(body.model_dump_json())
        assert wanted["kind"] == "bench"
        assert wanted["spec"]["model"] == "llama-1b"
        assert wanted["spec"]["pp"] == 64
        assert wanted["spec"]["rounds"] == 5


async def test_x_asks_and_cancels_what_is_measured(runs: list[BenchRun]) -> None:
    del runs
    host = host_with(job(progress=PROGRESS))
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_bench(pilot, "1 running")
        await pilot.press("x")
        await wait_for_text(pilot, "Cancel job 12, bench of llama-1b?")
        await pilot.press("y")
        await wait_until(pilot, lambda: len(host.asked) == 1)
        host.says["/luci/jobs"] = Jobs(jobs=(job(JobState.CANCELLED),))
        await wait_until(pilot, lambda: "1 running" not in shown_text(app))
        assert "x Cancel" not in shown_text(app)


async def test_run_that_failed_is_told_once(runs: list[BenchRun]) -> None:
    del runs
    host = followed(host_with(job(progress=PROGRESS)))
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await open_bench(pilot, "1 running")
        body = ErrorBody(code="model_load", message="llama-1b.gguf ends in the middle.")
        fail(host, body)
        await wait_for_text(pilot, "llama-1b: failed,")
        await wait_until(pilot, lambda: "1 running" not in shown_text(app))
        assert shown_text(app).count("failed, ") == 1


async def test_run_that_is_done_gets_the_cursor(runs: list[BenchRun], home: Path) -> None:
    del runs
    host = host_with(job(progress=PROGRESS))
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await open_bench(pilot, "1 running")
        made = run(10, tg=61)
        add_run(home / HISTORY, made)
        done = job(JobState.DONE, result=made.model_dump(mode="json"))
        host.says["/luci/jobs"] = Jobs(jobs=(done,))
        await wait_for_text(pilot, "9 runs kept")
        rows = app.screen.query_one("#runs", Rows)
        await wait_until(pilot, lambda: rows.key == made.id)


async def test_export_asks_which_runs_and_never_replaces_a_file_by_itself(
    runs: list[BenchRun], tmp_path: Path
) -> None:
    del runs
    target = tmp_path / "out.json"
    target.write_text("mine")
    app = app_with()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await open_bench(pilot, "8 runs kept")
        for answer in ("n", "y"):
            await pilot.press("e")
            await wait_for_text(pilot, "Which runs are exported?")
            await pilot.press("down", "enter")
            await wait_for_text(pilot, "Into which file?")
            await pilot.press("ctrl+u", *"out.txt", "enter")
            await wait_for_text(pilot, "says no kind of file")
            await pilot.press(*["backspace"] * 3, *"json", "enter")
            await wait_for_text(pilot, "What is in it now is lost.")
            await pilot.press(answer)
            await wait_until(pilot, lambda: "is lost" not in shown_text(app))
            if answer == "n":
                assert target.read_text() == "mine"
        await wait_for_text(pilot, "Written to")
    assert len(json.loads(target.read_text())["runs"]) == 5


async def test_delete_asks_and_forgets_a_run(runs: list[BenchRun], home: Path) -> None:
    app = app_with()
    async with app.run_test(size=(80, 24)) as pilot:
        await open_bench(pilot, "8 runs kept")
        await pilot.press("delete")
        await wait_for_text(pilot, "Forget the run of llama-1b")
        await pilot.press("y")
        await wait_for_text(pilot, "7 runs kept")
    assert [one.id for one in read_history(home / HISTORY).runs] == [one.id for one in runs[:-1]]


def peers_report() -> results.Report:
    collector = results.Collector()
    for contender, rates in (("luci worker", (60, 61, 59)), ("llama-bench", (62, 60, 61))):
        for rate in rates:
            collector.add(
                "1.1B Q4_K_M", "tg128", contender, rate, unit="tok/s", command="llama-bench -r 5"
            )
    return collector.report((("processor", "AMD EPYC, 2 CPUs, 2 threads used"),), 3)


@pytest.mark.parametrize("size", SIZES)
async def test_results_of_peers_are_drawn(home: Path, size: tuple[int, int]) -> None:
    results.save(peers_report(), home / "bench-peers.json")
    app = app_with()
    async with app.run_test(size=size) as pilot:
        await open_bench(pilot, "No run is kept yet")
        await pilot.press("p")
        await wait_for_text(pilot, "bench-peers · 3 rounds")
        await pilot.press("down")
        await wait_for_text(pilot, "llama-bench · tg128 · 1.1B Q4_K_M")
        await check_in_both_themes(pilot, "bench-peers")
        await pilot.press("p")
        await wait_for_text(pilot, "No run is kept yet")


async def test_no_results_of_peers_and_broken_ones_are_one_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "bench_peers_files", lambda: (Path("home/bench-peers.json"),))
    app = app_with()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_bench(pilot, "No run is kept yet")
        await pilot.press("p")
        await wait_for_text(pilot, "There is no result of bench-peers at home/bench-peers.json.")
        await pilot.press("p")
        await wait_for_text(pilot, "No run is kept yet")
        (home / "bench-peers.json").write_text("{}")
        await pilot.press("p")
        await wait_for_text(pilot, "home/bench-peers.json cannot be read")


@pytest.mark.native
async def test_model_is_measured_while_the_screen_is_away(home: Path) -> None:
    launcher = Launcher(arguments=("--idle-exit-s", "60"))
    async with running_host(home, launcher) as client:
        app = modes_app(HostLink(lambda: launcher))
        async with app.run_test(size=(120, 40)) as pilot:
            await open_bench(pilot, "No run is kept yet")
            await pilot.press("b")
            await wait_for_text(pilot, "> builtin")
            await pilot.press("enter")
            await wait_for_text(pilot, "What is measured of builtin?")
            options = "--pp 16 --tg 200 --rounds 1 --threads 1"
            await pilot.press("ctrl+u", *options, "enter")
            # On an idle machine it is over before it is seen.
            began = ("bench of builtin · job 1", "1 run kept")
            await wait_until(pilot, lambda: any(words in shown_text(app) for words in began))
        async for _ in client.job_events("1"):
            pass
        app = modes_app(HostLink(lambda: launcher))
        async with app.run_test(size=(120, 40)) as pilot:
            await open_bench(pilot, "1 run kept")
            await wait_for_text(pilot, "1 run of builtin")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "keys", "waits_for"),
    [
        ("bench-models", ("b",), "Which model is measured?"),
        ("bench-options", ("b", "enter"), "What is measured of llama-1b?"),
        ("bench-export", ("e",), "Which runs are exported?"),
        ("bench-forget", ("delete",), "Forget the run of llama-1b"),
    ],
)
async def test_questions_about_runs_are_drawn(
    runs: list[BenchRun],
    name: str,
    keys: tuple[str, ...],
    waits_for: str,
    size: tuple[int, int],
) -> None:
    del runs
    app = app_with()
    async with app.run_test(size=size) as pilot:
        await open_bench(pilot, "8 runs kept")
        for key in keys:
            await pilot.press(key)
            await wait_until(pilot, lambda: app.screen.is_modal)
            await wait_for_text(pilot, "Enter takes" if name != "bench-forget" else "Forget")
        await wait_for_text(pilot, waits_for)
        await check_in_both_themes(pilot, name)


@pytest.mark.parametrize("size", SIZES)
async def test_history_that_is_damaged_is_drawn(
    runs: list[BenchRun], home: Path, size: tuple[int, int]
) -> None:
    del runs
    with (home / HISTORY).open("a") as file:
        file.write("{\nnothing\n")
    app = app_with()
    async with app.run_test(size=size) as pilot:
        await open_bench(pilot, "cannot be read")
        await check_in_both_themes(pilot, "bench-damaged")


@pytest.mark.parametrize("size", SIZES)
async def test_missing_results_of_peers_are_drawn(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(paths, "bench_peers_files", lambda: (Path("home/bench-peers.json"),))
    app = app_with()
    async with app.run_test(size=size) as pilot:
        await open_bench(pilot, "No run is kept yet")
        await pilot.press("p")
        await wait_for_text(pilot, "There is no result of bench-peers")
        await check_in_both_themes(pilot, "bench-no-peers")


def followed(host: FakeHost) -> FakeHost:
    """Let the app follow what ends in the host."""
    host.says["/luci/downloads"] = DownloadList(downloads=(), limit_bytes_per_s=0, seq=0)
    host.streams = {"/luci/events": [], "/luci/downloads/events": []}
    return host


def fail(host: FakeHost, body: ErrorBody) -> None:
    """Let the run that is being measured fail."""
    failed = job(JobState.FAILED, error=body, ended_at=NOW_S + 5)
    host.says["/luci/jobs"] = Jobs(jobs=(failed,))
    host.tell("/luci/events", JobChanged(job=failed))


@pytest.mark.parametrize("size", SIZES)
async def test_failed_run_is_drawn(
    runs: list[BenchRun], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    del runs
    monkeypatch.setattr(ChatApp, "NOTIFICATION_TIMEOUT", 600)
    host = followed(host_with(job(progress=PROGRESS)))
    app = modes_app(FakeLink(host))
    async with app.run_test(size=size, notifications=True) as pilot:
        await open_bench(pilot, "1 running")
        fail(host, ErrorBody(code="model_load", message="llama-1b.gguf ends in the middle."))
        await wait_for_text(pilot, "llama-1b: failed,")
        await wait_until(pilot, lambda: "1 running" not in shown_text(app))
        await check_in_both_themes(pilot, "bench-failed")


# ---- keys


@presses(
    *("bench.run", "bench.mark", "bench.compare", "bench.export", "bench.peers", "bench.delete"),
    *("bench.next_plot", "bench.plot_before", "bench.cancel", "page.close"),
)
async def test_keys_of_the_bench(runs: list[BenchRun], home: Path, keys: Keys) -> None:
    del runs
    results.save(peers_report(), home / "bench-peers.json")
    host = host_with()
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(120, 40)) as pilot:
        await open_bench(pilot, "tg, tok/s · 5 runs")
        # What scrolls sideways is asked first; a list that has nothing to the side leaves it.
        await keys.press(pilot, "bench.next_plot", "right", "pp, tok/s · 5 runs", is_behind=True)
        await keys.press(pilot, "bench.plot_before", "left", "tg, tok/s · 5 runs", is_behind=True)
        for action, key, asks in (
            ("bench.run", "b", "Which model is measured?"),
            ("bench.export", "e", "Which runs are exported?"),
            ("bench.delete", "delete", "Forget the run of llama-1b"),
        ):
            await keys.press(pilot, action, key, asks)
            await pilot.press("escape")
            await wait_until(pilot, lambda words=asks: words not in shown_text(app))
        await pilot.press("down")
        await keys.press(pilot, "bench.mark", "space", "* qwen2.5-7b")
        await pilot.press("home")
        end = "Esc closes this page."
        for key in ("escape", "q", "enter"):
            await keys.press(pilot, "bench.compare", "c", end)
            await keys.press(pilot, "page.close", key, lambda: end not in shown_text(app))
        await keys.press(pilot, "bench.peers", "p", "bench-peers · 3 rounds")
        await pilot.press("p")
        host.says["/luci/jobs"] = Jobs(jobs=(job(progress=PROGRESS),))
        await wait_for_text(pilot, "1 running")
        await pilot.press("home")
        await wait_for_text(pilot, "x Cancel")
        await keys.press(pilot, "bench.cancel", "x", "Cancel job 12, bench of llama-1b?")
