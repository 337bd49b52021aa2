"""What `luci fit` prints."""

from __future__ import annotations

import textwrap

from luci_tui.library.fit import Fit, KvRow, QuantSize
from luci_tui.units import format_bytes, format_parameters

_WIDTH = 11
_COLUMNS = 80


def fit_lines(found: Fit) -> list[str]:
    """Give what a model needs, what fits, and what to take, each with its source."""
    places = ", ".join(f"{format_bytes(free)} {name}" for name, free in found.room.places().items())
    where = found.path or "not on this machine: all of this is an estimate"
    lines = [
        _line("model", f"{found.name} ({where})"),
        _line("parameters", format_parameters(found.n_params)),
        _line(
            "weights",
            f"{format_bytes(found.weights_bytes)}, {found.bits_per_weight:.2f} bits per weight",
        ),
        _line("", f"from {found.sources['weights']}"),
        _line("free", f"{places} (now, from the system and llama.cpp's back ends)"),
        "",
    ]
    lines += _rows(found)
    if found.measured is not None:
        one = found.measured
        lines.append(
            _line(
                "measured",
                f"{format_bytes(one.rss_bytes)} with {one.n_ctx} tokens ({one.source}, {one.when})",
            )
        )
    else:
        lines.append(_line("measured", "not yet: nobody has used it in the host"))
    return lines + _quants(found)


def _rows(found: Fit) -> list[str]:
    lines = [_line("context", f"{found.n_ctx} tokens, of {found.n_ctx_train or '?'} in training")]
    places = list(found.room.places())
    largest = "".join(f"{'fits in ' + place:>16}" for place in places)
    lines.append(f"{'KV type':>12} {'KV cache':>10} {'compute':>10} {'needed':>10}{largest}")
    lines += [_row(row, places) for row in found.rows]
    lines += _paragraph("", f"KV cache: {found.sources['kv']}")
    lines += _paragraph("", f"compute: {found.sources['compute']}")
    return lines


def _row(row: KvRow, places: list[str]) -> str:
    contexts = (row.largest_n_ctx[place] for place in places)
    largest = "".join(f"{f'{n_ctx} tokens' if n_ctx else 'nothing':>16}" for n_ctx in contexts)
    return (
        f"{row.kv_type:>12} {format_bytes(row.kv_bytes):>10} {format_bytes(row.compute_bytes):>10} "
        f"{format_bytes(row.needed_bytes):>10}{largest}"
    )


def _quants(found: Fit) -> list[str]:
    lines = ["", _line("quant types", "what each would make of it, in bits per weight:")]
    lines += [_quant(one) for one in found.quants]
    lines.append("")
    for one in found.advice:
        lines += _paragraph(one.purpose, one.sentence)
    rule = "contexts and least types are luci's rule of thumb (docs/MODEL_TIERS.md)"
    return lines + _paragraph("", rule)


def _quant(one: QuantSize) -> str:
    return (
        f"{one.type:>12} {format_bytes(one.weights_bytes):>10} {one.bits_per_weight:>6.2f}  "
        f"{one.source}"
    )


def _paragraph(label: str, text: str) -> list[str]:
    """Set sentences in lines that fit a terminal of 80 columns."""
    first, *others = textwrap.wrap(text, _COLUMNS - _WIDTH - 2, break_on_hyphens=False)
    return [_line(label, first), *(_line("", one) for one in others)]


def _line(label: str, value: str) -> str:
    return f"{label:<{_WIDTH}}  {value}"
