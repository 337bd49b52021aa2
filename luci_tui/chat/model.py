"""What a front end needs to know about the model it talks to, before and after it is loaded."""

from __future__ import annotations

from dataclasses import dataclass, field

from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec


@dataclass(frozen=True)
class ModelSpec:
    """One model as a person chose it: how it is loaded and how it is asked."""

    label: str
    """The name a person sees: "builtin" or the file's name."""
    load: LoadSpec
    sampling: frames.SamplingParams = field(default_factory=frames.SamplingParams)
    system: str = ""
    """System message of every chat; empty = none."""
    answers_with_command: bool = False
    """The answer is one bare shell command: no Markdown, no memory of earlier turns."""
    max_tokens: int = -1
    """-1 = until the model ends or the context is full."""


@dataclass(frozen=True)
class Turn:
    """One message of a chat."""

    role: str
    """"system", "user" or "assistant"."""
    text: str
