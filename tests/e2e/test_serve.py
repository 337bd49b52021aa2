import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.support.terminal import TerminalProgram

Luci = Callable[..., subprocess.CompletedProcess[bytes]]
ECHO = ("--engine", "echo")


def finding(luci: Luci, name: str) -> dict[str, str]:
    findings = json.loads(luci("doctor", "--json").stdout)["findings"]
    return next(one for one in findings if one["name"] == name)


def test_serve_in_background_answers_with_the_key_alone(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    assert finding(luci, "listening")["text"] == "Nothing: no host runs."
    served = json.loads(luci(*ECHO, "serve", "--port", "0", "--background", "--json").stdout)
    key_file = Path(luci_env["LUCI_HOME"]) / "api_key"
    assert (served["key_file"], key_file.stat().st_mode & 0o777) == (str(key_file), 0o600)
    body = {"model": "any", "messages": [{"role": "user", "content": "say this"}]}
    with httpx.Client(base_url=served["url"], trust_env=False, timeout=30) as client:
        assert client.post("/chat/completions", json=body).status_code == 401
        client.headers["authorization"] = f"Bearer {key_file.read_text().strip()}"
        answer = client.post("/chat/completions", json=body).json()
        assert answer["choices"][0]["message"]["content"] == "say this"
    listening = finding(luci, "listening")
    assert f"127.0.0.1:{served['port']}, which only this machine reaches" in listening["text"]
    assert "readable by you alone" in finding(luci, "API key")["text"]
    assert json.loads(luci("ps", "--json").stdout)[0]["name"] == "any"
    assert b"is closed" in luci("serve", "--stop").stdout
    assert "on no port" in finding(luci, "listening")["text"]
    assert luci("serve", "--stop").stdout == b"Nothing was served.\n"


def test_serve_in_foreground_ends_with_ctrl_c(luci: Luci, luci_env: dict[str, str]) -> None:
    arguments = ("-m", "luci_tui", *ECHO, "serve", "--port", "0", "--no-key")
    with TerminalProgram(*arguments, env=luci_env) as serving:
        serving.wait_for("Ctrl-C ends it")
        assert b"No API key is asked for" in serving.output
        serving.send("\x03")
        assert serving.wait().exit_code == 0
    assert luci("serve", "--stop").stdout == b"Nothing was served.\n"


def test_serve_beyond_loopback_is_refused_without_being_asked_for(luci: Luci) -> None:
    refused = luci(*ECHO, "serve", "--host", "0.0.0.0", "--port", "0", "--background")
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert b"Add --allow-remote" in refused.stderr
    both = luci(*ECHO, "serve", "--host", "0.0.0.0", "--allow-remote", "--no-key")
    assert b"exclude each other" in both.stderr


def test_models_are_loaded_and_unloaded_by_name(luci: Luci) -> None:
    assert luci(*ECHO, "ps").stdout == b""
    assert luci(*ECHO, "load", "any").stdout == b"any is loaded.\n"
    assert luci("ps").stdout.startswith(b"any  ready, ")
    assert luci("unload", "any").stdout == b"any is unloaded.\n"
    assert json.loads(luci("ps", "--json").stdout) == []
    unknown = luci(*ECHO, "load", "ani")
    assert unknown.returncode == 2
    assert b'Did you mean "any"?' in unknown.stderr


def test_serve_given_limits_then_options_come_before_the_settings_file(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    settings = Path(luci_env["LUCI_HOME"]) / "config.toml"
    settings.write_text("[serve]\nmax_body_bytes = 2048\nmax_running = 0\n")
    start = (*ECHO, "serve", "--port", "0", "--background", "--no-key", "--json")
    refused = luci(*start)
    assert refused.returncode == 2
    assert b"line 3: serve.max_running cannot be 0" in refused.stderr
    settings.write_text("[serve]\nmax_body_bytes = 2048\nmax_running = 2\n")
    assert b"--body-timeout-s 0" in luci(*start, "--body-timeout-s", "0").stderr
    url = json.loads(luci(*start, "--max-queued", "3").stdout)["url"]
    assert largest_body(url) == 2048
    assert json.loads(luci(*start, "--max-queued", "3").stdout)["url"] == url
    assert b"serves http" in luci(*start, "--max-queued", "4").stderr
    luci("serve", "--stop")
    url = json.loads(luci(*start, "--max-body-bytes", "1024").stdout)["url"]
    assert largest_body(url) == 1024


def largest_body(url: str) -> int:
    """Of 1 KiB and 2 KiB, and one byte more each, the longest body that is read."""
    taken = 0
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        for n_bytes in (1024, 1025, 2048, 2049):
            body = json.dumps({"model": "any", "content": "x"}).ljust(n_bytes)
            headers = {"content-type": "application/json"}
            status = client.post("/../tokenize", content=body, headers=headers).status_code
            assert status in (200, 413)
            taken = n_bytes if status == 200 else taken
    return taken
