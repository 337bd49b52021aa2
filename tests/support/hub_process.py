"""The fake hub in a process of its own: `python -m tests.support.hub_process FOLDER`.

Offers every file of FOLDER as one of the repository org/repo, and prints its address. It ends with
its standard input.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.support.hub import running_hub


@contextmanager
def hub_process(folder: Path) -> Generator[str]:
    """Run such a hub and give its address."""
    command = [sys.executable, "-m", "tests.support.hub_process", str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()
            process.wait(20)


async def serve(folder: Path) -> None:
    """Serve until standard input ends."""
    contents = {path.name: await asyncio.to_thread(path.read_bytes) for path in _files(folder)}
    async with running_hub() as hub:
        for name, content in contents.items():
            hub.add(content, name=name)
        sys.stdout.write(hub.url + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
