"""The model card of a converted model: what it is, where it came from, what was checked."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from luci_tui.library.card import CardFacts, render_card
from luci_tui.units import format_count, format_parameters
from luci_tui.version import VERSION

if TYPE_CHECKING:
    from luci_tui.library.convert import ConvertResult


def card_text(result: ConvertResult, today: str = "") -> str:
    """Write the card, in the form that `luci share` uploads.

    Args:
        result: The conversion.
        today: The date, YYYY-MM-DD; "" = ask the clock.
    """
    checks = "\n".join(f"- {line}" for line in check_lines(result))
    path = Path(result.path)
    converted = (
        f"Converted from `{result.origin or result.source}` by luci {VERSION} with llama.cpp's "
        f"converter. {result.n_params} parameters ({format_parameters(result.n_params)})."
    )
    facts = CardFacts(
        title=path.stem,
        base_model=result.origin.removeprefix("hf:").partition("@")[0],
        quant=result.outtype.upper(),
        architecture=result.architecture,
        training="none: converted, with the weights of the source",
        date=today or time.strftime("%Y-%m-%d"),
        notes=f"{converted}\n\n## Checks\n\n{checks}",
        files=((path.name, result.size_bytes),),
    )
    return render_card(facts)


def check_lines(result: ConvertResult) -> list[str]:
    """Say what was checked and how it came out, one sentence each."""
    warnings = format_count(result.n_warnings, "warning") if result.n_warnings else "no finding"
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
