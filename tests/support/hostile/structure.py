"""Files that break the format itself: one defect each, with the rule that must find it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

from tests.support import raw_gguf as raw
from tests.support.hostile.case import Case, flagged, rejected
from tests.support.raw_gguf import Entry, RawTensor, good_model


def cases() -> Iterator[Case]:
    """Yield every case of this module."""
    yield from _first_bytes()
    yield from _counts()
    yield from _keys()
    yield from _values()
    yield from _arrays()
    yield from _alignment()
    yield from _names()
    yield from _shapes()
    yield from _layout()
    yield from _cut_off()


def _first_bytes() -> Iterator[Case]:
    good = good_model()
    built = good.build()
    yield rejected("empty", b"", "S01")
    for n_bytes in (4, 8, 16, 23):
        yield rejected(f"only {n_bytes} bytes", built[:n_bytes], "S01")
    for name, magic in {
        "lower-case magic": b"gguf",
        "reversed magic": b"FUGG",
        "old GGML": b"lmgg",
        "old GGJT": b"tjgg",
        "zip": b"PK\x03\x04",
        "zeros": b"\0\0\0\0",
    }.items():
        yield rejected(name, replace(good, magic=magic).build(), "S02")
    yield rejected("web page", b"<!DOCTYPE html><html><body>Sign in</body></html>" * 4, "S02")
    yield rejected("web page after spaces", b"\n\n  <html>not found</html>" * 4, "S02")
    yield rejected(
        "LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "S02"
    )
    yield rejected("safetensors", struct.pack("<Q", 64) + b'{"a":1}' + b" " * 60, "S02")
    for version in (0, 1, 4, 255, 0xFFFFFFFF):
        yield rejected(f"version {version}", replace(good, version=version).build(), "S03")
    for version in (2, 3):
        swapped = struct.unpack("<I", struct.pack(">I", version))[0]
        yield rejected(f"big-endian {version}", replace(good, version=swapped).build(), "S03")


def _counts() -> Iterator[Case]:
    good = good_model()
    for count in (65_537, 2**31, 2**32, 2**61 + 5, 2**63, 2**64 - 1):
        yield rejected(f"{count} values", replace(good, n_values=count).build(), "S04")
        yield rejected(f"{count} tensors", replace(good, n_tensors=count).build(), "S05")
    yield rejected("more values than fit", RawGguf(n_values=50).build() + b"\0" * 20, "S04")
    yield rejected("more tensors than fit", RawGguf(n_tensors=9).build() + b"\0" * 20, "S05")


RawGguf = raw.RawGguf


def _keys() -> Iterator[Case]:
    good = good_model()

    def with_key(key: bytes) -> bytes:
        return replace(good, entries=(*good.entries, Entry(key, raw.U8, b"\1"))).build()

    yield rejected("empty key", with_key(b""), "S06")
    yield rejected("key of 65536 bytes", with_key(b"k" * 65_536), "S06")
    yield rejected("key of 70000 bytes", with_key(b"k" * 70_000), "S06")
    for name, key in {
        "NUL": b"a\0b",
        "escape": b"a\x1b[31m",
        "new line": b"a\nb",
        "bell": b"a\x07",
        "delete": b"a\x7f",
        "no UTF-8": b"a\xff\xfe",
        "overlong UTF-8": b"a\xc0\xaf",
        "surrogate": b"a\xed\xa0\x80",
    }.items():
        yield rejected(f"key with {name}", with_key(key), "S06")
    yield flagged("key in upper case", with_key(b"General.Name"), "S06")
    yield flagged("key with a space", with_key(b"general name"), "S06")
    yield flagged("key with umlaut", with_key("größe".encode()), "S06")
    for key in ("general.architecture", "llama.block_count", "general.alignment"):
        entry = Entry(key.encode(), raw.U32, raw.scalar(raw.U32, 32))
        twice = (*good.entries, entry, entry)
        yield rejected(f"{key} twice", replace(good, entries=twice).build(), "S07")
    huge = struct.pack("<Q", 2**64 - 1) + b"k"
    start = RawGguf(n_values=1, cut=24).build()
    yield rejected("key length 2^64-1", start + huge + b"\0" * 40, "S06")
    yield rejected("key beyond the end", start + struct.pack("<Q", 500) + b"k" * 40, "S21")


def _values() -> Iterator[Case]:
    good = good_model()
    for kind in (13, 14, 100, 2**31, 2**32 - 1):
        yield rejected(f"value type {kind}", good.with_entry("x.y", kind, b"\0" * 8).build(), "S08")
    for value in (2, 7, 128, 255):
        payload = bytes([value])
        yield rejected(f"bool {value}", good.with_entry("x.y", raw.BOOL, payload).build(), "S09")
    yield rejected(
        "array with a bool of 2",
        good.with_entry("x.y", raw.ARRAY, raw.array(raw.BOOL, [0, 1, 2])).build(),
        "S09",
    )
    for length in (2**16, 2**31, 2**32 - 1, 2**62, 2**64 - 1):
        payload = struct.pack("<Q", length) + b"abc"
        last = replace(good, tensors=()).with_entry("x.y", raw.STRING, payload)
        yield rejected(f"string of {length} bytes", last.build(), "S10")
    for name, value in {
        "NUL inside": b"llama\0evil",
        "NUL at its end": b"name\0",
    }.items():
        built = good.with_entry("general.name", raw.STRING, raw.text(value)).build()
        yield rejected(f"string with {name}", built, "S10")
    for name, value in {
        "ANSI colour": b"\x1b[31mred",
        "OSC 52": b"\x1b]52;c;ZXZpbA==\x07",
        "backspaces": b"good\x08\x08\x08\x08evil",
        "no UTF-8": b"\xff\xfe\xfd",
        "half a character": b"abc\xe2\x82",
    }.items():
        built = good.with_entry("general.name", raw.STRING, raw.text(value)).build()
        yield flagged(f"string with {name}", built, "S10")
    big = raw.text(b"x" * (1 << 20) + b"y")
    yield flagged("description of 1 MiB", good.with_entry("x.y", raw.STRING, big).build(), "S10")
    token = raw.array(raw.STRING, ["a" * 65_537])
    yield rejected("item of 65537 bytes", good.with_entry("x.y", raw.ARRAY, token).build(), "S10")


def _arrays() -> Iterator[Case]:
    good = replace(good_model(), tensors=())

    def with_array(kind: int, count: int, payload: bytes = b"") -> bytes:
        packed = struct.pack("<IQ", kind, count) + payload
        return good.with_entry("x.y", raw.ARRAY, packed).build()

    yield rejected("array of arrays", with_array(raw.ARRAY, 1, b"\0" * 16), "S11")
    deep = b"".join(struct.pack("<IQ", raw.ARRAY, 1) for _ in range(20_000))
    yield rejected("arrays nested 20000 deep", with_array(raw.ARRAY, 1, deep), "S11")
    for kind in (13, 99, 2**32 - 1):
        yield rejected(f"array of type {kind}", with_array(kind, 1, b"\0" * 8), "S11")
    for count in (10**8, 2**31, 2**32, 2**61, 2**64 - 1):
        for kind in (raw.U8, raw.F32, raw.U64):
            built = with_array(kind, count, b"\0" * 64)
            yield rejected(f"array of {count} items of type {kind}", built, "S11")
        built = with_array(raw.STRING, count, b"\0" * 64)
        yield rejected(f"array of {count} strings", built, "S11" if count > 4 << 20 else "S21")
    yield rejected(
        "array of 1000 strings, cut off", with_array(raw.STRING, 1000, b"\0" * 80), "S21"
    )
    long_item = struct.pack("<Q", 2**40)
    yield rejected("string in an array beyond the end", with_array(raw.STRING, 1, long_item), "S10")


def _alignment() -> Iterator[Case]:
    good = good_model()

    def aligned(kind: int, value: float) -> bytes:
        return good.with_entry("general.alignment", kind, raw.scalar(kind, value)).build()

    for value in (0, 1, 2, 4, 7, 31, 33, 48, 8192, 2**20, 2**31, 2**32 - 1):
        yield rejected(f"alignment {value}", aligned(raw.U32, value), "S12")
    for kind in (raw.U8, raw.U16, raw.I32, raw.U64, raw.F32):
        yield rejected(f"alignment of type {kind}", aligned(kind, 32), "S12")
    entry = ("general.alignment", raw.STRING, raw.text("32"))
    yield rejected("alignment as text", good.with_entry(*entry).build(), "S12")
    unusual = replace(good, alignment=4096)
    entry = ("general.alignment", raw.U32, raw.scalar(raw.U32, 4096))
    yield flagged("alignment 4096", unusual.with_entry(*entry).build(), "S12")


def _names() -> Iterator[Case]:
    good = good_model()
    old = "output.weight"
    for name, value in {
        "empty": b"",
        "64 bytes": b"n" * 64,
        "70000 bytes": b"n" * 70_000,
        "NUL": b"output\0.weight",
        "escape": b"output\x1b[2J",
        "new line": b"output\nweight",
        "no UTF-8": b"output\xff",
    }.items():
        built = good.with_tensor(old, name=value).build()
        yield rejected(f"tensor name: {name}", built, "S13")
    yield rejected(
        "two equal tensor names", good.with_tensor(old, name=b"output_norm.weight").build(), "S13"
    )
    two = good.plus_tensor(RawTensor(b"a\0b", (8,))).plus_tensor(RawTensor(b"a\0c", (8,)))
    yield rejected("tensor names equal as C strings", two.build(), "S13")


def _shapes() -> Iterator[Case]:
    good = good_model()
    old = "output.weight"
    for n_dims in (0, 5, 8, 255, 2**31, 2**32 - 1):
        built = good.with_tensor(old, n_dims=n_dims).build()
        yield rejected(f"{n_dims} dimensions", built, "S14")
    for dims in ((0,), (32, 0), (32, 2, 0), (0, 0, 0, 0)):
        built = good.with_tensor(old, dims=dims, data=b"").build()
        yield rejected(f"dimensions {dims}", built, "S15")
    for dims in (
        (2**63,),
        (2**64 - 1,),
        (2**32, 2**32),
        (2**31, 2**31, 4),
        (2**16, 2**16, 2**16, 2**16),
        (2**62, 2),
        (2**61, 2, 2),
        (2**62,),
    ):
        built = good.with_tensor(old, dims=dims, data=b"").build()
        yield rejected(f"dimensions {dims}", built, "S16")
    for dims in ((2**40,), (2**30, 2**20), (32, 2**50)):
        built = good.with_tensor(old, dims=dims, data=b"\0" * 64).build()
        yield rejected(f"large dimensions {dims}", built, "S21")
    for kind in (4, 5, 31, 32, 33, 36, 37, 38):
        built = good.with_tensor(old, kind=kind, data=b"\0" * 64).build()
        yield rejected(f"removed tensor type {kind}", built, "S17")
    for kind in (43, 64, 1000, 2**31, 2**32 - 1):
        built = good.with_tensor(old, kind=kind, data=b"\0" * 64).build()
        yield rejected(f"tensor type {kind}", built, "S17")
    for kind, width in (
        (2, 33),
        (2, 31),
        (8, 1),
        (12, 32),
        (12, 255),
        (12, 257),
        (39, 16),
        (42, 32),
    ):
        built = good.with_tensor(old, kind=kind, dims=(width, 4), data=b"\0" * 640).build()
        yield rejected(f"rows of {width} values in type {kind}", built, "S18")


def _layout() -> Iterator[Case]:
    good = good_model()
    old = "output.weight"
    for offset in (1, 7, 31, 33, 2**62 + 1, 2**64 - 1):
        yield rejected(f"offset {offset}", good.with_tensor(old, offset=offset).build(), "S19")
    for offset in (0, 32, 2**40, 2**63, 2**64 - 32):
        yield rejected(
            f"misplaced at {offset}", good.with_tensor(old, offset=offset).build(), "S20"
        )
    first, second, *rest = good.tensors
    swapped = (replace(second, offset=0), replace(first, offset=0), *rest)
    yield rejected("two tensors at one place", replace(good, tensors=swapped).build(), "S20")
    gap = good.with_tensor(old, offset=1 << 20)
    yield rejected("a gap before the last tensor", gap.build(), "S20")
    yield flagged("hidden data at the end", replace(good, tail=b"secret" * 100).build(), "S22")
    yield flagged("a second file at the end", replace(good, tail=good.build()).build(), "S22")
    yield flagged(
        "one tensor not listed", replace(good, n_tensors=len(good.tensors) - 1).build(), "S22"
    )
    for value in (b"\xff", b"A"):
        yield flagged(f"padding of {value!r}", replace(good, padding=value).build(), "S23")


def _cut_off() -> Iterator[Case]:
    built = good_model().build()
    size = len(built)
    for missing in (1, 31, 32, 33, 1000, 40_000):
        yield rejected(f"cut off by {missing} bytes", built[: size - missing - 31], "S21")
    for kept in (25, 60, 100, 200):
        yield rejected(f"cut off after {kept} bytes", built[:kept], "S04")
    for kept in (900, 2000, 6000):
        yield rejected(f"cut off after {kept} bytes", built[:kept], "")
    yield rejected("half-written: zeros from the middle", built[: size // 2] + b"\0" * 16, "S21")
