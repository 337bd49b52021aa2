"""The gguf package's reader on files: prints a verdict for each, as read_gguf.cpp does."""

from __future__ import annotations

import os
import resource
import signal
import sys

from gguf import GGUFReader

MAX_S = 20
MAX_ADDRESS_BYTES = 4 << 30
REJECTED = 10


def verdict(path: str) -> str:
    """Read one file in a child process of its own."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (MAX_ADDRESS_BYTES, MAX_ADDRESS_BYTES))
        signal.alarm(MAX_S)
        try:  # whatever it raises, it rejects the file
            GGUFReader(path)
        except BaseException:
            os._exit(REJECTED)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return "hung" if os.WTERMSIG(status) == signal.SIGALRM else "crashed"
    return "rejected" if os.WEXITSTATUS(status) == REJECTED else "accepted"


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(verdict(argument), flush=True)
