"""The mover against a hub that does everything wrong that a hub can do.

Each case ends in the whole, right file, or in one sentence with nothing under the final name.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from luci_tui.download.messages import Moved
from luci_tui.download.mover import new_client
from luci_tui.download.options import MoveOptions
from luci_tui.errors import DownloadError
from tests.support.download_faults import CASES, Case
from tests.support.downloads import (
    CONTENT,
    SOON_S,
    fetch,
    files_of,
    quick,
    served,
    wanted_of,
)
from tests.support.hub import Fault, running_hub

MIB = 1 << 20


def options_for(case: Case) -> MoveOptions:
    return quick(stall_s=SOON_S) if case.stalls else quick()


def test_the_hub_knows_forty_faults() -> None:
    assert len({case.faults for case in CASES}) >= 40


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_fault_ends_in_the_right_file_or_in_one_sentence(case: Case, tmp_path: Path) -> None:
    async with served(*case.faults) as (hub, file):
        if case.forever:
            file.forever = file.faults[-1]
        wanted = wanted_of(
            hub,
            file,
            tmp_path,
            sha256=file.sha256 if case.knows_sha else "",
            size_bytes=len(CONTENT) if case.knows_size else None,
        )
        error: DownloadError | None = None
        moved: Moved | None = None
        try:
            moved = await fetch(wanted, options_for(case))
        except DownloadError as caught:
            error = caught
        assert (error.code if error else "") == case.code, error
        if case.n_requests:
            assert len(hub.asked) == case.n_requests
        if error is None:
            assert moved is not None
            assert moved.sha256 == file.sha256
            assert wanted.destination.read_bytes() == CONTENT
            assert files_of(tmp_path) == ["model.gguf"]
        else:
            assert not wanted.destination.exists()
            assert error.message.isprintable()
            assert case.says in error.message


@pytest.mark.parametrize("case", [case for case in CASES if not case.code], ids=lambda c: c.name)
async def test_fault_that_is_got_over_sends_few_bytes_twice(case: Case, tmp_path: Path) -> None:
    """Only an answer that had to be thrown away is sent again."""
    async with served(*case.faults) as (hub, file):
        await fetch(wanted_of(hub, file, tmp_path), options_for(case))
        n_thrown_away = sum(
            len(CONTENT)
            for fault in case.faults
            if fault.ignore_range
            or fault.shift_range
            or fault.lie_range
            or fault.no_content_range
            or fault.content_range
            or fault.extra
            or fault.etag is not None
            or fault.status == 416
        )
        assert hub.sent_bytes <= len(CONTENT) + n_thrown_away + MIB // 4


async def test_flipped_bit_anywhere_is_found(tmp_path: Path) -> None:
    random_places = random.Random(5)
    async with served() as (hub, file):
        for _ in range(20):
            file.faults.append(Fault(flip_at=random_places.randrange(len(CONTENT))))
            with pytest.raises(DownloadError, match="sha256"):
                await fetch(wanted_of(hub, file, tmp_path))
            assert not (tmp_path / "model.gguf").exists()
            # The last wrong file is kept aside, and no more than that.
            assert len([name for name in files_of(tmp_path) if ".corrupt-" in name]) == 1


async def test_token_is_not_sent_to_another_origin(tmp_path: Path) -> None:
    async with served(Fault(location="other")) as (hub, file):
        file.needs_token = "hf_secret"
        wanted = wanted_of(hub, file, tmp_path, headers={"Authorization": "Bearer hf_secret"})
        await fetch(wanted)
        first, second = hub.asked
        assert first.headers["authorization"] == "Bearer hf_secret"
        assert second.origin == "other"
        assert "authorization" not in second.headers


async def test_nobody_listens_then_one_sentence(tmp_path: Path) -> None:
    async with running_hub() as hub:
        file = hub.add(CONTENT)
        wanted = wanted_of(hub, file, tmp_path)
    with pytest.raises(DownloadError, match="could not be fetched") as caught:
        await fetch(wanted)
    assert caught.value.code == "network"


async def test_connection_is_read_in_large_pieces() -> None:
    # There is no option for it; a library that forgets the constant would cost half the rate.
    async with (
        served(content=CONTENT * 8) as (hub, _),
        new_client(quick()) as client,
        client.stream("GET", hub.url_of()) as response,
    ):
        sizes = [len(chunk) async for chunk in response.aiter_raw()]
    assert max(sizes) > 65_536
