"""Read all that a GGUF file says about itself, without the weights of its tensors.

The file is not trusted: every length is checked against what is left of the file before it is
used, nothing is allocated from a number in the file, and long arrays are skipped, not kept; where
they lie is noted, so that `luci_tui.gguf.arrays` can read them later.

Source: the GGUF specification, ggml/docs/gguf.md, and ggml/src/gguf.cpp of the pinned llama.cpp.
"""

from __future__ import annotations

import re
import stat
import struct
from dataclasses import dataclass, field
from pathlib import Path

from luci_tui.errors import GgufError
from luci_tui.gguf.quant import TENSOR_TYPES, tensor_bytes
from luci_tui.gguf.reader import Cursor, truncated

MAGIC = b"GGUF"
SUPPORTED_VERSIONS = (2, 3)
MAX_KEY_BYTES = 65_535
MAX_STRING_BYTES = 16 * 1024 * 1024
MAX_ENTRIES = 65_536
"""Most key/value pairs, and most tensors; real files stay far below."""
MAX_KEPT_ARRAY = 1024
"""Longer arrays are skipped; the per-layer ones that matter have one entry per layer."""
MAX_KEPT_STRINGS = 64
"""Longer arrays of strings are skipped; tags, languages and labels are shorter."""
MAX_DIMS = 4

Scalar = int | float | bool | str
Value = Scalar | tuple[Scalar, ...]

_FIXED_TYPES = {
    0: ("u8", struct.Struct("<B")),
    1: ("i8", struct.Struct("<b")),
    2: ("u16", struct.Struct("<H")),
    3: ("i16", struct.Struct("<h")),
    4: ("u32", struct.Struct("<I")),
    5: ("i32", struct.Struct("<i")),
    6: ("f32", struct.Struct("<f")),
    7: ("bool", struct.Struct("<?")),
    10: ("u64", struct.Struct("<Q")),
    11: ("i64", struct.Struct("<q")),
    12: ("f64", struct.Struct("<d")),
}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class ArrayInfo:
    """An array that was skipped, and where it lies."""

    item_type: str
    """As the format calls it: "string", "f32", "i32" and so on."""
    count: int
    offset: int
    """Byte of its first item in the first shard."""


@dataclass(frozen=True)
class TensorInfo:
    """One tensor, as the header describes it."""

    name: str
    shape: tuple[int, ...]
    """As GGUF has it: the first is the length of a row."""
    type_number: int
    offset: int
    """Byte of its first block in its file."""
    size_bytes: int
    shard: int
    """Which of `GgufHeader.shard_paths` it is in."""

    @property
    def n_values(self) -> int:
        """How many weights it has."""
        n_values = 1
        for size in self.shape:
            n_values *= size
        return n_values

    @property
    def type_name(self) -> str:
        """The quant type, such as "Q4_K"; "type 99" for one that is not known here."""
        kind = TENSOR_TYPES.get(self.type_number)
        return f"type {self.type_number}" if kind is None else kind.name


@dataclass(frozen=True)
class GgufHeader:
    """What the headers of one model say; None or 0 = the file does not say."""

    path: Path
    """The file, or the first of its shards."""
    shard_paths: tuple[Path, ...]
    """All files of the model, in order; one for a model that is not split."""
    size_bytes: int
    """Sum over all shards."""
    version: int
    n_tensors: int
    """Sum over all shards."""
    architecture: str
    file_type: int | None
    """llama_ftype: the quant type most tensors have."""
    values: dict[str, Value]
    """All scalar values and all short arrays of the first shard."""
    arrays: dict[str, ArrayInfo] = field(default_factory=dict[str, ArrayInfo])
    """The long arrays of the first shard, which are not in `values`."""
    tensors: tuple[TensorInfo, ...] = ()
    """The tensors of all shards, in the order of the files."""

    def number(self, key: str) -> int:
        """Give `{architecture}.{key}` as an integer, 0 when it is missing or something else."""
        value = self.values.get(f"{self.architecture}.{key}")
        return value if isinstance(value, int) else 0

    def text(self, key: str) -> str:
        """Give the string under a whole key, "" when it is missing or something else."""
        value = self.values.get(key)
        return value if isinstance(value, str) else ""

    def per_layer(self, key: str) -> tuple[int, ...]:
        """Give `{architecture}.{key}` for each layer, whether it is stored once or as an array."""
        value = self.values.get(f"{self.architecture}.{key}")
        if isinstance(value, tuple):
            return tuple(entry for entry in value[: self.n_layers] if isinstance(entry, int))
        return (value,) * self.n_layers if isinstance(value, int) else ()

    def count(self, key: str) -> int:
        """Give the length of the array under a whole key, 0 when there is none."""
        if key in self.arrays:
            return self.arrays[key].count
        value = self.values.get(key)
        return len(value) if isinstance(value, tuple) else 0

    @property
    def n_ctx_train(self) -> int:
        """Tokens of context that the model was trained with."""
        return max(0, self.number("context_length"))

    @property
    def n_layers(self) -> int:
        """Layers of the model, at most as many as an array of one entry each may have."""
        return max(0, min(self.number("block_count"), MAX_KEPT_ARRAY))

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors, without the padding between them."""
        return sum(tensor.size_bytes for tensor in self.tensors)


@dataclass(frozen=True)
class _Contents:
    """One file of a model."""

    version: int
    values: dict[str, Value]
    arrays: dict[str, ArrayInfo]
    tensors: list[TensorInfo]
    size_bytes: int


def read_header(path: Path) -> GgufHeader:
    """Read the header of a model and check that all of its bytes are there.

    For a model in several shards `path` is the first one; the others lie beside it.

    Raises:
        GgufError: the path is no GGUF file that can be loaded; `code` says which way.
    """
    first = _read_file(path, 0)
    shards = _find_shards(path, first.values)
    files = [first, *(_read_file(shard, number + 1) for number, shard in enumerate(shards[1:]))]
    architecture = first.values.get("general.architecture")
    file_type = first.values.get("general.file_type")
    tensors = tuple(tensor for file in files for tensor in file.tensors)
    return GgufHeader(
        path=path,
        shard_paths=shards,
        size_bytes=sum(file.size_bytes for file in files),
        version=first.version,
        n_tensors=len(tensors),
        architecture=architecture if isinstance(architecture, str) else "",
        file_type=file_type if isinstance(file_type, int) else None,
        values=first.values,
        arrays=first.arrays,
        tensors=tensors,
    )


def _read_file(path: Path, shard: int) -> _Contents:
    _check_is_file(path)
    with Cursor(path) as cursor:
        _check_first_bytes(path, cursor.start(512))
        version, n_tensors, values, arrays = _read_values(cursor)
        tensors = _read_tensors(cursor, n_tensors, values, shard)
        return _Contents(version, values, arrays, tensors, cursor.size_bytes)


def _check_is_file(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise GgufError(
            f"There is no file {path} that can be read ({error.strerror}). Check the name and its "
            "permissions, or install the model again.",
            code="missing_file",
        ) from error
    if stat.S_ISDIR(mode):
        raise GgufError(
            f"{path} is a folder{_count_models(path)}, not a model file. "
            "Name one file in it; for a model in shards, the first one.",
            code="is_folder",
        )
    if not stat.S_ISREG(mode):
        # Reading a pipe would wait for ever, and a device may do anything.
        raise GgufError(
            f"{path} is a device, a pipe or a socket, not a model file. Name a .gguf file.",
            code="not_a_file",
        )


def _count_models(folder: Path) -> str:
    try:
        return f" with {sum(1 for _ in folder.glob('*.gguf'))} GGUF files"
    except OSError:
        return ""


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


def _read_values(reader: Cursor) -> tuple[int, int, dict[str, Value], dict[str, ArrayInfo]]:
    reader.skip(len(MAGIC))
    version = reader.u32()
    if version not in SUPPORTED_VERSIONS:
        raise _unsupported_version(reader.path, version)
    n_tensors, n_values = reader.u64(), reader.u64()
    if n_tensors > MAX_ENTRIES or n_values > MAX_ENTRIES:
        raise reader.broken(f"{n_tensors} tensors and {n_values} values")
    values: dict[str, Value] = {}
    arrays: dict[str, ArrayInfo] = {}
    for _ in range(n_values):
        key = reader.text(MAX_KEY_BYTES, "a key")
        value = _read_value(reader)
        if isinstance(value, ArrayInfo):
            arrays[key] = value
        else:
            values[key] = value
    return version, n_tensors, values, arrays


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


def _read_value(reader: Cursor) -> Value | ArrayInfo:
    """Read one value; a long array is stepped over."""
    kind = reader.u32()
    if kind in _FIXED_TYPES:
        return reader.fixed(_FIXED_TYPES[kind][1])
    if kind == _STRING:
        return reader.text(MAX_STRING_BYTES, "a string")
    if kind != _ARRAY:
        raise reader.broken(f"a value of unknown type {kind}")
    item_kind, count = reader.u32(), reader.u64()
    start = reader.offset
    if item_kind == _STRING:
        reader.skip_strings(count)
        if count > MAX_KEPT_STRINGS or reader.offset - start > MAX_KEY_BYTES:
            return ArrayInfo("string", count, start)
        reader.seek(start)
        return tuple(reader.text(MAX_KEY_BYTES, "a string") for _ in range(count))
    if item_kind not in _FIXED_TYPES:
        raise reader.broken(f"an array of unknown type {item_kind}")
    name, item = _FIXED_TYPES[item_kind]
    reader.skip(count * item.size)
    if count > MAX_KEPT_ARRAY:
        return ArrayInfo(name, count, start)
    reader.seek(start)
    return tuple(reader.fixed(item) for _ in range(count))


def _read_tensors(
    reader: Cursor, n_tensors: int, values: dict[str, Value], shard: int
) -> list[TensorInfo]:
    """Read the list of tensors and compare where each ends with the size of the file."""
    found = [_read_tensor(reader) for _ in range(n_tensors)]
    alignment = values.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment <= 0:
        raise reader.broken(f"an alignment of {alignment!r}")
    data_start = -(-reader.offset // alignment) * alignment
    tensors: list[TensorInfo] = []
    for name, shape, type_number, offset in found:
        n_values = 1
        for size in shape:
            n_values *= size
        n_bytes = tensor_bytes(type_number, n_values)
        start = data_start + offset
        if start + n_bytes > reader.size_bytes:
            raise truncated(reader.path, reader.size_bytes, start + n_bytes)
        tensors.append(TensorInfo(name, shape, type_number, start, n_bytes, shard))
    return tensors


def _read_tensor(reader: Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name = reader.text(MAX_KEY_BYTES, "a tensor name")
    n_dims = reader.u32()
    if n_dims > MAX_DIMS:
        raise reader.broken(f"a tensor of {n_dims} dimensions")
    shape = tuple(reader.u64() for _ in range(n_dims))
    return name, shape, reader.u32(), reader.u64()


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
