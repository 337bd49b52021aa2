from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from luci_tui.engine.echo import EchoEngine
from luci_tui.host.api import bodies
from luci_tui.host.api.app import build_app
from luci_tui.host.process import Options
from luci_tui.host.run_files import prepare_folders, run_files
from luci_tui.host.state import HostState
from luci_tui.host.wiring import build_host
from tests.support import engines
from tests.support.echo_chats import EchoChats


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[HostState]:
    files = run_files(tmp_path)
    prepare_folders(files)
    chats = EchoChats(0).as_chats()
    made = await build_host(files, Options(engine="echo"), new_engine=EchoEngine, chats=chats)
    await made.jobs.open()
    yield made
    await made.turns.drain(0)
    await made.jobs.close()


@pytest.fixture
async def http(state: HostState) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_app(state))
    async with httpx.AsyncClient(transport=transport, base_url="http://luci") as client:
        yield client


def error_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def events_of(response: httpx.Response) -> list[tuple[str, Any]]:
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block.splitlines() for block in response.text.split("\n\n") if block]
    fields = [dict(line.split(": ", 1) for line in block) for block in blocks]
    return [(one["event"], json.loads(one["data"])) for one in fields]


async def test_routes_that_are_not_there_are_errors_of_the_same_shape(
    http: httpx.AsyncClient,
) -> None:
    assert error_of(await http.get("/luci/nothing")) == (404, "no_route")
    assert error_of(await http.delete("/luci/hello")) == (405, "no_route")


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("/luci/jobs", "{", (400, "invalid_request")),
        ("/luci/jobs", '{"kind": "dance", "spec": {}}', (404, "unknown_job")),
        ("/luci/jobs", '{"kind": "quantize", "spec": {}}', (400, "invalid_request")),
        ("/luci/jobs", '{"kind": "imatrix", "spec": {"n_ctx": -1}}', (400, "invalid_request")),
        ("/luci/jobs/7/cancel", "", (404, "not_found")),
        ("/luci/models/unload", '{"name": "x"}', (404, "catalog")),
        ("/luci/models/load", '{"name": ""}', (400, "invalid_request")),
        ("/luci/generate", '{"model": "a", "engine_id": "b"}', (400, "invalid_request")),
        ("/luci/engines", "{}", (400, "invalid_request")),
        ("/luci/turns/abc/cancel", "", (404, "not_found")),
        ("/luci/chats/nope/turns", "{}", (400, "invalid_request")),
        ("/luci/stop", '{"drain_s": -1}', (400, "invalid_request")),
    ],
)
async def test_request_that_cannot_be_used_is_refused_in_one_sentence(
    http: httpx.AsyncClient, path: str, body: str, found: tuple[int, str]
) -> None:
    response = await http.post(path, content=body)
    assert error_of(response) == found
    assert "\n" not in response.json()["error"]["message"]


async def test_body_beyond_the_bound_is_refused(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "MAX_BODY_BYTES", 1000)
    response = await http.post("/luci/jobs", content=b" " * 1001)
    assert error_of(response) == (413, "too_long")


async def test_host_that_leaves_takes_no_new_work_and_still_answers(
    http: httpx.AsyncClient, state: HostState
) -> None:
    assert (await http.post("/luci/stop")).json()["is_leaving"]
    assert state.stop_asked.is_set()
    assert error_of(await http.post("/luci/chats", content="{}")) == (503, "leaving")
    assert (await http.get("/luci/hello")).json()["is_leaving"]
    assert (await http.get("/luci/jobs")).json() == {"jobs": []}


async def test_generate_streams_frames_of_a_model_by_name(http: httpx.AsyncClient) -> None:
    command = engines.request("say this", max_tokens=8).model_dump(mode="json")
    response = await http.post("/luci/generate", json={"model": "builtin", "command": command})
    kinds = [kind for kind, _ in events_of(response)]
    assert kinds[0] == "notice"
    assert kinds[-1] == "done"
    assert "delta" in kinds


async def test_generate_that_fails_says_so_in_its_stream(http: httpx.AsyncClient) -> None:
    command = engines.request(prompt=None).model_dump(mode="json")
    response = await http.post("/luci/generate", json={"model": "builtin", "command": command})
    kind, error = events_of(response)[-1]
    assert (kind, error["code"], error["type"]) == ("error", "invalid_request", "RequestError")


async def test_ask_gives_one_answer_and_refuses_what_has_a_route_of_its_own(
    http: httpx.AsyncClient,
) -> None:
    ask = {"model": "builtin", "command": {"kind": "tokenize", "request_id": 0, "text": "ab"}}
    (*_, (kind, answer)) = events_of(await http.post("/luci/ask", json=ask))
    assert (kind, answer["tokens"]) == ("tokenized", [97, 98])
    command = engines.request().model_dump(mode="json")
    refused = await http.post("/luci/ask", json={"model": "builtin", "command": command})
    assert events_of(refused)[-1][1]["code"] == "invalid_request"


async def test_engine_that_nobody_holds_is_not_loaded(http: httpx.AsyncClient) -> None:
    command = engines.request().model_dump(mode="json")
    response = await http.post("/luci/generate", json={"engine_id": "gone", "command": command})
    assert events_of(response)[-1][1]["code"] == "not_loaded"
    assert (await http.delete("/luci/engines/gone")).status_code == 204


async def test_models_are_listed_and_loading_one_is_a_job(http: httpx.AsyncClient) -> None:
    listed = (await http.get("/luci/models")).json()
    assert [entry["name"] for entry in listed["entries"]] == ["builtin"]
    assert listed["loaded"] == []
    job = (await http.post("/luci/models/load", json={"name": "builtin"})).json()
    assert (job["kind"], job["title"]) == ("load", "load builtin")
    events = events_of(await http.get(f"/luci/jobs/{job['id']}/events"))
    assert events[-1][1]["job"]["result"] == {"name": "builtin"}
    assert "progress" in [kind for kind, _ in events]


async def test_parameters_of_a_model_are_told_changed_and_kept(
    http: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    path = "/luci/models/parameters"
    told = (await http.get(f"{path}?name=builtin")).json()
    assert (told["described"], told["described_in"], told["own"]) == (
        {"temperature": 0.0},
        "built in",
        {},
    )
    change = {"name": "builtin", "sampling": {"temperature": 0.5, "top_k": 3}, "system": "Brief."}
    changed = (await http.patch(path, json=change)).json()
    assert (changed["own"], changed["own_system"]) == (change["sampling"], "Brief.")
    taken = {"name": "builtin", "sampling": {"top_k": None}, "system": ""}
    assert (await http.patch(path, json=taken)).json()["own"] == {"temperature": 0.5}
    assert (await http.get(f"{path}?name=builtin")).json()["own_system"] == ""
    assert "temperature = 0.5" in (tmp_path / "library.toml").read_text()


async def test_parameters_that_cannot_be_are_refused(
    http: httpx.AsyncClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    path = "/luci/models/parameters"
    assert error_of(await http.get(f"{path}?name=nobody")) == (404, "catalog")
    wrong = {"name": "builtin", "sampling": {"top_p": 2}}
    assert error_of(await http.patch(path, json=wrong)) == (400, "parameter")


async def test_chats_are_made_changed_found_and_removed(http: httpx.AsyncClient) -> None:
    made = await http.post("/luci/chats", json={"title": "first"})
    assert made.status_code == 201
    chat = f"/luci/chats/{made.json()['id']}"
    assert (await http.patch(chat, json={"title": "second"})).json()["title"] == "second"
    assert (await http.get("/luci/chats")).json()["items"] == [(await http.get(chat)).json()]
    exported = await http.get(f"{chat}/export?format=json")
    imported = await http.post("/luci/chats/import", content=exported.content)
    assert imported.json()["items"][0]["title"] == "second"
    assert (await http.delete(chat)).status_code == 204
    assert error_of(await http.get(chat)) == (404, "not_found")
    assert error_of(await http.get("/luci/chats/search?q=%20")) == (400, "invalid_request")
    assert error_of(await http.get("/luci/chats?limit=x")) == (400, "invalid_request")


async def test_turn_is_stored_before_it_is_answered_and_its_events_stay(
    http: httpx.AsyncClient,
) -> None:
    chat_id = (await http.post("/luci/chats", json={})).json()["id"]
    opened = await http.post(f"/luci/chats/{chat_id}/turns", json={"text": "one two"})
    assert opened.status_code == 201
    turn_id = opened.json()["turn_id"]
    messages = (await http.get(f"/luci/chats/{chat_id}/messages")).json()["items"]
    assert messages[0]["text"] == "one two"
    path = f"/luci/turns/{turn_id}/events"
    events = events_of(await http.get(path))
    assert [kind for kind, _ in events] == [
        "turn_started",
        "turn_delta",
        "turn_delta",
        "turn_done",
    ]
    again = await http.get(path, headers={"Last-Event-ID": "2"})
    assert events_of(again) == events[2:]
    (known,) = (await http.get("/luci/turns")).json()["turns"]
    assert known == {"turn_id": turn_id, "chat_id": chat_id, "is_running": False}


async def test_turn_that_cannot_begin_is_refused_and_forgotten(http: httpx.AsyncClient) -> None:
    refused = await http.post("/luci/chats/nope/turns", json={"text": "one"})
    assert error_of(refused) == (404, "not_found")
    assert (await http.get("/luci/turns")).json() == {"turns": []}


async def test_status_and_metrics_tell_figures(http: httpx.AsyncClient, state: HostState) -> None:
    status = (await http.get("/luci/status")).json()
    assert status["hello"]["busy"] == []
    assert status["home"] == str(state.files.home)
    metrics = (await http.get("/luci/metrics")).json()
    assert metrics["rss_bytes"] > 1_000_000
    assert metrics["n_jobs_running"] == 0
