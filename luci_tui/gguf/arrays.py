"""Read the long arrays of a GGUF file, item by item, so that no array is ever in memory whole."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

from luci_tui.gguf.header import MAX_STRING_BYTES, ArrayInfo, GgufHeader, Scalar
from luci_tui.gguf.reader import Cursor

_ITEMS: Final = {
    "u8": "<B",
    "i8": "<b",
    "u16": "<H",
    "i16": "<h",
    "u32": "<I",
    "i32": "<i",
    "f32": "<f",
    "bool": "<?",
    "u64": "<Q",
    "i64": "<q",
    "f64": "<d",
}


def iterate(header: GgufHeader, info: ArrayInfo) -> Iterator[Scalar]:
    """Give the items of an array in order.

    Raises:
        GgufError: the file has become shorter, or cannot be read any more.
    """
    with Cursor(header.path) as cursor:
        cursor.seek(info.offset)
        if info.item_type == "string":
            for _ in range(info.count):
                yield cursor.text(MAX_STRING_BYTES, "a string")
            return
        item = struct.Struct(_ITEMS[info.item_type])
        for _ in range(info.count):
            yield cursor.fixed(item)


def strings_at(header: GgufHeader, key: str, indexes: Iterable[int]) -> dict[int, str]:
    """Read only some items of an array of strings; indexes beyond its end are left out.

    Raises:
        GgufError: the file has become shorter, or cannot be read any more.
    """
    kept = header.values.get(key)
    if isinstance(kept, tuple):
        return {index: str(kept[index]) for index in indexes if 0 <= index < len(kept)}
    info = header.arrays.get(key)
    if info is None or info.item_type != "string":
        return {}
    found: dict[int, str] = {}
    with Cursor(header.path) as cursor:
        cursor.seek(info.offset)
        position = 0
        for index in sorted(set(indexes)):
            if 0 <= index < info.count:
                cursor.skip_strings(index - position)
                found[index] = cursor.text(MAX_STRING_BYTES, "a string")
                position = index + 1
    return found
