"""Parts of a reply that more than one endpoint writes."""

from __future__ import annotations

import secrets
import time

from luci_tui.engine import frames
from luci_tui.version import VERSION

FINGERPRINT = f"luci-{VERSION}"


def head(kind: str, prefix: str, model: str) -> dict[str, object]:
    """Return what every reply, and every chunk of it, begins with."""
    return {
        "id": f"{prefix}-{secrets.token_hex(12)}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": FINGERPRINT,
    }


def usage(ended: list[frames.Done], n_choices: int) -> dict[str, object]:
    """Return the tokens of one request.

    Args:
        ended: The ends of all answers, `n_choices` for each prompt.
        n_choices: Each prompt is counted once.
    """
    prompts = ended[::n_choices]
    prompt_tokens = sum(done.usage.prompt_tokens for done in prompts)
    completion_tokens = sum(done.usage.completion_tokens for done in ended)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {
            "cached_tokens": sum(done.usage.cached_tokens for done in prompts)
        },
    }


def logprob_item(one: frames.TokenLogprob, n_top: int) -> dict[str, object]:
    """Return one token with its rivals, as chat completions write it."""
    return {
        "token": one.text,
        "logprob": one.logprob,
        "bytes": list(one.text.encode()),
        "top_logprobs": [
            {"token": text, "logprob": logprob, "bytes": list(text.encode())}
            for _, text, logprob in one.top[:n_top]
        ],
    }
