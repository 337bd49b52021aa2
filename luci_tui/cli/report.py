"""Tables on the weights of a model: statistics of a tensor, and what quantization cost."""

from __future__ import annotations

from luci_tui.engine.job_frames import CompareResult, TensorError, TensorStatsResult
from luci_tui.gguf.visible import visible
from luci_tui.units import format_bytes, format_count


def stats_lines(stats: TensorStatsResult) -> list[str]:
    """Give what is known about one tensor's values."""
    shape = " x ".join(str(size) for size in stats.shape)
    first = ", ".join(_number(value) for value in stats.first)
    return [
        f"tensor         {visible(stats.name)}",
        f"shape          {shape} ({stats.n_values:,} values)",
        f"type           {stats.type_name}, {format_bytes(stats.size_bytes)}",
        f"minimum        {_number(stats.minimum)}",
        f"maximum        {_number(stats.maximum)}",
        f"mean           {_number(stats.mean)}",
        f"std            {_number(stats.std)}",
        f"rms            {_number(stats.rms)}",
        f"zeros          {stats.share_zeros:.2%}",
        f"NaN, infinite  {stats.n_nan}, {stats.n_inf}",
        f"first values   {first}",
    ]


def comparison_lines(compared: CompareResult) -> list[str]:
    """Give one line per tensor, all values together last."""
    rows = [*compared.tensors, compared.whole]
    width = max(len(visible(row.name)) for row in rows)
    head = (
        f"{'tensor':<{width}} {'from':<6} {'to':<7} {'RMSE':>9} {'relative':>8} {'cosine':>8} "
        f"{'largest':>9}"
    )
    lines = [head, *(_comparison_line(row, width) for row in rows)]
    if compared.skipped:
        names = ", ".join(visible(name, 60) for name in compared.skipped[:5])
        n_skipped = format_count(len(compared.skipped), "tensor")
        lines.append(f"not compared: {n_skipped} that only one file has in this shape ({names})")
    return lines


def _comparison_line(row: TensorError, width: int) -> str:
    relative = "NaN" if row.relative_rmse is None else f"{row.relative_rmse:.4%}"
    cosine = "NaN" if row.cosine is None else f"{row.cosine:.6f}"
    return (
        f"{visible(row.name):<{width}} {row.source_type:<6} {row.type_name:<7} "
        f"{_number(row.rmse, 4):>9} {relative:>8} {cosine:>8} {_number(row.largest_error, 4):>9}"
    )


def _number(value: float | None, n_digits: int = 5) -> str:
    return "NaN" if value is None else f"{value:.{n_digits}g}"
