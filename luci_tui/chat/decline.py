"""Tell the built-in model's one refusal from a command."""

from __future__ import annotations

DECLINE_START = "I can't do that yet."
"""How the fixed sentence begins. Source: `decline_sentence` of training/builtin/intents.yaml."""


def is_decline(answer: str) -> bool:
    """Tell whether an answer of a model for commands says that it has no command."""
    return answer.lstrip().startswith(DECLINE_START)
