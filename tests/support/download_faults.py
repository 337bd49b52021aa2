"""What a hub does wrong, and how a download of `downloads.CONTENT` must end.

Each case ends in the whole, right file, or in one sentence with nothing under the final name.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.hub import Fault


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

    @property
    def stalls(self) -> bool:
        """Whether it ends only when a silent connection is given up."""
        return any(fault.stall_after >= 0 or fault.delay_s for fault in self.faults)


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
