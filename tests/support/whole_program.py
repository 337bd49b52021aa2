"""Do with luci what a person does, from the first start to the end of the host.

    LUCI_HOME=... python -m tests.support.whole_program FOLDER [commands] [screen]

It works on the built-in model and on a small file in FOLDER. The chat and the HTTP API are used in
any case, the other commands and the screen where they are named. It prints `port N` for the port
that was served. Exit code 0: everything did what it should.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx

from tests.support.terminal import TerminalProgram

LUCI = ("-m", "luci_tui")
LIMIT_S = 600.0
REQUEST = "list the files in src"


def luci(*arguments: str, stdin: str = "", exit_codes: tuple[int, ...] = (0,)) -> str:
    """Run one command and give its stdout."""
    done = subprocess.run(
        [sys.executable, *LUCI, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    said = f"luci {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.returncode in exit_codes, said
    return done.stdout


def commands(folder: Path) -> None:
    """Run the commands of every kind."""
    source, model = folder / "wide-F16.gguf", folder / "wide-Q8_0.gguf"
    luci("devices")
    luci("run", "builtin", REQUEST)
    luci("chat", "--inline", stdin=f"{REQUEST}\n")
    luci("chat", "list", "--json")
    luci("chat", "search", "files")
    luci("inspect", str(source))
    luci("validate", "--deep", str(source))
    luci("quantize", str(source), str(model), "--type", "Q8_0", "--report")
    job = luci("quantize", str(source), str(folder), "--type", "Q4_K_M", "--background", "--json")
    luci("jobs", "attach", json.loads(job)["id"])
    luci("embed", str(model), "list files", "--n-ctx", "64")
    luci("bench", "--pp", "16", "--tg", "48", "--rounds", "1", "--threads", "1")
    luci("ps")
    luci("host", "status")


def screen() -> None:
    """Open the screen, ask once, leave."""
    with TerminalProgram(*LUCI, env=os.environ) as shown:
        shown.wait_for("ready")
        shown.send(f"{REQUEST}\r")
        shown.wait_for("TTFT")
        shown.send("\x11")
        assert shown.wait().exit_code == 0, shown.text_since(0)


def serve() -> int:
    """Serve, ask as another program would, and stop; gives the port."""
    served = json.loads(luci("serve", "--port", "0", "--background", "--json"))
    key = Path(served["key_file"]).read_text().strip()
    with httpx.Client(base_url=served["url"], trust_env=False, timeout=LIMIT_S) as client:
        client.headers["authorization"] = f"Bearer {key}"
        assert client.get("/models").status_code == 200
        messages = [{"role": "user", "content": REQUEST}]
        answer = client.post("/chat/completions", json={"model": "builtin", "messages": messages})
        assert answer.status_code == 200, answer.text
        answer = client.post("/responses", json={"model": "builtin", "input": REQUEST})
        assert answer.status_code == 200, answer.text
    luci("doctor", "--json", exit_codes=(0, 1))
    luci("serve", "--stop")
    return int(served["port"])


def main(folder: Path, stages: list[str]) -> None:
    """Do what is asked for, from the start of the host to its end."""
    try:
        luci("host", "start")
        luci("ask", REQUEST)
        if "commands" in stages:
            commands(folder)
        if "screen" in stages:
            screen()
        print(f"port {serve()}")
    finally:
        luci("host", "stop", exit_codes=(0, 1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
