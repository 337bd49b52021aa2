"""What the environment says about the terminal, and secrets that a setting says are there.

paths.py reads the rest of the environment.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class TerminalFacts:
    """What is known about the terminal that this process talks to."""

    is_terminal: bool
    """Both standard input and standard output are terminals."""
    term: str
    """`$TERM`; empty = not set."""
    is_ssh: bool
    """The shell runs at the far end of an SSH connection."""
    is_multiplexed: bool
    """The shell runs inside tmux or screen."""
    has_true_color: bool
    """`$COLORTERM` promises 24-bit colour."""
    no_color: bool
    """`$NO_COLOR` is set and not empty: colours are unwanted. Source: https://no-color.org"""


def terminal_facts() -> TerminalFacts:
    """Read the facts from the environment and the standard streams."""
    env = os.environ
    return TerminalFacts(
        is_terminal=_is_terminal(sys.stdin) and _is_terminal(sys.stdout),
        term=env.get("TERM", ""),
        is_ssh=bool(env.get("SSH_CONNECTION") or env.get("SSH_TTY")),
        is_multiplexed=bool(env.get("TMUX") or env.get("STY")),
        has_true_color=env.get("COLORTERM", "").lower() in {"truecolor", "24bit"},
        no_color=bool(env.get("NO_COLOR")),
    )


def environment_secret(name: str) -> str:
    """Return the secret that a setting says is in the environment variable `name`; "" = not set."""
    return os.environ.get(name, "").strip()


def _is_terminal(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)
    return bool(isatty is not None and isatty())
