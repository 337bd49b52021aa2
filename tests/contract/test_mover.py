"""The mover against a hub that does everything wrong that a hub can do.

Each case ends in the whole, right file, or in one sentence with nothing under the final name.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from luci_tui.download.messages import Moved
from luci_tui.errors import DownloadError
from tests.support.downloads import CONTENT, fetch, files_of, served, wanted_of
from tests.support.hub import Fault, running_hub

MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """Faults of the first answers, and how it must end."""

    name: str
    faults: tuple[Fault, ...]
    code: str = ""
    """Of the error; empty = the file arrives."""
    n_requests: int = 0
    """0 = any number."""
    forever: bool = False
    """The last fault never ends."""
    knows_sha: bool = True
    knows_size: bool = True
    says: str = ""


DROP = Fault(drop_after=300_000)
CASES = [
    Case("nothing wrong", (), n_requests=1),
    Case("nothing wrong, nothing known", (), n_requests=1, knows_sha=False, knows_size=False),
    # The connection.
    Case("dropped before the head", (Fault(drop_before_head=True),), n_requests=2),
    Case("dropped after the head", (Fault(drop_after=0),), n_requests=2),
    Case("dropped in the middle", (DROP,), n_requests=2),
    Case("dropped three times", (Fault(drop_after=150_000),) * 3, n_requests=4),
    Case("reset in the middle", (Fault(drop_after=300_000, reset=True),), n_requests=2),
    Case("dropped one byte before the end", (Fault(drop_after=700_000),), n_requests=2),
    Case("ends early, announced whole", (Fault(short_by=1000),), n_requests=2),
    Case("ends early, unannounced", (Fault(no_length=True, drop_after=1000),), n_requests=2),
    Case("stalls before a byte", (Fault(stall_after=0),), n_requests=2),
    Case("stalls in the middle", (Fault(stall_after=200_000),), n_requests=2),
    Case("gives no answer in time", (Fault(delay_s=1.0),), n_requests=2),
    Case("always dropped at once", (Fault(drop_after=0),), "network", 4, forever=True),
    Case("always stalls at once", (Fault(stall_after=0),), "network", 4, forever=True),
    Case("answers with rubbish", (Fault(garbage=b"\x00\xff not HTTP\r\n\r\n"),), n_requests=2),
    Case("answers as a mail server", (Fault(garbage=b"220 mail ESMTP\r\n\r\n"),), n_requests=2),
    Case("chunked", (Fault(chunked=True),), n_requests=1),
    Case("chunked and dropped", (Fault(chunked=True, drop_after=99_999),), n_requests=2),
    Case(
        "chunked and dropped, nothing known",
        (Fault(chunked=True, drop_after=99_999),),
        knows_sha=False,
        knows_size=False,
    ),
    # Statuses.
    Case("503 once", (Fault(status=503),), n_requests=2),
    Case("500, 502, 504", (Fault(status=500), Fault(status=502), Fault(status=504)), n_requests=4),
    Case("429 with Retry-After", (Fault(status=429, retry_after="0"),), n_requests=2),
    Case("429 with a date", (Fault(status=429, retry_after="Wed, 21 Oct 2015 07:28:00 GMT"),)),
    Case("429 with a broken Retry-After", (Fault(status=429, retry_after="soon"),), n_requests=2),
    Case("408", (Fault(status=408),), n_requests=2),
    Case("503 for ever", (Fault(status=503),), "network", 4, forever=True),
    Case("401", (Fault(status=401),), "unauthorized", 1, says="luci login"),
    Case("401 gated", (Fault(status=401, error_code="GatedRepo"),), "gated", 1, says="accept"),
    Case("403 gated", (Fault(status=403, error_code="GatedRepo"),), "gated", 1),
    Case("403", (Fault(status=403),), "forbidden", 1),
    Case("404", (Fault(status=404, error_code="EntryNotFound"),), "not_found", 1),
    Case("410", (Fault(status=410),), "not_found", 1),
    Case("451", (Fault(status=451),), "forbidden", 1, says="legal"),
    Case("400", (Fault(status=400),), "refused", 1),
    Case(
        "an error that would clear the terminal",
        (Fault(status=403, error_message="no \x9b2Jway"),),
        "forbidden",
        says="no 2Jway",
    ),
    # Content.
    Case("one flipped bit", (Fault(flip_at=345_678),), "checksum", 1, says="kept as"),
    Case("a flipped bit after a drop", (Fault(drop_after=9), Fault(flip_at=700_000)), "checksum"),
    Case("more bytes than promised", (Fault(extra=10),), "size", 1),
    Case("more than promised, unannounced", (Fault(extra=10, no_length=True),), n_requests=2),
    Case("announces too little", (Fault(announce=1000),), "size", 1),
    Case("announces too much", (Fault(announce=900_000),), "size", 1),
    Case("compresses", (Fault(encoding="gzip"),), "encoded", 1),
    Case("a web page", (Fault(content_type="text/html; charset=utf-8"),), "web_page", 1),
    # Ranges, after a first drop.
    Case("ignores Range", (DROP, Fault(ignore_range=True)), n_requests=2),
    Case("answers another part", (DROP, Fault(shift_range=5)), n_requests=3),
    Case("says it is another part", (DROP, Fault(lie_range=5)), n_requests=3),
    Case("no Content-Range", (DROP, Fault(no_content_range=True)), n_requests=3),
    Case("Content-Range of letters", (DROP, Fault(content_range="bytes a-b/c")), n_requests=3),
    Case("endless Content-Range", (DROP, Fault(content_range=f"bytes {'9' * 40}-{'9' * 41}/*"))),
    Case("another size in Content-Range", (DROP, Fault(total=800_000)), "size"),
    Case("a part that lies and has other bytes", (DROP, Fault(shift_range=5, lie_range=-5))),
    Case("416", (DROP, Fault(status=416)), n_requests=3),
    Case("another ETag after a drop", (DROP, Fault(etag='"b"')), n_requests=2),
    Case("a weak ETag", (Fault(drop_after=300_000, etag='W/"a"'),), n_requests=2),
    Case("no ETag", (Fault(drop_after=300_000, etag=""),), n_requests=2),
    Case("an ETag that is a path", (Fault(etag='"../../../etc/passwd"'),), n_requests=1),
    # Redirects.
    Case("redirect to another origin", (Fault(location="other"),), n_requests=2),
    Case("redirect with 307", (Fault(location="other", status=307),), n_requests=2),
    Case("redirect in a circle", (Fault(location="self"),), "redirect", 6, forever=True),
    Case("redirect to a file", (Fault(location="file:///etc/passwd"),), "redirect", 1),
    Case("redirect without a place", (Fault(status=302),), "redirect", 1),
]


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
            moved = await fetch(wanted)
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
        await fetch(wanted_of(hub, file, tmp_path))
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
