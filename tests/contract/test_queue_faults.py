"""Everything that a hub does wrong, met by an install in the queue."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from luci_tui.download.records import ItemState
from luci_tui.errors import DownloadError
from tests.support.download_faults import CASES, Case
from tests.support.downloads import CONTENT, SOON_S, fetch, files_of, served, wanted_of
from tests.support.hub import Fault
from tests.support.installs import FilesAlone, bench_at


def test_table_has_forty_different_faults() -> None:
    assert len({case.faults for case in CASES}) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_fault_ends_in_the_installed_file_or_in_one_sentence(
    case: Case, tmp_path: Path
) -> None:
    files_alone = FilesAlone(tmp_path / "models")
    patience = {"stall_s": SOON_S} if case.stalls else {}
    async with bench_at(tmp_path, installing=files_alone, **patience) as bench:
        plan = bench.offer(CONTENT, "model", *case.faults)
        hub_file = bench.hub.files["/org/repo/resolve/main/model.gguf"]
        if case.forever:
            hub_file.forever = hub_file.faults[-1]
        unknown = {} if case.knows_sha else {"sha256": ""}
        unknown |= {} if case.knows_size else {"size_bytes": None}
        (file,) = plan.files
        plan = plan.model_copy(update={"files": (file.model_copy(update=unknown),)})
        item, _ = await bench.queue.add(plan)
        ended = await bench.until(item.id)
        folder = tmp_path / "models" / "model"
        assert ended.error_code == case.code, ended.error
        if not case.code:
            assert ended.state is ItemState.DONE
            assert (folder / "model.gguf").read_bytes() == CONTENT
            assert files_of(folder) == ["model.gguf"]
            return
        assert ended.state is ItemState.FAILED
        assert ended.error.isprintable()
        assert case.says in ended.error
        assert not (folder / "model.gguf").exists()
        # When the hub is well again, the same item ends well: what failed can be resumed.
        hub_file.faults.clear()
        hub_file.forever = None
        await bench.queue.resume(item.id)
        assert (await bench.until(item.id)).state is ItemState.DONE
        assert (folder / "model.gguf").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "n_flips", [40, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
async def test_single_flipped_bits_are_all_found(n_flips: int, tmp_path: Path) -> None:
    chance = random.Random(9)
    content = chance.randbytes(20_011)
    n_found = 0
    async with served(content=content) as (hub, file):
        wanted = wanted_of(hub, file, tmp_path)
        for _ in range(n_flips):
            file.faults.append(Fault(flip_at=chance.randrange(len(content))))
            with pytest.raises(DownloadError) as caught:
                await fetch(wanted)
            n_found += caught.value.code == "checksum"
            assert not wanted.destination.exists()
    assert n_found == n_flips
