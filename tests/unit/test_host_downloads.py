"""The host's routes for downloads, in one process with a real hub."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from luci_tui.engine.echo import EchoEngine
from luci_tui.host.api.app import build_app
from luci_tui.host.api.messages import ModelStatus
from luci_tui.host.process import Options
from luci_tui.host.run_files import prepare_folders, run_files
from luci_tui.host.state import HostState
from luci_tui.host.wiring import build_host
from luci_tui.library.manifest import model_folder, read_manifest
from tests.support import raw_gguf
from tests.support.downloads import CONTENT, quick
from tests.support.echo_chats import EchoChats
from tests.support.hub import Fault, Hub, running_hub
from tests.support.waiting import until

pytestmark = pytest.mark.native

GOOD = raw_gguf.good_model().build()


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    async with running_hub() as made:
        yield made


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[HostState]:
    files = run_files(tmp_path)
    prepare_folders(files)
    (tmp_path / "config.toml").write_text("[downloads]\nreserve_bytes = 0\n")
    made = await build_host(
        files,
        Options(engine="echo"),
        new_engine=EchoEngine,
        chats=EchoChats(0).as_chats(),
        move_options=quick(),
    )
    await made.jobs.open()
    assert await made.downloads.open() == ()
    yield made
    await made.downloads.close()
    await made.jobs.close()


@pytest.fixture
async def http(state: HostState) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_app(state))
    async with httpx.AsyncClient(transport=transport, base_url="http://luci") as client:
        yield client


async def planned(http: httpx.AsyncClient, url: str, **fields: str) -> dict[str, Any]:
    response = await http.post("/luci/downloads/plan", json={"wanted": url, **fields})
    assert response.status_code == 200, response.text
    return response.json()


async def begun(http: httpx.AsyncClient, url: str, **fields: str) -> httpx.Response:
    plan = await planned(http, url, **fields)
    return await http.post("/luci/downloads", json={"plan": plan})


async def until_state(state: HostState, item_id: int, word: str) -> None:
    await until(lambda: state.downloads.get(item_id).state == word)


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


async def test_install_is_planned_begun_listed_and_done(
    http: httpx.AsyncClient, state: HostState, hub: Hub, tmp_path: Path
) -> None:
    hub.add(GOOD)
    response = await begun(http, hub.url_of(), name="mine")
    assert (response.status_code, response.json()["how"]) == (201, "queued")
    await until_state(state, 1, "done")
    (one,) = (await http.get("/luci/downloads")).json()["downloads"]
    assert (one["name"], one["done_bytes"], one["error"]) == ("mine", len(GOOD), None)
    assert read_manifest(model_folder(tmp_path / "models", "mine")) is not None
    again = await begun(http, hub.url_of(), name="mine")
    assert (again.status_code, again.json()) == (200, {"how": "installed", "download": None})
    assert state.downloads.keepers() == []


async def test_events_say_what_happens_in_its_order(
    http: httpx.AsyncClient, state: HostState, hub: Hub
) -> None:
    hub.add(GOOD)
    await begun(http, hub.url_of())
    await until_state(state, 1, "done")
    await state.downloads.close()
    text = (await http.get("/luci/downloads/events")).text
    events = [block.splitlines() for block in text.split("\n\n") if block.startswith("id:")]
    states = [
        json.loads(lines[2].removeprefix("data: "))["download"]["state"]
        for lines in events
        if lines[1] == "event: download"
    ]
    assert list(dict.fromkeys(states)) == ["queued", "running", "done"]


async def test_pause_keeps_nobody_and_resume_goes_on(
    http: httpx.AsyncClient, state: HostState, hub: Hub
) -> None:
    await http.post("/luci/downloads/limit", json={"bytes_per_s": 20_000})
    hub.add(GOOD)
    await begun(http, hub.url_of())
    assert state.activity.busy() == ("download 1 (model)",)
    assert (await http.post("/luci/downloads/1/pause")).json()["state"] == "paused"
    assert state.activity.busy() == ()
    limit = (await http.post("/luci/downloads/limit", json={"bytes_per_s": None})).json()
    assert limit["limit_bytes_per_s"] == 0
    assert (await http.post("/luci/downloads/1/resume")).status_code == 200
    await until_state(state, 1, "done")


async def test_cancel_and_move(http: httpx.AsyncClient, state: HostState, hub: Hub) -> None:
    await http.post("/luci/downloads/limit", json={"bytes_per_s": 20_000})
    for name in ("a", "b"):
        hub.add(CONTENT, name=f"{name}.gguf")
        await begun(http, hub.url_of(f"{name}.gguf"))
    await http.post("/luci/downloads/2/move", json={"place": "front"})
    assert [one.name for one in state.downloads.list().downloads] == ["b", "a"]
    for number in (1, 2):
        found = await http.post(f"/luci/downloads/{number}/cancel")
        assert found.json()["state"] == "cancelled"
    assert error_of(await http.post("/luci/downloads/1/resume")) == (409, "has_ended")


async def test_forget_leaves_out_what_has_ended_and_nothing_else(
    http: httpx.AsyncClient, state: HostState, hub: Hub, tmp_path: Path
) -> None:
    hub.add(GOOD)
    await begun(http, hub.url_of(), name="kept")
    await until_state(state, 1, "done")
    await http.post("/luci/downloads/limit", json={"bytes_per_s": 20_000})
    for name in ("a", "b", "c"):
        hub.add(CONTENT, name=f"{name}.gguf")
        await begun(http, hub.url_of(f"{name}.gguf"))
    refused = await http.post("/luci/downloads/forget", json={"ids": [1, 2]})
    assert error_of(refused) == (409, "not_ended")
    assert "luci downloads cancel 2" in refused.json()["error"]["message"]
    assert error_of(await http.post("/luci/downloads/forget", json={"ids": [9]}))[0] == 404
    assert [one.id for one in state.downloads.list().downloads] == [1, 2, 3, 4]
    await http.post("/luci/downloads/2/cancel")
    found = await http.post("/luci/downloads/forget", json={"ids": [2, 2]})
    assert [one["name"] for one in found.json()["downloads"]] == ["a"]
    await http.post("/luci/downloads/3/cancel")
    found = await http.post("/luci/downloads/forget", json={})
    assert [one["id"] for one in found.json()["downloads"]] == [1, 3]
    assert [one.id for one in state.downloads.list().downloads] == [4]
    kept = json.loads((tmp_path / "downloads.json").read_text())["items"]
    assert [one["id"] for one in kept] == [4]
    assert read_manifest(model_folder(tmp_path / "models", "kept")) is not None
    await state.downloads.close()
    text = (await http.get("/luci/downloads/events")).text
    assert text.count("event: downloads_forgotten") == 2


async def test_failure_is_told_with_its_code(
    http: httpx.AsyncClient, state: HostState, hub: Hub
) -> None:
    hub.add(GOOD, Fault(status=403, error_code="GatedRepo"))
    await begun(http, hub.url_of())
    await until_state(state, 1, "failed")
    error = (await http.get("/luci/downloads/1")).json()["error"]
    assert (error["code"], error["type"]) == ("gated", "DownloadError")


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("/luci/downloads", {}, (400, "invalid_request")),
        ("/luci/downloads", {"plan": {"name": "../x", "files": []}}, (400, "invalid_request")),
        ("/luci/downloads/plan", {"wanted": ""}, (400, "invalid_request")),
        ("/luci/downloads/9/pause", None, (404, "not_found")),
        ("/luci/downloads/x/pause", None, (404, "not_found")),
        ("/luci/downloads/9/move", {"place": "sideways"}, (400, "invalid_request")),
        ("/luci/downloads/limit", {"bytes_per_s": -1}, (400, "invalid_request")),
        ("/luci/models/uninstall", {"name": "../../etc"}, (404, "not_installed")),
        ("/luci/models/uninstall", {"name": "nobody"}, (404, "not_installed")),
    ],
)
async def test_request_that_cannot_be_used_is_one_sentence(
    http: httpx.AsyncClient, path: str, body: object, found: tuple[int, str]
) -> None:
    response = await http.post(path, json=body) if body is not None else await http.post(path)
    assert error_of(response) == found
    assert "\n" not in response.json()["error"]["message"]


async def test_name_of_the_builtin_model_is_taken(http: httpx.AsyncClient, hub: Hub) -> None:
    hub.add(GOOD)
    response = await http.post(
        "/luci/downloads/plan", json={"wanted": hub.url_of(), "name": "builtin"}
    )
    assert error_of(response) == (400, "name_taken")


async def test_uninstall_refuses_a_model_in_memory_and_unloads_it_when_asked(
    http: httpx.AsyncClient,
    state: HostState,
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hub.add(GOOD)
    await begun(http, hub.url_of())
    await until_state(state, 1, "done")
    unloaded: list[str] = []

    async def unload(name: str, *, force: bool) -> None:
        assert not force
        unloaded.append(name)

    loaded = (ModelStatus(name="model", state="ready"),)
    monkeypatch.setattr(state.models, "loaded", lambda: loaded)
    monkeypatch.setattr(state.models, "unload", unload)
    refused = await http.post("/luci/models/uninstall", json={"name": "model"})
    assert error_of(refused) == (409, "in_use")
    folder = model_folder(tmp_path / "models", "model")
    assert read_manifest(folder) is not None
    gone = await http.post("/luci/models/uninstall", json={"name": "model", "unload": True})
    assert gone.json() == {"name": "model", "freed_bytes": len(GOOD)}
    assert unloaded == ["model"]
    assert not folder.exists()


async def test_uninstall_ends_an_install_of_the_same_model(
    http: httpx.AsyncClient, state: HostState, hub: Hub, tmp_path: Path
) -> None:
    hub.add(GOOD)
    await begun(http, hub.url_of())
    await until_state(state, 1, "done")
    await http.post("/luci/downloads/limit", json={"bytes_per_s": 20_000})
    hub.add(CONTENT, name="other.gguf")
    await begun(http, hub.url_of("other.gguf"), name="model")
    assert (await http.post("/luci/models/uninstall", json={"name": "model"})).status_code == 200
    await until_state(state, 2, "cancelled")
    await until(lambda: not model_folder(tmp_path / "models", "model").exists())


async def test_host_sweeps_at_its_start_what_a_killed_one_left(
    state: HostState, tmp_path: Path
) -> None:
    left = tmp_path / "models" / "installed" / "half" / "0123456789ab"
    left.mkdir(parents=True)
    (left / "x.gguf.part").write_bytes(b"x")
    await state.downloads.queue.close()
    files = run_files(tmp_path)
    next_one = await build_host(
        files, Options(engine="echo"), new_engine=EchoEngine, chats=EchoChats(0).as_chats()
    )
    await next_one.downloads.open()
    assert not left.parent.exists()
    await next_one.downloads.close()
