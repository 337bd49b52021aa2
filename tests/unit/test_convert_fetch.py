from __future__ import annotations

import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from luci_tui import paths
from luci_tui.download.hub import Hub
from luci_tui.download.hub_facts import RepoFacts, RepoFile
from luci_tui.download.options import MoveOptions
from luci_tui.download.pace import Backoff
from luci_tui.engine.job_frames import JobProgress
from luci_tui.errors import CatalogError, DownloadError, LuciError
from luci_tui.library.convert_fetch import fetch_source, source_files
from luci_tui.library.disk import examine
from luci_tui.library.places import find_places
from tests.support.hub import Fault, running_hub
from tests.support.hub import Hub as FakeHub
from tests.support.hub_use import quick_hub

FILES = {
    "config.json": b"{}",
    "tokenizer.json": b"{ }",
    "README.md": b"a card",
    "model-00001-of-00002.safetensors": b"a" * 300_000,
    "model-00002-of-00002.safetensors": b"b" * 1000,
    "model.safetensors.index.json": b"{  }",
    "pytorch_model.bin": b"a pickle",
    "onnx/model.safetensors": b"another form",
    "own_code.py": b"print()",
}
WANTED = {
    "config.json",
    "tokenizer.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
    "model.safetensors.index.json",
}


@pytest.fixture
async def fake() -> AsyncIterator[FakeHub]:
    async with running_hub() as hub:
        yield hub


@pytest.fixture
def hub(fake: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path / "home"))
    return quick_hub(fake, tmp_path)


async def fetched(hub: Hub, source: str = "hf:org/tiny") -> Path:
    options = MoveOptions(max_attempts=3, new_backoff=lambda: Backoff(first_s=0.001, max_s=0.002))
    async with aclosing(fetch_source(source, hub, options)) as events:
        async for event in events:
            if isinstance(event, Path):
                return event
            assert isinstance(event, JobProgress)
    raise AssertionError


async def test_fetch_holds_its_folder_against_a_cleaner_until_it_is_closed(
    fake: FakeHub, hub: Hub
) -> None:
    fake.add_repo("org/tiny", FILES)
    home = paths.luci_home()
    async with aclosing(fetch_source("hf:org/tiny", hub)) as events:
        async for event in events:
            if isinstance(event, Path):
                (held,) = examine(home, find_places(), ()).items
                assert (held.path, held.is_cleanable) == (event, False)
                break
    (free,) = examine(home, find_places(), ()).items
    assert free.is_cleanable
    descriptor = os.open(free.path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(CatalogError, match="is being removed by another process"):
            await fetched(hub)
    finally:
        os.close(descriptor)


async def test_fetch_brings_settings_tokenizer_and_safetensors_and_no_code(
    fake: FakeHub, hub: Hub, tmp_path: Path
) -> None:
    repo = fake.add_repo("org/tiny", FILES)
    folder = await fetched(hub)
    assert folder == tmp_path / "home" / "sources" / "org--tiny" / repo.commit
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        name: FILES[name] for name in WANTED
    }
    n_bytes = fake.sent_bytes
    assert await fetched(hub, "hf:org/tiny@main") == folder
    assert fake.sent_bytes == n_bytes


async def test_fetch_that_is_broken_off_goes_on_where_it_was(fake: FakeHub, hub: Hub) -> None:
    repo = fake.add_repo("org/tiny", FILES)
    large = fake.file_of(repo, "model-00001-of-00002.safetensors")
    large.faults.extend([Fault(drop_after=150_000)])
    folder = await fetched(hub)
    assert (folder / "model-00001-of-00002.safetensors").read_bytes() == b"a" * 300_000
    assert fake.sent_bytes < 350_000


async def test_fetch_of_changed_bytes_is_refused(fake: FakeHub, hub: Hub) -> None:
    repo = fake.add_repo("org/tiny", FILES)
    large = fake.file_of(repo, "model-00001-of-00002.safetensors")
    large.content = b"c" * 300_000
    with pytest.raises(DownloadError):
        await fetched(hub)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("hf:org/none", "repo_not_found"),
        ("hf:org/tiny/config.json", "bad_name"),
        ("hf:tiny", "bad_name"),
    ],
)
async def test_fetch_of_what_is_no_repository_of_weights_is_refused(
    fake: FakeHub, hub: Hub, source: str, code: str
) -> None:
    fake.add_repo("org/tiny", FILES)
    with pytest.raises(LuciError) as raised:
        await fetched(hub, source)
    assert raised.value.code == code


def test_pickles_are_taken_only_where_there_is_nothing_else() -> None:
    names = ("config.json", "pytorch_model.bin", "training_args.bin")
    facts = RepoFacts("org/old", "0" * 40, files=tuple(RepoFile(name, 5) for name in names))
    assert [file.path for file in source_files(facts)] == ["config.json", "pytorch_model.bin"]
    nothing = RepoFacts("org/gguf", "0" * 40, files=(RepoFile("model-Q4_0.gguf", 5),))
    with pytest.raises(CatalogError, match="no weights that could be converted"):
        source_files(nothing)
