"""What `luci inspect` prints: lines for people, plain values for JSON."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice

from luci_tui.errors import ConfigError
from luci_tui.gguf.arrays import iterate
from luci_tui.gguf.describe import TEMPLATE_KEY, Description, Template, Tokenizer
from luci_tui.gguf.estimate import MemoryEstimate
from luci_tui.gguf.header import ArrayInfo, GgufHeader, Scalar, Value
from luci_tui.gguf.layers import has_indexer
from luci_tui.gguf.memory_table import MemoryRow
from luci_tui.gguf.visible import visible
from luci_tui.units import format_bytes, format_count, format_parameters

N_SHOWN_ITEMS = 8
"""Items of a long array that --metadata shows."""
MAX_SHOWN_CHARS = 120
_WIDTH = 14


def summary_lines(
    header: GgufHeader,
    description: Description,
    rows: tuple[MemoryRow, ...],
    *,
    is_exact: bool = False,
) -> list[str]:
    """Give what a person wants to know first."""
    facts = [
        ("file", visible(str(header.path))),
        ("kind", description.kind.value),
        ("name", visible(description.name, MAX_SHOWN_CHARS) or "(none)"),
        ("architecture", visible(description.architecture, MAX_SHOWN_CHARS) or "(none)"),
        ("parameters", _parameters(description)),
        ("size", _size(description)),
        *_quantization(description),
        ("context", _context(description)),
        ("license", visible(description.license, MAX_SHOWN_CHARS) or "(not given)"),
        ("tokenizer", _tokenizer(description.tokenizer)),
        ("special tokens", _special_tokens(description.tokenizer)),
        ("template", _template(description.template)),
    ]
    lines = [f"{label:<{_WIDTH}} {value}" for label, value in facts if value]
    return lines + _memory_lines(header, rows, is_exact=is_exact)


def summary_json(
    header: GgufHeader, description: Description, rows: tuple[MemoryRow, ...]
) -> dict[str, object]:
    """Give the same as plain values."""
    memory = [_memory_json(row) for row in rows]
    shards = [str(path) for path in header.shard_paths]
    return {"path": str(header.path), **asdict(description), "shards": shards, "memory": memory}


def _memory_json(row: MemoryRow) -> dict[str, object]:
    sums = {"needed_bytes": row.memory.needed_bytes, "total_bytes": row.memory.total_bytes}
    return {"n_ctx": row.n_ctx, "kv_type": row.kv_type, **asdict(row.memory), **sums}


def _parameters(found: Description) -> str:
    if not found.n_params:
        return "none"
    words = f"{format_parameters(found.n_params)} ({found.n_params:,})"
    if found.n_params_active < found.n_params:
        words += (
            f", {format_parameters(found.n_params_active)} active: "
            f"{found.n_experts_used} of {found.n_experts} experts"
        )
    return words


def _size(found: Description) -> str:
    shards = f" in {found.n_shards} files" if found.n_shards > 1 else ""
    n_tensors = format_count(found.n_tensors, "tensor")
    return f"{format_bytes(found.size_bytes)}{shards}, {n_tensors}, GGUF version {found.version}"


def _quantization(found: Description) -> list[tuple[str, str]]:
    """Give a line of its own to each type: a mixture does not fit into one."""
    if not found.mix:
        return []
    name = f"{found.quantization}, " if found.quantization else ""
    lines = [("quantization", f"{name}{found.bits_per_weight:.2f} bits per weight; by bytes:")]
    for one in found.mix:
        n_tensors = format_count(one.n_tensors, "tensor")
        lines.append(("", f"{one.type_name:<8} {one.share:>6.1%} {n_tensors:>12}"))
    return lines


def _context(found: Description) -> str:
    return f"{found.n_ctx_train} tokens in training" if found.n_ctx_train else ""


def _tokenizer(found: Tokenizer) -> str:
    if not found.model and not found.n_tokens:
        return "none"
    model = visible(found.model, MAX_SHOWN_CHARS) or "unnamed"
    pre = f", pre {visible(found.pre, MAX_SHOWN_CHARS)}" if found.pre else ""
    merges = f", {found.n_merges} merges" if found.n_merges else ""
    return f"{model}{pre}, {found.n_tokens} tokens{merges}"


def _special_tokens(found: Tokenizer) -> str:
    tokens = [
        f"{visible(one.role, 20)} {one.token} {visible(one.text, 40)}".rstrip()
        for one in found.special
    ]
    if found.adds_bos is not None:
        tokens.append("bos is added" if found.adds_bos else "bos is not added")
    return ", ".join(tokens)


def _template(found: Template | None) -> str:
    if found is None:
        return "none"
    known = {
        "system": found.mentions_system,
        "tools": found.mentions_tools,
        "thinking": found.mentions_thinking,
    }
    handled = [word for word, is_there in known.items() if is_there]
    words = f"{found.n_chars} characters, handles {', '.join(handled) or 'plain turns only'}"
    if found.names:
        words += f"; also {', '.join(visible(name, 40) for name in found.names)}"
    return words


def _memory_lines(header: GgufHeader, rows: tuple[MemoryRow, ...], *, is_exact: bool) -> list[str]:
    if not rows:
        return []
    weights = rows[0].memory
    source = "as llama.cpp would allocate it" if is_exact else "estimated, one slot"
    if has_indexer(header) and not is_exact:
        source = "a rough estimate for one slot (sparse attention needs more, see --exact)"
    lines = [f"{'memory':<{_WIDTH}} {_weights(weights)}; {source}:"]
    lines.append(f"{'n_ctx':>10} {'KV type':>8} {'KV cache':>10} {'compute':>10} {'needed':>10}")
    for row in rows:
        memory = row.memory
        compute = format_bytes(memory.compute_bytes + memory.output_bytes)
        lines.append(
            f"{row.n_ctx or 'default':>10} {row.kv_type:>8} {format_bytes(memory.kv_bytes):>10} "
            f"{compute:>10} {format_bytes(memory.needed_bytes):>10}"
        )
    if weights.droppable_bytes:
        lines.append(
            f"{'':<{_WIDTH}} Besides, up to {format_bytes(weights.droppable_bytes)} of the file "
            "stay in memory until the room is needed."
        )
    return lines


def _weights(memory: MemoryEstimate) -> str:
    if not memory.repacked_bytes:
        return f"{format_bytes(memory.weights_bytes)} of weights"
    return (
        f"{format_bytes(memory.weights_bytes + memory.repacked_bytes)} of weights, "
        f"{format_bytes(memory.repacked_bytes)} of it rearranged for this CPU"
    )


def metadata_lines(header: GgufHeader) -> list[str]:
    """Give one line per key, with the start of a long value."""
    lines = [f"{visible(key)} = {_shown_value(value)}" for key, value in header.values.items()]
    for key, info in header.arrays.items():
        start = ", ".join(
            _shown_value(item) for item in islice(iterate(header, info), N_SHOWN_ITEMS)
        )
        lines.append(f"{visible(key)} = [{info.count} x {info.item_type}: {start}, ...]")
    return sorted(lines)


def _shown_value(value: Value) -> str:
    if isinstance(value, str):
        return f'"{visible(value, MAX_SHOWN_CHARS)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        start = ", ".join(_shown_value(item) for item in value[:N_SHOWN_ITEMS])
        more = ", ..." if len(value) > N_SHOWN_ITEMS else ""
        return f"[{len(value)}: {start}{more}]"
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def metadata_json(header: GgufHeader) -> dict[str, object]:
    """Give every key; a long array as its type, its count and its first items."""
    found: dict[str, object] = {key: _plain(value) for key, value in header.values.items()}
    for key, info in header.arrays.items():
        first = [_plain(item) for item in islice(iterate(header, info), N_SHOWN_ITEMS)]
        found[key] = {"item_type": info.item_type, "count": info.count, "first": first}
    return found


def _plain(value: Value) -> object:
    """Give what JSON can hold: it has no NaN and no infinity."""
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def print_value(header: GgufHeader, key: str, *, as_json: bool) -> None:
    """Print the value of one key whole, item by item.

    Raises:
        ConfigError: the file has no such key.
    """
    items = _items(header, key)
    write = sys.stdout.write
    if not as_json:
        for item in items:
            write(visible(item, keep_lines=True) if isinstance(item, str) else _shown_value(item))
            write("\n")
        return
    value = header.values.get(key)
    if value is not None and not isinstance(value, tuple):
        write(json.dumps(_plain(value)) + "\n")
        return
    separator = "["
    for item in items:
        write(f"{separator}{json.dumps(_plain(item))}")
        separator = ", "
    write("]\n" if separator != "[" else "[]\n")


def _items(header: GgufHeader, key: str) -> Iterator[Scalar]:
    info = header.arrays.get(key)
    if isinstance(info, ArrayInfo):
        return iterate(header, info)
    value = header.values.get(key)
    if value is None:
        raise ConfigError(
            f"{header.path.name} has no key {key}. --metadata lists what there is.",
            code="no_such_key",
        )
    return iter(value if isinstance(value, tuple) else (value,))


def tensor_lines(header: GgufHeader) -> list[str]:
    """Give one line per tensor."""
    width = max((len(visible(tensor.name)) for tensor in header.tensors), default=0)
    return [
        f"{visible(tensor.name):<{width}} {tensor.type_name:<8} "
        f"{'x'.join(str(size) for size in tensor.shape):<20} {tensor.size_bytes:>12} bytes"
        f" at {tensor.offset}" + (f" in file {tensor.shard + 1}" if tensor.shard else "")
        for tensor in header.tensors
    ]


def tensors_json(header: GgufHeader) -> list[dict[str, object]]:
    """Give every tensor as plain values."""
    return [
        {
            "name": tensor.name,
            "shape": list(tensor.shape),
            "type": tensor.type_name,
            "offset": tensor.offset,
            "size_bytes": tensor.size_bytes,
            "shard": tensor.shard,
        }
        for tensor in header.tensors
    ]


def template_lines(header: GgufHeader) -> list[str]:
    """Give the chat template with its own lines, or one line that there is none."""
    source = header.text(TEMPLATE_KEY)
    if not source:
        return ["(the file has no chat template)"]
    return visible(source, keep_lines=True).split("\n")


def template_json(header: GgufHeader) -> str | None:
    """Give the chat template as it stands in the file."""
    return header.text(TEMPLATE_KEY) or None
