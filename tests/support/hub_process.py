"""The fake hub in a process of its own: `python -m tests.support.hub_process FOLDER`.

Offers every file of FOLDER as one of the repository org/repo and those of FOLDER/OWNER/NAME as that
repository's, and prints its address. It ends with its standard input.
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
    contents = await asyncio.to_thread(_contents, folder, "*")
    repos = await asyncio.to_thread(_repos, folder)
    async with running_hub() as hub:
        for name, content in contents.items():
            hub.add(content, name=name)
        for name, files in repos.items():
            hub.add_repo(name, files)
        sys.stdout.write(hub.url + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


def _contents(folder: Path, pattern: str) -> dict[str, bytes]:
    found = sorted(folder.glob(pattern))
    return {path.name: path.read_bytes() for path in found if path.is_file()}


def _repos(folder: Path) -> dict[str, dict[str, bytes]]:
    found = (path for path in sorted(folder.glob("*/*")) if path.is_dir())
    return {f"{path.parent.name}/{path.name}": _contents(path, "*") for path in found}


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
