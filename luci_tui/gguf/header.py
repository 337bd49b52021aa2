"""Read the few facts of a GGUF file that decide whether it can be loaded, without its tensors.

The file is not trusted: every length is checked against what is left of the file before it is
used, nothing is allocated from a number in the file, and long arrays are skipped, not kept.

Source: the GGUF specification, ggml/docs/gguf.md, and ggml/src/gguf.cpp of the pinned llama.cpp.
"""

from __future__ import annotations

import mmap
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from luci_tui.errors import GgufError
from luci_tui.gguf.quant import tensor_bytes

MAGIC = b"GGUF"
SUPPORTED_VERSIONS = (2, 3)
MAX_KEY_BYTES = 65_535
MAX_STRING_BYTES = 16 * 1024 * 1024
MAX_ENTRIES = 65_536
"""Most key/value pairs, and most tensors; real files stay far below."""
MAX_KEPT_ARRAY = 1024
"""Longer arrays are skipped; the per-layer ones that matter have one entry per layer."""
MAX_DIMS = 4

Value = int | float | bool | str | tuple[int | float | bool, ...]

_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")
_FIXED_TYPES = {
    0: struct.Struct("<B"),
    1: struct.Struct("<b"),
    2: struct.Struct("<H"),
    3: struct.Struct("<h"),
    4: struct.Struct("<I"),
    5: struct.Struct("<i"),
    6: struct.Struct("<f"),
    7: struct.Struct("<?"),
    10: struct.Struct("<Q"),
    11: struct.Struct("<q"),
    12: struct.Struct("<d"),
}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class GgufHeader:
    """What the header of one model says; None or 0 = the file does not say."""

    path: Path
    """The file, or the first of its shards."""
    shard_paths: tuple[Path, ...]
    """All files of the model, in order; one for a model that is not split."""
    size_bytes: int
    """Sum over all shards."""
    version: int
    n_tensors: int
    architecture: str
    file_type: int | None
    """llama_ftype: the quant type most tensors have."""
    values: dict[str, Value]
    """All scalar values and all short numeric arrays of the file."""

    def number(self, key: str) -> int:
        """Give `{architecture}.{key}` as an integer, 0 when it is missing or something else."""
        value = self.values.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) else 0

    def per_layer(self, key: str) -> tuple[int, ...]:
        """Give `{architecture}.{key}` for each layer, whether it is stored once or as an array."""
        value = self.values.get(f"{self.architecture}.{key}")
        n_layers = self.number("block_count")
        if isinstance(value, tuple):
            return tuple(int(entry) for entry in value[:n_layers])
        return (value,) * n_layers if isinstance(value, int) else ()

    @property
    def n_ctx_train(self) -> int:
        """Tokens of context that the model was trained with."""
        return self.number("context_length")


def read_header(path: Path) -> GgufHeader:
    """Read the header of a model and check that all of its bytes are there.

    For a model in several shards `path` is the first one; the others lie beside it.

    Raises:
        GgufError: the path is no GGUF file that can be loaded; `code` says which way.
    """
    _check_is_file(path)
    with path.open("rb") as file:
        size_bytes = path.stat().st_size
        _check_first_bytes(path, file.read(512))
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
            reader = _Reader(path, view, size_bytes)
            version, n_tensors, values = _read_values(reader)
            _check_tensors(reader, n_tensors, values)
    shards = _find_shards(path, values)
    architecture = values.get("general.architecture")
    file_type = values.get("general.file_type")
    return GgufHeader(
        path=path,
        shard_paths=shards,
        size_bytes=sum(shard.stat().st_size for shard in shards),
        version=version,
        n_tensors=n_tensors,
        architecture=architecture if isinstance(architecture, str) else "",
        file_type=file_type if isinstance(file_type, int) else None,
        values=values,
    )


class _Reader:
    """A cursor over the file that never leaves it."""

    def __init__(self, path: Path, view: mmap.mmap, size_bytes: int) -> None:
        self.path = path
        self.offset = 0
        self._view = view
        self.size_bytes = size_bytes

    def skip(self, n_bytes: int) -> int:
        start = self.offset
        if n_bytes > self.size_bytes - start:
            raise _truncated(self.path, self.size_bytes, start + n_bytes)
        self.offset = start + n_bytes
        return start

    def fixed(self, kind: struct.Struct) -> int | float | bool:
        return kind.unpack_from(self._view, self.skip(kind.size))[0]

    def u32(self) -> int:
        return int(self.fixed(_U32))

    def u64(self) -> int:
        return int(self.fixed(_U64))

    def text(self, limit_bytes: int, what: str) -> str:
        length = self.u64()
        if length > limit_bytes:
            raise self.broken(f"{what} of {length} bytes")
        start = self.skip(length)
        return self._view[start : start + length].decode("utf-8", errors="replace")

    def skip_strings(self, count: int) -> None:
        """Step over an array of strings; a vocabulary has hundreds of thousands of them."""
        unpack_length, view, size_bytes = _U64.unpack_from, self._view, self.size_bytes
        offset = self.offset
        for _ in range(count):
            if offset + 8 > size_bytes:
                raise _truncated(self.path, size_bytes, offset + 8)
            offset += 8 + unpack_length(view, offset)[0]
        if offset > size_bytes:
            raise _truncated(self.path, size_bytes, offset)
        self.offset = offset

    def broken(self, what: str) -> GgufError:
        return GgufError(
            f"{self.path} is damaged: its header has {what}, near byte {self.offset}. "
            "Download the file again.",
            code="malformed_header",
        )


def _check_is_file(path: Path) -> None:
    if path.is_dir():
        n_models = sum(1 for _ in path.glob("*.gguf"))
        raise GgufError(
            f"{path} is a folder with {n_models} GGUF files, not a model file. "
            "Name one file in it; for a model in shards, the first one.",
            code="is_folder",
        )
    if not path.is_file():
        raise GgufError(
            f"There is no file {path}. Check the name, or install the model again.",
            code="missing_file",
        )


def _check_first_bytes(path: Path, start: bytes) -> None:
    if not start:
        raise GgufError(f"{path} is empty (0 bytes). Download it again.", code="empty_file")
    if start.startswith(MAGIC):
        return
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        raise GgufError(
            f"{path} is a web page (HTML), not a GGUF file: the server sent a page, perhaps a "
            "login or an error, in place of the model. Download it again.",
            code="html_file",
        )
    if text.startswith(b"version https://git-lfs"):
        raise GgufError(
            f"{path} is a Git LFS pointer of {path.stat().st_size} bytes, not the model itself. "
            "Run `git lfs pull` where it came from, or download the file.",
            code="lfs_pointer",
        )
    raise GgufError(
        f"{path} is not a GGUF file: it starts with {start[:4]!r} where {MAGIC!r} is expected. "
        "Choose a .gguf file, or convert this one first.",
        code="wrong_magic",
    )


def _read_values(reader: _Reader) -> tuple[int, int, dict[str, Value]]:
    reader.skip(len(MAGIC))
    version = reader.u32()
    if version not in SUPPORTED_VERSIONS:
        raise _unsupported_version(reader.path, version)
    n_tensors, n_values = reader.u64(), reader.u64()
    if n_tensors > MAX_ENTRIES or n_values > MAX_ENTRIES:
        raise reader.broken(f"{n_tensors} tensors and {n_values} values")
    values: dict[str, Value] = {}
    for _ in range(n_values):
        key = reader.text(MAX_KEY_BYTES, "a key")
        value = _read_value(reader)
        if value is not None:
            values[key] = value
    return version, n_tensors, values


def _unsupported_version(path: Path, version: int) -> GgufError:
    swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
    if swapped in SUPPORTED_VERSIONS:
        return GgufError(
            f"{path} is a big-endian GGUF file, which this machine cannot use. "
            "Download the little-endian one.",
            code="big_endian",
        )
    return GgufError(
        f"{path} is GGUF version {version}; versions 2 and 3 are supported. "
        "Download a newer conversion of the model.",
        code="unsupported_version",
    )


def _read_value(reader: _Reader) -> Value | None:
    """Read one value; None = an array that is not worth keeping."""
    kind = reader.u32()
    if kind in _FIXED_TYPES:
        return reader.fixed(_FIXED_TYPES[kind])
    if kind == _STRING:
        return reader.text(MAX_STRING_BYTES, "a string")
    if kind != _ARRAY:
        raise reader.broken(f"a value of unknown type {kind}")
    item_kind, count = reader.u32(), reader.u64()
    if item_kind == _STRING:
        reader.skip_strings(count)
        return None
    if item_kind not in _FIXED_TYPES:
        raise reader.broken(f"an array of unknown type {item_kind}")
    item = _FIXED_TYPES[item_kind]
    if count > MAX_KEPT_ARRAY:
        reader.skip(count * item.size)
        return None
    return tuple(reader.fixed(item) for _ in range(count))


def _check_tensors(reader: _Reader, n_tensors: int, values: dict[str, Value]) -> None:
    """Compare where the last tensor ends with the size of the file."""
    data_bytes = 0
    for _ in range(n_tensors):
        reader.text(MAX_KEY_BYTES, "a tensor name")
        n_dims = reader.u32()
        if n_dims > MAX_DIMS:
            raise reader.broken(f"a tensor of {n_dims} dimensions")
        n_values = 1
        for _ in range(n_dims):
            n_values *= reader.u64()
        n_bytes = tensor_bytes(reader.u32(), n_values)
        data_bytes = max(data_bytes, reader.u64() + n_bytes)
    alignment = values.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0:
        raise reader.broken(f"an alignment of {alignment!r}")
    needed_bytes = -(-reader.offset // alignment) * alignment + data_bytes
    if n_tensors and needed_bytes > reader.size_bytes:
        raise _truncated(reader.path, reader.size_bytes, needed_bytes)


def _truncated(path: Path, size_bytes: int, needed_bytes: int) -> GgufError:
    return GgufError(
        f"{path} is cut off: it has {size_bytes} bytes and needs at least {needed_bytes}. "
        "Resume the download or fetch the file again.",
        code="truncated",
    )


def _find_shards(path: Path, values: dict[str, Value]) -> tuple[Path, ...]:
    """List all files of a split model. Source: llama_split_path in src/llama.cpp."""
    count = values.get("split.count", 0)
    if not isinstance(count, int) or count <= 1:
        return (path,)
    match = re.fullmatch(r"(.*)-(\d{5})-of-(\d{5})\.gguf", path.name)
    if match is None or int(match[3]) != count or int(match[2]) != 1:
        raise GgufError(
            f"{path} belongs to a model in {count} shards but is not named as the first of them. "
            f"Open the file that ends in -00001-of-{count:05}.gguf.",
            code="not_first_shard",
        )
    shards = tuple(
        path.with_name(f"{match[1]}-{number:05}-of-{count:05}.gguf")
        for number in range(1, count + 1)
    )
    missing = [shard for shard in shards if not shard.is_file()]
    if missing:
        raise GgufError(
            f"{path} needs {count} shards and {len(missing)} of them are missing, the first is "
            f"{missing[0].name}. Download them into the same folder.",
            code="missing_shard",
        )
    return shards
