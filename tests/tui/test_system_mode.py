import pytest

from luci_tui.host.api.messages import Hello, HostMetrics, HostStatus, ModelStatus, Serving
from luci_tui.tui.app import ChatApp
from luci_tui.tui.modes.system import screen as system
from luci_tui.tui.modes.system.words import MachineFigures
from tests.support.fake_host import FakeHost, FakeLink
from tests.support.keys import Keys, presses
from tests.support.screen import modes_app, shown_text, wait_for_text, wait_until
from tests.support.screen_texts import check_in_both_themes

SIZES = ((80, 24), (120, 40))
GIB = 1024**3
FIGURES = MachineFigures(
    ram_total_bytes=16 * GIB,
    ram_available_bytes=8 * GIB,
    cpu_fraction=0.14,
    n_cores=2,
    disk_total_bytes=500 * GIB,
    disk_free_bytes=112 * GIB,
    home="/home/me/.luciferai",
)
BUILTIN = ModelStatus(
    name="builtin",
    state="ready",
    memory_bytes=13_000_000,
    needed_bytes=12_000_000,
    idle_s=125,
    unloads_in_s=175,
    pids=(88,),
    description="llama 5.64M Q8_0",
    n_ctx=4096,
)
BUSY = ModelStatus(
    name="qwen2.5-coder-7b-instruct-Q4_K_M",
    state="failed",
    n_leases=2,
    detail="killed by signal 9",
    n_restarts=3,
    pids=(101, 102),
)
SERVING = Serving(url="http://0.0.0.0:8080/v1", host="0.0.0.0", port=8080, needs_key=True)


def status(*models: ModelStatus, serving: Serving | None = None, **fields: object) -> HostStatus:
    hello = Hello(version="0.1.0", protocol=1, pid=4711, started_at=0, is_idle=True)
    values: dict[str, object] = {
        "hello": hello,
        "socket": "/home/me/.luciferai/run/host.sock",
        "home": "/home/me/.luciferai",
        "uptime_s": 11520,
        "idle_exit_in_s": 552,
        "models": models,
        "jobs": (),
        "turns": (),
        "serving": serving,
        "n_clients": 2,
        **fields,
    }
    return HostStatus.model_validate(values)


METRICS = HostMetrics(
    uptime_s=11520,
    rss_bytes=65_000_000,
    cpu_s=46,
    n_requests=9,
    n_clients=2,
    n_jobs_running=0,
    n_turns_running=0,
)
STATES = {
    "system": status(BUILTIN),
    "system-empty": status(),
    "system-busy": status(
        BUILTIN,
        BUSY,
        serving=SERVING.model_copy(update={"is_remote": True}),
        notices=("host.db was damaged and set aside as host.db.corrupt-1.",),
    ),
}


@pytest.fixture(autouse=True)
def same_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system.SystemScreen.__init__, "__defaults__", (lambda: FIGURES,))


def app_with(now: HostStatus) -> tuple[ChatApp, FakeHost]:
    host = FakeHost({"/luci/status": now, "/luci/metrics": METRICS})
    return modes_app(FakeLink(host)), host


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", STATES)
async def test_system_is_drawn(size: tuple[int, int], name: str) -> None:
    app, _ = app_with(STATES[name])
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+6")
        await wait_for_text(pilot, "4711")
        await check_in_both_themes(pilot, name)


@pytest.mark.parametrize("size", SIZES)
async def test_machine_is_shown_without_a_host(size: tuple[int, int]) -> None:
    app = modes_app(FakeLink(None))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+6")
        await wait_for_text(pilot, "No host runs")
        await wait_for_text(pilot, "8.00 GiB available of 16.0 GiB")
        await check_in_both_themes(pilot, "system-no-host")


async def test_u_unloads_an_idle_model_at_once() -> None:
    app, host = app_with(status(BUILTIN))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+6")
        await wait_for_text(pilot, "u Unload")
        await pilot.press("u")
        await wait_until(pilot, lambda: len(host.asked) == 1)
        assert host.asked[0].path == "/luci/models/unload"


async def test_u_asks_before_it_breaks_answers_off() -> None:
    app, host = app_with(status(BUSY))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+6")
        await wait_for_text(pilot, "u Unload")
        await pilot.press("u")
        await wait_for_text(pilot, "Somebody uses")
        await pilot.press("escape")
        await wait_until(pilot, lambda: "Somebody uses" not in shown_text(app))
        assert host.asked == []
        await pilot.press("u")
        await wait_for_text(pilot, "Somebody uses")
        await pilot.press("y")
        await wait_until(pilot, lambda: len(host.asked) == 1)


async def test_u_is_not_offered_without_a_model() -> None:
    app, _ = app_with(status())
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+6")
        await wait_for_text(pilot, "No model is in memory")
        assert "Unload" not in shown_text(app)


def test_real_machine_has_figures_that_can_be() -> None:
    from luci_tui.tui.modes.system.machine import look_at_machine

    figures = look_at_machine()
    assert 0 < figures.ram_available_bytes <= figures.ram_total_bytes
    assert 0 < figures.disk_free_bytes <= figures.disk_total_bytes
    assert 0 <= figures.cpu_fraction <= 1


@presses("system.unload")
async def test_key_that_unloads(keys: Keys) -> None:
    app, host = app_with(status(BUILTIN))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+6")
        await wait_for_text(pilot, "u Unload")
        await keys.press(pilot, "system.unload", "u", lambda: len(host.asked) == 1)


@pytest.mark.parametrize("size", SIZES)
async def test_question_before_answers_break_off_is_drawn(size: tuple[int, int]) -> None:
    app, _ = app_with(status(BUSY))
    async with app.run_test(size=size) as pilot:
        await pilot.press("alt+6")
        await wait_for_text(pilot, "u Unload")
        await pilot.press("u")
        await wait_for_text(pilot, "Somebody uses")
        await check_in_both_themes(pilot, "system-unload")


async def test_footer_is_drawn_anew_only_where_other_keys_work() -> None:
    app, host = app_with(status(BUILTIN))
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("alt+6")
        await wait_for_text(pilot, "u Unload")
        drawn: list[object] = []
        app.screen.bindings_updated_signal.subscribe(app.screen, drawn.append)
        for n_minutes in (13, 14, 15):
            host.says["/luci/status"] = status(BUILTIN, uptime_s=10_800 + 60 * n_minutes)
            await wait_for_text(pilot, f"host up 3 h {n_minutes} min")
        assert drawn == []
        host.says["/luci/status"] = status()
        await wait_until(pilot, lambda: "u Unload" not in shown_text(app))
        assert len(drawn) == 1
