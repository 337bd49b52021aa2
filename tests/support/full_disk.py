"""Quantize onto a disk that fills up: `python -m tests.support.full_disk SOURCE FOLDER TYPE`.

Runs in a mount namespace of its own (`unshare --mount`), so that the small file system it mounts on
FOLDER goes away with it. Prints what happened as one JSON object.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tests.support.jobs import LOOK_S, job_processes, names_in, part_bytes

DISK_BYTES = 16 * 1024 * 1024
BLOCK_BYTES = 4096
DEADLINE_S = 30.0
N_TRIES = 5


def main(source: str, folder: Path, type_name: str) -> None:
    """Quantize while the disk fills, then again with room."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "luci-test", str(folder)]
    subprocess.run(mount, check=True)
    command = [sys.executable, "-m", "luci_tui", "quantize", source, str(folder / "out.gguf")]
    command += ["--type", type_name, "--threads", "1"]
    ballast = folder / "ballast"
    written_bytes, first = _run_on_full_disk(command, ballast)
    for _ in range(N_TRIES):
        if written_bytes or first.returncode:
            break
        # It was done before it could be held, as on a busy machine it may be.
        (folder / "out.gguf").unlink()
        ballast.unlink(missing_ok=True)
        written_bytes, first = _run_on_full_disk(command, ballast)
    names = names_in(folder)
    ballast.unlink(missing_ok=True)
    again = subprocess.run(command, capture_output=True, timeout=DEADLINE_S, check=False)
    report = {
        "written_bytes": written_bytes,
        "exit_code": first.returncode,
        "stdout": first.stdout,
        "stderr": first.stderr,
        "names": names,
        "exit_code_with_room": again.returncode,
        "names_with_room": names_in(folder),
    }
    sys.stdout.write(json.dumps(report))


def _run_on_full_disk(
    command: list[str], ballast: Path
) -> tuple[int, subprocess.CompletedProcess[str]]:
    """Run the command while the disk fills; gives what it had written by then, and how it ended."""
    program = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        written_bytes = _fill_beside(program, ballast)
        stdout, stderr = program.communicate(timeout=DEADLINE_S)
    finally:
        program.kill()
        program.wait()
    ended = subprocess.CompletedProcess(command, program.returncode, stdout, stderr)
    return written_bytes, ended


def _fill_beside(program: subprocess.Popen[str], ballast: Path) -> int:
    """Hold the job once it writes, fill the disk, let it go on; gives what it had written."""
    deadline_s = time.monotonic() + DEADLINE_S
    while program.poll() is None and time.monotonic() < deadline_s:
        # Only after luci has found that there is space enough.
        jobs = job_processes(psutil.Process(program.pid))
        if part_bytes(ballast.parent) == 0 or not jobs:
            time.sleep(LOOK_S)
            continue
        jobs[0].suspend()
        written_bytes = part_bytes(ballast.parent)
        _fill(ballast)
        jobs[0].resume()
        return written_bytes
    return 0


def _fill(ballast: Path) -> None:
    fd = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    try:
        with contextlib.suppress(OSError):  # no space left
            while True:
                os.write(fd, bytes(BLOCK_BYTES))
    finally:
        os.close(fd)
    status = os.statvfs(ballast.parent)
    if status.f_bavail != 0:
        raise RuntimeError(f"{status.f_bavail} blocks are free on a disk that was filled")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
