"""Bring the source of a conversion from the hub: settings, tokenizer and weights of a repository.

Files are moved like models are: resumed, checked against the hub's sums, and named when whole. A
second conversion of the same commit finds them again.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from luci_tui import paths
from luci_tui.download.hub import Hub
from luci_tui.download.hub_facts import RepoFacts, RepoFile
from luci_tui.download.messages import MoveProgress, Wanted
from luci_tui.download.mover import move, new_client
from luci_tui.download.options import MoveOptions
from luci_tui.download.sources import default_source
from luci_tui.download.threads import in_thread
from luci_tui.download.wanted import HubWish, read_wish
from luci_tui.engine.job_frames import JobProgress
from luci_tui.engine.quantize_checks import free_bytes
from luci_tui.errors import CatalogError
from luci_tui.units import format_bytes

_PREFIX: Final = "hf:"
_SMALL: Final = (".json", ".txt", ".model", ".jinja", ".tiktoken")
MAX_SMALL_BYTES: Final = 256 * 1024 * 1024
"""Of one file that is no weights."""
_POLL_S: Final = 0.1


def is_remote(source: str) -> bool:
    """Tell whether a source lies at the hub."""
    return source.startswith(_PREFIX)


async def fetch_source(
    source: str, hub: Hub | None = None, options: MoveOptions | None = None
) -> AsyncGenerator[JobProgress | Path]:
    """Fetch a repository's model and give progress, then its folder.

    What has arrived stays when this is broken off, and the next call goes on from it. Until the
    iterator is closed, nobody else removes the folder.

    Args:
        source: "hf:OWNER/REPO", with "@REVISION" after it where another than main is meant.
        hub: None = the one in use.
        options: How patient the downloads are; None = as usual.

    Raises:
        LuciError: there is no such repository, it holds no weights, or it cannot be fetched.
    """
    hub = hub or Hub()
    wish = read_wish(source, hub.endpoint)
    if not isinstance(wish, HubWish) or wish.path or wish.quant:
        msg = f"{source} names no repository of weights. Write hf:OWNER/REPO."
        raise CatalogError(msg, code="bad_name")
    yield JobProgress(what=f"asking for {wish.repo}", n_done=0, n_total=0)
    facts = await hub.repo(wish.repo, wish.revision)
    if facts.gated:
        await hub.check_access(facts.repo)
    files = source_files(facts)
    folder = paths.sources_folder() / facts.repo.replace("/", "--") / facts.commit
    await asyncio.to_thread(_make_room, folder, files)
    with _held(folder):
        fetching = _Fetching(hub, facts, folder, options or MoveOptions())
        task = asyncio.create_task(fetching.run(files), name=f"fetch {facts.repo}")
        try:
            while not (await asyncio.wait([task], timeout=_POLL_S))[0]:
                yield fetching.progress()
            await task
        finally:
            task.cancel()
            await asyncio.wait([task])
        yield folder


@contextmanager
def _held(folder: Path) -> Generator[None]:
    """Hold a shared lock on a folder, which `luci disk --clean` wants for itself."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        msg = f"{folder} cannot be read ({error.strerror}). Check its permissions, then try again."
        raise CatalogError(msg, code="not_readable") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        msg = f"{folder} is being removed by another process. Try again."
        raise CatalogError(msg, code="busy") from error
    finally:
        os.close(descriptor)


def source_files(facts: RepoFacts) -> tuple[RepoFile, ...]:
    """Choose what a conversion needs: safetensors, or pickles where there are none.

    Raises:
        CatalogError: there are no weights in the repository's own folder.
    """
    here = [file for file in facts.files if "/" not in file.path]
    weights = [file for file in here if _is_weights(file.path, "model", ".safetensors")]
    weights = weights or [file for file in here if _is_weights(file.path, "pytorch_model", ".bin")]
    if not weights:
        msg = f"{facts.repo} has no weights that could be converted (model.safetensors)."
        raise CatalogError(f"{msg} `luci search` finds GGUF files.", code="no_weights")
    small = [
        file for file in here if file.path.endswith(_SMALL) and file.size_bytes <= MAX_SMALL_BYTES
    ]
    return (*small, *weights)


def _is_weights(path: str, prefix: str, suffix: str) -> bool:
    return path.startswith(prefix) and path.endswith(suffix)


def _make_room(folder: Path, files: Sequence[RepoFile]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    needed = sum(file.size_bytes for file in files if not _is_there(folder, file))
    free = free_bytes(folder)
    if needed > free:
        msg = (
            f"The weights have {format_bytes(needed)} and {format_bytes(free)} are free in "
            f"{folder}. Make room, then try again."
        )
        raise CatalogError(msg, code="disk_full")


def _is_there(folder: Path, file: RepoFile) -> bool:
    """A file gets its name when it is whole and checked, so its size tells enough."""
    path = folder / file.path
    return path.is_file() and path.stat().st_size == file.size_bytes


class _Fetching:
    """Moves the files of one repository, one after the other."""

    def __init__(self, hub: Hub, facts: RepoFacts, folder: Path, options: MoveOptions) -> None:
        self._facts = facts
        self._folder = folder
        self._options = options
        self._source = default_source(hub)
        self._place = f"{hub.endpoint}/{facts.repo}/resolve/{facts.commit}"
        self._total_bytes = 0
        self._done_bytes = 0
        self._part_bytes = 0
        self._name = ""

    def progress(self) -> JobProgress:
        """Say how far all files together are."""
        n_done = self._done_bytes + self._part_bytes
        return JobProgress(what=self._name, n_done=n_done, n_total=self._total_bytes)

    async def run(self, files: Sequence[RepoFile]) -> None:
        missing = [file for file in files if not _is_there(self._folder, file)]
        self._total_bytes = sum(file.size_bytes for file in missing)
        async with await in_thread(new_client, self._options) as client:
            for file in missing:
                self._name = file.path
                url = f"{self._place}/{quote(file.path)}"
                wanted = Wanted(
                    url=url,
                    destination=self._folder / file.path,
                    size_bytes=file.size_bytes,
                    sha256=file.sha256,
                    headers=await in_thread(self._source.headers, url),
                )
                await move(wanted, client, self._options, self._note)
                self._done_bytes += file.size_bytes
                self._part_bytes = 0

    def _note(self, progress: MoveProgress) -> None:
        self._part_bytes = progress.done_bytes
