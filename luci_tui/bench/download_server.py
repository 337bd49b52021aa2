"""A fast server of one file on loopback: `python -m luci_tui.bench.download_server FILE`.

It speaks as much of the hub's protocol as `hf download` needs, sends with sendfile, prints its
address and ends with its standard input.
"""

from __future__ import annotations

import hashlib
import re
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REPO = "bench/model"
COMMIT = "b" * 40
_RANGE = re.compile(r"bytes=(\d+)-")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, file: Path, sha256: str, *arguments: Any) -> None:
        self._file = file
        self._sha256 = sha256
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        """Say what the file is."""
        self._head(0)

    def do_GET(self) -> None:
        """Send the file, from where it is asked for."""
        match = _RANGE.match(self.headers.get("Range", ""))
        begins_at = int(match[1]) if match else 0
        if self._head(begins_at):
            self.wfile.flush()
            with self._file.open("rb") as file:
                self.connection.sendfile(file, begins_at)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing about each request."""

    def _head(self, begins_at: int) -> bool:
        is_there = self.path.startswith(f"/{REPO}/resolve/")
        size_bytes = self._file.stat().st_size
        self.send_response((206 if begins_at else 200) if is_there else 404)
        self.send_header("Content-Length", str(size_bytes - begins_at if is_there else 0))
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        if begins_at:
            told = f"bytes {begins_at}-{size_bytes - 1}/{size_bytes}"
            self.send_header("Content-Range", told)
        self.send_header("ETag", f'"{self._sha256}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        return is_there


def main(file: Path) -> None:
    """Serve until standard input ends."""
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, file, sha256))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.write(f"http://127.0.0.1:{server.server_port} {sha256}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
