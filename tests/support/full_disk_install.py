"""Install onto a disk that is too small, then make it larger: run in `own_mounts.NAMESPACE`.

`python -m tests.support.full_disk_install FOLDER` prints what happened as one JSON object.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from luci_tui.download.plan import Plan
from luci_tui.errors import DownloadError
from tests.support.downloads import CONTENT
from tests.support.installs import FilesAlone, bench_at

CONTENT_BYTES = 6 * len(CONTENT)
SMALL, LARGE = "size=3m", "size=32m"


def mount(folder: Path, options: str) -> None:
    """Mount a file system, or change one."""
    command = ["mount", "-t", "tmpfs", "-o", options, "luci-test", str(folder)]
    subprocess.run(command, check=True)


def without_size(plan: Plan) -> Plan:
    """Return a plan of which nobody knows beforehand how large it is."""
    (file,) = plan.files
    return plan.model_copy(update={"files": (file.model_copy(update={"size_bytes": None}),)})


async def install(folder: Path) -> dict[str, object]:
    """Be refused, fill the disk, and go on when there is room."""
    found: dict[str, object] = {}
    async with bench_at(folder, installing=FilesAlone(folder / "models")) as bench:
        plan = bench.offer(CONTENT * 6)
        try:
            await bench.queue.add(plan)
        except DownloadError as error:
            found["refused"] = error.code
            found["says"] = error.message
        item, _ = await bench.queue.add(without_size(plan))
        failed = await bench.until(item.id)
        found["failed"] = failed.error_code
        part = folder / "models" / "model" / "model.gguf.part"
        kept_bytes = part.stat().st_size
        found["kept_bytes"] = kept_bytes
        mount(folder, f"remount,{LARGE}")
        await bench.queue.resume(item.id)
        done = await bench.until(item.id)
        found["state"] = done.state.value
        final = folder / "models" / "model" / "model.gguf"
        found["is_right"] = final.read_bytes() == CONTENT * 6
        found["n_from_the_beginning"] = bench.n_from_the_beginning()
    return found


def main(folder: Path) -> None:
    """Run it."""
    mount(folder, SMALL)
    sys.stdout.write(json.dumps(asyncio.run(install(folder))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
