import asyncio
import json
from pathlib import Path

import pytest
from pydantic import JsonValue
from textual.pilot import Pilot

from luci_tui.bench.history import add_run, run_of
from luci_tui.bench.report import BenchReport, Measured, Spread, Via
from luci_tui.host.api.download_messages import DownloadList
from luci_tui.host.api.messages import (
    ErrorBody,
    JobChanged,
    JobRecord,
    Jobs,
    JobState,
    Models,
)
from luci_tui.host.lifecycle import Launcher
from luci_tui.library.store import Library
from luci_tui.tui.modes.models.making import comparison_lines
from luci_tui.tui.modes.models.screen import ModelsScreen
from luci_tui.tui.modes.models.shelf import read_shelf
from luci_tui.tui.modes.models.speeds import read_speeds
from luci_tui.tui.services import HostLink
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.hosts import running_host
from tests.support.keys import Keys, presses
from tests.support.libraries import install, use_home
from tests.support.screen import (
    NOW_S,
    modes_app,
    paste,
    shown_text,
    wait_for_text,
    wait_until,
)
from tests.support.screen_texts import check_in_both_themes
from tests.support.wide_models import write_wide_model

SIZES = ((80, 24), (120, 40))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = use_home(monkeypatch, tmp_path)
    install(home / "models", "tiny", repo="org/tiny")
    install(home / "models", "other")
    return home


@pytest.fixture
def same_everywhere(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Show paths and memory as on every other machine, for the captures."""
    monkeypatch.chdir(home.parent)
    monkeypatch.setenv("LUCI_HOME", home.name)
    init = ModelsScreen.__init__
    monkeypatch.setattr(init, "__defaults__", (lambda: 8 * 1024**3, read_shelf, lambda _: {}))


def job(kind: str, state: JobState = JobState.RUNNING, **fields: object) -> JobRecord:
    values: dict[str, object] = {
        "id": "7",
        "kind": kind,
        "title": f"{kind} something",
        "state": state,
        "created_at": NOW_S,
        **fields,
    }
    return JobRecord.model_validate(values)


def host_for(kind: str) -> FakeHost:
    return FakeHost(
        {
            "/luci/models": Models(entries=(), loaded=()),
            "/luci/jobs": Jobs(jobs=(job(kind),)),
            "POST /luci/jobs": job(kind),
        }
    )


async def open_models(pilot: Pilot[int], waits_for: str = "> other") -> None:
    await pilot.press("alt+2")
    await wait_for_text(pilot, waits_for)


async def spec_sent(pilot: Pilot[int], host: FakeHost) -> dict[str, JsonValue]:
    """Wait for the job that is begun, and give its specification."""
    await wait_until(pilot, lambda: bool(host.asked))
    body = host.asked[0].body
    assert body is not None
    assert not isinstance(body, bytes)
    found = json.loads(body.model_dump_json())
    assert found["kind"] in ("quantize", "convert", "compare_models", "bench")
    return found["spec"]


@pytest.mark.parametrize("size", SIZES)
async def test_types_to_quantize_to_are_drawn(same_everywhere: None, size: tuple[int, int]) -> None:
    del same_everywhere
    app = modes_app(FakeLink(host_for("quantize")))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "tier 0 (basic")
        await pilot.press("q")
        await wait_for_text(pilot, "Quantize other to which types?")
        await pilot.press("space", "up", "up", "up", "space")
        await wait_until(pilot, lambda: shown_text(app).count("[x]") == 2)
        lines = [line for line in shown_text(app).splitlines() if "[x]" in line]
        assert "Q8_0" in lines[0]
        assert "Q4_K_M" in lines[1]
        await check_in_both_themes(pilot, "models-quantize")


async def test_quantize_begins_a_job_with_the_types_that_were_marked(home: Path) -> None:
    host = host_for("quantize")
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await open_models(pilot)
        await pilot.press("q")
        await wait_for_text(pilot, "to which types?")
        await pilot.press("space", "end", "space", "enter")
        await wait_for_text(pilot, "Which type?")
        await pilot.press(*"x9", "enter")
        await wait_for_text(pilot, "is no quant type")
        await pilot.press("backspace", "backspace", *"iq4_xs", "enter")
        spec = await spec_sent(pilot, host)
        folder = home / "models" / "custom_models"
        assert spec["outputs"] == [
            {"type": name, "path": str(folder / f"other-{name}.gguf")}
            for name in ("Q4_K_M", "IQ4_XS")
        ]
        assert spec["force"] is False
        assert str(spec["source"]).endswith("other.gguf")
        await wait_for_text(pilot, "Job 7 runs")


async def test_quantize_asks_before_it_replaces_a_file(home: Path) -> None:
    folder = home / "models" / "custom_models"
    folder.mkdir()
    (folder / "tiny-Q4_K_M.gguf").write_bytes(b"mine")
    host = host_for("quantize")
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "on this machine")
        await wait_for_text(pilot, "> other")
        await pilot.press("down")
        await wait_for_text(pilot, "> tiny ")
        for answer in ("n", "y"):
            await pilot.press("q")
            await wait_for_text(pilot, "to which types?")
            await pilot.press("enter")
            await wait_for_text(pilot, "Replace tiny-Q4_K_M.gguf")
            await pilot.press(answer)
            await wait_until(pilot, lambda: "Replace tiny" not in shown_text(app))
            assert bool(host.asked) is False or answer == "y"
        assert (await spec_sent(pilot, host))["force"] is True


async def test_job_that_failed_is_told_once(home: Path) -> None:
    del home
    host = host_for("quantize")
    host.says["/luci/downloads"] = DownloadList(downloads=(), limit_bytes_per_s=0, seq=0)
    host.streams = {"/luci/events": [], "/luci/downloads/events": []}
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await open_models(pilot)
        await pilot.press("q")
        await wait_for_text(pilot, "to which types?")
        await pilot.press("enter")
        await wait_for_text(pilot, "Job 7 runs")
        body = ErrorBody(code="disk_full", message="The disk is full.")
        failed = job("quantize", JobState.FAILED, error=body, ended_at=NOW_S + 5)
        host.says["/luci/jobs"] = Jobs(jobs=(failed,))
        host.tell("/luci/events", JobChanged(job=failed))
        await wait_for_text(pilot, "quantize something: failed")
        n_looks = host.n_asked("/luci/models")
        await wait_until(pilot, lambda: host.n_asked("/luci/models") > n_looks + 2)
        assert shown_text(app).count("something: failed") == 1


async def test_convert_asks_for_source_type_and_file(home: Path, tmp_path: Path) -> None:
    host = host_for("convert")
    app = modes_app(FakeLink(host))
    (tmp_path / "Weights").mkdir()
    async with app.run_test(size=(120, 40)) as pilot:
        await open_models(pilot)
        await pilot.press("o")
        await wait_for_text(pilot, "What is converted?")
        await pilot.press(*"hf:nothing", "enter")
        await wait_for_text(pilot, "names no repository")
        await pilot.press("ctrl+u", *"/no/where", "enter")
        await wait_for_text(pilot, "There is no /no/where")
        await pilot.press("ctrl+u")
        paste(pilot, str(tmp_path / "Weights"))
        await pilot.press("enter")
        await wait_for_text(pilot, "Which type of numbers?")
        await pilot.press("down", "enter")
        await wait_for_text(pilot, "Into which file?")
        await pilot.press("end", *["backspace"] * 5, "enter")
        await wait_for_text(pilot, "does not end in .gguf")
        await pilot.press(*".gguf", "enter")
        assert await spec_sent(pilot, host) == {
            "source": str(tmp_path / "Weights"),
            "output": str(home / "models" / "custom_models" / "Weights-BF16.gguf"),
            "outtype": "bf16",
            "force": False,
        }


def scored(name: str, size: int, kld: float | None) -> dict[str, JsonValue]:
    return {
        "model": f"/m/{name}.gguf",
        "architecture": "llama",
        "size_bytes": size,
        "n_params": 1000,
        "bits_per_weight": 8.5,
        "file_type": "Q8_0",
        "n_ctx": 512,
        "n_chunks": 4,
        "n_scored": 1000,
        "perplexity": 9.1234,
        "perplexity_error": 0.1,
        "mean_kld": kld,
        "top_agreement": None if kld is None else 0.9712,
        "decode_rate": 61.2,
    }


COMPARED: dict[str, JsonValue] = {
    "text": "compare_text.txt",
    "text_bytes": 20_000,
    "n_ctx": 512,
    "base": "/m/other.gguf",
    "rows": [
        {"scored": scored("other", 2_000_000_000, None), "is_base": True, "is_best": True},
        {
            "scored": scored("tiny\x1b[2J[red]-with-a-long-name", 1_000_000_000, 0.01234),
            "is_base": False,
            "is_best": False,
        },
        {
            "model": "/m/cut\x1b[2J.gguf",
            "code": "truncated",
            "message": "/m/cut\x1b[2J.gguf is cut off: it has 200000 bytes and needs at least "
            "353056. Resume the download or fetch the file again.",
        },
    ],
}


@pytest.mark.parametrize("size", SIZES)
async def test_comparison_opens_when_it_is_done_and_again_with_r(
    same_everywhere: None, size: tuple[int, int]
) -> None:
    del same_everywhere
    host = host_for("compare_models")
    app = modes_app(FakeLink(host))
    async with app.run_test(size=size) as pilot:
        await open_models(pilot)
        await pilot.press("m")
        await wait_for_text(pilot, "Compare which models?")
        await pilot.press("down", "space", "enter")
        spec = await spec_sent(pilot, host)
        assert isinstance(spec["models"], list)
        assert len(spec["models"]) == 2
        done = job("compare_models", JobState.DONE, result=COMPARED)
        host.says["/luci/jobs"] = Jobs(jobs=(done,))
        await wait_for_text(pilot, "same top")
        await check_in_both_themes(pilot, "models-compared")
        await pilot.press("escape")
        await wait_until(pilot, lambda: "same top" not in shown_text(app))
        await pilot.press("r")
        await wait_for_text(pilot, "same top")


async def test_without_a_comparison_r_says_how_to_get_one(home: Path) -> None:
    del home
    host = host_for("quantize")
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await open_models(pilot)
        await pilot.press("r")
        await wait_for_text(pilot, "No comparison is kept yet")


async def test_b_lets_the_host_measure_the_model(home: Path) -> None:
    del home
    host = host_for("bench")
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_models(pilot)
        await pilot.press("b")
        spec = await spec_sent(pilot, host)
        assert spec["model"] == "other"
        assert spec["streams"] == [1]


async def test_tier_names_and_note_are_written_down_and_taken_back(home: Path) -> None:
    del home
    app = modes_app(FakeLink(host_for("quantize")))
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await open_models(pilot)
        await pilot.press("t")
        await wait_for_text(pilot, "Of which tier is other?")
        await pilot.press("home", "down", "down", "enter")
        await wait_for_text(pilot, "Tier 2 advanced · 1")
        await pilot.press("right", "right")
        await wait_for_text(pilot, "> other")
        await pilot.press("a")
        await wait_for_text(pilot, "Other names of other")
        await pilot.press(*"a/b", "enter")
        await wait_for_text(pilot, "looks like a path")
        await pilot.press("ctrl+u", *"tiny", "enter")
        await wait_for_text(pilot, 'The name "tiny" is taken')
        await pilot.press("a")
        await wait_for_text(pilot, "Other names of other")
        await pilot.press(*"small, mine", "enter")
        await wait_for_text(pilot, "also called")
        await pilot.press("n")
        await wait_for_text(pilot, "A note about other")
        await pilot.press(*"Good at German.", "enter")
        await wait_for_text(pilot, "Good at German.")
        model = await asyncio.to_thread(lambda: Library().find("small"))
        assert (model.name, model.tier, model.notes) == ("other", 2, "Good at German.")
        await pilot.press("a")
        await wait_for_text(pilot, "Other names of other")
        await pilot.press("ctrl+u", "-", "enter")
        await wait_until(pilot, lambda: "also called" not in shown_text(app))
        await pilot.press("n")
        await wait_for_text(pilot, "A note about other")
        await pilot.press("ctrl+u", "-", "enter")
        await wait_until(pilot, lambda: "Good at German." not in shown_text(app))
        await pilot.press("t")
        await wait_for_text(pilot, "Of which tier is other?")
        await pilot.press("end", "enter")
        await wait_for_text(pilot, "Tier 2 advanced · 0")


async def test_jobs_are_not_offered_for_what_is_not_here(home: Path) -> None:
    (home / "models" / "custom_models").mkdir()
    (home / "models" / "custom_models" / "cut.gguf").write_bytes(b"GGUF\x03")
    app = modes_app(FakeLink(host_for("quantize")))
    async with app.run_test(size=(80, 24)) as pilot:
        await open_models(pilot)
        await pilot.press("end")
        await wait_for_text(pilot, "> cut")
        await pilot.press("f1")
        await wait_for_text(pilot, "Esc closes this page.")
        assert "models.quantize" not in shown_text(app)
        assert "models.convert" in shown_text(app)


def test_speed_is_that_of_the_bench_or_else_of_the_chats(home: Path) -> None:
    models = Library().models
    by_name = {model.name: model for model in models}
    assert read_speeds(models) == {}
    report = BenchReport(
        model="tiny",
        description="",
        threads=2,
        rounds=1,
        temperature=0.0,
        results=[Measured("tg128", Via.WORKER, 1, Spread(61.26, 60.0, 62.0), None)],
        cancel_ms=[],
        step_ms=1.0,
    )
    add_run(home / "bench.jsonl", run_of(report, "tiny", str(by_name["tiny"].path), ""))
    (home / "logs" / "chats").mkdir(parents=True)
    (home / "logs" / "chats" / "a.jsonl").write_text(
        "".join(
            json.dumps(
                {
                    "time": 1.0,
                    "event": "turn_done",
                    "model": name,
                    "usage": {"completion_tokens": 101},
                    "timings": {"decode_ms": 500.0},
                }
            )
            + "\n"
            for name in ("tiny", "other")
        )
    )
    found = read_speeds(models)
    assert (found["tiny"].cell, found["other"].cell) == ("61.3", "~200")
    assert "bench of" in found["tiny"].words
    assert found["other"].words == "decodes 200 tok/s (median of 1 answer in chats)"
    with by_name["tiny"].path.open("ab") as file:
        file.write(b"x")
    assert read_speeds(models)["tiny"].is_from_chats


def test_comparison_fits_into_the_page() -> None:
    lines = comparison_lines(COMPARED)
    assert max(map(len, lines)) <= 74
    assert any("0.01234" in line and "97.1%" in line for line in lines)


@pytest.mark.native
async def test_model_is_quantized_by_a_real_host_and_stands_in_the_list(home: Path) -> None:
    folder = home / "models" / "custom_models"
    folder.mkdir()
    await asyncio.to_thread(write_wide_model, folder / "wide-F16.gguf")
    launcher = Launcher(arguments=("--idle-exit-s", "60"))
    async with running_host(home, launcher):
        app = modes_app(HostLink(lambda: launcher))
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await open_models(pilot)
            await pilot.press("end")
            await wait_for_text(pilot, "> wide-F16")
            await pilot.press("q")
            await wait_for_text(pilot, "to which types?")
            await pilot.press("enter")
            await wait_for_text(pilot, "wide-Q4_K_M")
            await wait_for_text(pilot, "4 on this machine")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("name", "key", "waits_for"),
    [
        ("models-convert", "o", "hf:OWNER/REPO"),
        ("models-compare", "m", "Compare which models?"),
        ("models-tier", "t", "as luci says"),
        ("models-names", "a", "Enter takes it"),
        ("models-note", "n", "Enter takes it"),
        ("models-delete", "delete", "Delete other and its"),
    ],
)
async def test_questions_about_a_model_are_drawn(
    same_everywhere: None, name: str, key: str, waits_for: str, size: tuple[int, int]
) -> None:
    del same_everywhere
    app = modes_app(FakeLink(host_for("quantize")))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+2")
        await wait_for_text(pilot, "tier 0 (basic")
        await pilot.press(key)
        await wait_for_text(pilot, waits_for)
        await check_in_both_themes(pilot, name)


# ---- keys


@presses(
    *("models.quantize", "models.convert", "models.compare", "models.compared", "models.bench"),
    *("models.tier", "models.aliases", "models.note", "models.delete", "models.check"),
    "models.toggle",
)
async def test_keys_of_a_model(home: Path, keys: Keys) -> None:
    del home
    host = host_for("bench")
    app = modes_app(FakeLink(host))
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await open_models(pilot)
        for action, key, asks in (
            ("models.quantize", "q", "to which types?"),
            ("models.convert", "o", "hf:OWNER/REPO"),
            ("models.compare", "m", "Enter takes"),
            ("models.tier", "t", "as luci says"),
            ("models.aliases", "a", "Enter takes it"),
            ("models.note", "n", "Enter takes it"),
            ("models.delete", "delete", "Delete other and its"),
        ):
            await keys.press(pilot, action, key, asks)
            await pilot.press("escape")
            await wait_until(pilot, lambda words=asks: words not in shown_text(app))
        await keys.press(pilot, "models.check", "v", "checked now: ")
        await keys.press(pilot, "models.toggle", "space", "disabled")
        await keys.press(pilot, "models.compared", "r", "No comparison")
        await keys.press(pilot, "models.bench", "b", lambda: bool(host.asked))
