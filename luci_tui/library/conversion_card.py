"""The model card of a converted model: what it is, where it came from, what was checked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from luci_tui.units import format_bytes, format_parameters
from luci_tui.version import VERSION

if TYPE_CHECKING:
    from luci_tui.library.convert import ConvertResult


def card_text(result: ConvertResult, origin: str, today: str = "") -> str:
    """Write the card as Markdown.

    Args:
        result: The conversion.
        origin: Where the source came from; "" = its folder.
        today: The date, YYYY-MM-DD; "" = ask the clock.
    """
    source = origin or result.source
    rows = [
        ("Converted from", f"`{source}`"),
        ("Converted on", today or time.strftime("%Y-%m-%d")),
        ("Converted by", f"luci {VERSION} with llama.cpp's converter"),
        ("Architecture", result.architecture),
        ("Type of the weights", result.outtype.upper()),
        ("Parameters", f"{result.n_params} ({format_parameters(result.n_params)})"),
        ("Size", f"{result.size_bytes} bytes ({format_bytes(result.size_bytes)})"),
    ]
    name = result.path.rsplit("/", 1)[-1]
    lines = [f"# {name}", "", "| What | Value |", "|---|---|"]
    lines += [f"| {key} | {value} |" for key, value in rows]
    lines += ["", "## Checks", ""]
    lines += [f"- {line}" for line in check_lines(result)]
    lines += ["", "Base model, training data and licence are those of the source.", ""]
    return "\n".join(lines)


def check_lines(result: ConvertResult) -> list[str]:
    """Say what was checked and how it came out, one sentence each."""
    warnings = f"{result.n_warnings} warnings" if result.n_warnings else "no finding"
    lines = [f"The file's structure and every weight were validated: {warnings}."]
    check = result.check
    if check is not None and check.n_strings:
        lines.append(
            f"Tokens: {check.n_strings - check.n_different} of {check.n_strings} strings give the "
            "tokens of the source's tokenizer."
        )
        for one in check.differences:
            lines.append(
                f"Different: {one.text!r} is {list(one.source_tokens)} for the source and "
                f"{list(one.model_tokens)} for the file."
            )
        if check.n_different_specials:
            lines.append(
                f"In {check.n_different_specials} strings only the tokens differ that are put "
                "before or after a text."
            )
    if check is not None and check.predictions is not None:
        found = check.predictions
        agreement = (
            f"the likeliest token agrees at {found.top_agreement:.1%} of the positions"
            if found.what == "logits"
            else f"the least cosine is {found.top_agreement:.6f}"
        )
        lines.append(
            f"Predictions ({found.what}) beside transformers on {found.n_prompts} prompts, "
            f"{found.n_positions} positions: largest difference {found.max_difference:.3g}, mean "
            f"{found.mean_difference:.3g}; {agreement}."
        )
    return [*lines, *result.notes]
