"""Which prompts are commands of luci, typed as in a shell: `llm list`, `install phi-4`, `help`.

A prompt that merely begins with such a word belongs to the model. A command is

1. one line, without a space before it and without anything attached,
2. whose first words are a command of GRAMMAR, in small letters, and
3. whose other words are what that command takes, and no more of them: "install phi-4" is one
   where phi-4 is a model that is known, "install nginx" and "help me with this" are prompts.

`luci` before it, or `/luci `, makes any command one, whatever its words are. Options may stand
anywhere. The whole of the rule is here, in docs/screen.md and in tests/unit/test_plain_commands.py.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

MAX_LINE = 400
"""A longer line is no command."""


class Word(Enum):
    """What a word of a command has to be."""

    MODEL = auto()
    """A name of the library or the catalogue, or a file that is there."""
    SOURCE = auto()
    """The same, or an address at the hub: hf:OWNER/REPO, OWNER/REPO, https://…."""
    FILE = auto()
    """A file that is there."""
    NUMBER = auto()
    CHAT = auto()
    """An id of a chat, or its beginning."""
    TOPIC = auto()
    """A command, or a page of `luci help`."""
    SETTING = auto()
    """SECTION.NAME."""
    ANY = auto()


@dataclass(frozen=True)
class Grammar:
    """What stands behind a command."""

    words: tuple[Word, ...] = ()
    """One for each; all may be left away but the first `n_needed`."""
    n_needed: int = 0
    has_more: bool = False
    """The last of them may be repeated."""
    fixed: frozenset[str] = frozenset()
    """Words that may stand in place of any of them."""


SECTIONS = frozenset(("host", "downloads", "cost", "serve", "screen", "keys", "library"))
"""Of the settings."""

_NOTHING = Grammar()
_MODEL = Grammar((Word.MODEL,), n_needed=1)
_ID = Grammar((Word.NUMBER,), n_needed=1)
_IDS = Grammar((Word.NUMBER,), has_more=True)
_CHAT = Grammar((Word.CHAT,), n_needed=1)
_MODELS_OR_TIER = Grammar(
    (Word.MODEL,), n_needed=1, has_more=True, fixed=frozenset(("all", "tier", *"0123"))
)

GRAMMAR: dict[tuple[str, ...], Grammar] = {
    ("help",): Grammar((Word.TOPIC,)),
    ("llm", "list"): Grammar(fixed=frozenset(("all",))),
    ("llm", "info"): _MODEL,
    ("llm", "enable"): _MODELS_OR_TIER,
    ("llm", "disable"): _MODELS_OR_TIER,
    ("llm", "set"): _MODEL,
    ("models", "info"): _NOTHING,
    ("custom", "model", "info"): _NOTHING,
    ("install",): Grammar((Word.SOURCE,), n_needed=1, has_more=True),
    ("uninstall",): _MODEL,
    ("load",): _MODEL,
    ("unload",): _MODEL,
    ("fit",): _MODEL,
    ("ps",): _NOTHING,
    ("disk",): _NOTHING,
    ("devices",): _NOTHING,
    ("doctor",): _NOTHING,
    ("whoami",): _NOTHING,
    ("inspect",): Grammar((Word.FILE,), n_needed=1),
    ("validate",): Grammar((Word.FILE,), n_needed=1, has_more=True),
    ("catalog", "list"): _NOTHING,
    ("catalog", "tiers"): _NOTHING,
    ("catalog", "info"): _MODEL,
    ("catalog", "check"): Grammar((Word.MODEL,), has_more=True),
    ("downloads", "list"): _NOTHING,
    ("downloads", "pause"): _IDS,
    ("downloads", "resume"): _IDS,
    ("downloads", "cancel"): Grammar((Word.NUMBER,), n_needed=1, has_more=True),
    ("downloads", "forget"): Grammar(
        (Word.NUMBER,), n_needed=1, has_more=True, fixed=frozenset(("ended",))
    ),
    ("downloads", "limit"): Grammar((Word.ANY,), n_needed=1),
    ("jobs", "list"): _NOTHING,
    ("jobs", "show"): _ID,
    ("jobs", "attach"): _ID,
    ("jobs", "cancel"): _ID,
    ("jobs", "resume"): _ID,
    ("host", "status"): _NOTHING,
    ("host", "start"): _NOTHING,
    ("host", "stop"): _NOTHING,
    ("host", "restart"): _NOTHING,
    ("host", "logs"): _NOTHING,
    ("chat", "list"): _NOTHING,
    ("chat", "show"): _CHAT,
    ("chat", "delete"): Grammar((Word.CHAT,), n_needed=1, has_more=True),
    ("presets", "list"): _NOTHING,
    ("presets", "show"): Grammar((Word.ANY,), n_needed=1),
    ("backup", "models"): Grammar((Word.ANY,)),
    ("config", "show"): Grammar(fixed=SECTIONS),
    ("config", "get"): Grammar((Word.SETTING,), n_needed=1),
    ("config", "set"): Grammar((Word.SETTING, Word.ANY), n_needed=2),
    ("config", "unset"): Grammar((Word.SETTING,), n_needed=1),
    ("config", "validate"): Grammar((Word.FILE,)),
    ("config", "path"): _NOTHING,
}
GROUPS = frozenset(words[0] for words in GRAMMAR if len(words) > 1)
"""Words that are followed by another one; alone they show their help."""
ONLY_WITH_LUCI = frozenset(
    (
        *("ask", "run", "embed", "search", "convert", "quantize", "imatrix", "compare", "share"),
        *("serve", "bench", "login", "logout", "web"),
    )
)
"""Commands whose words may be anything, so that prompts cannot be told from them."""
COMMANDS = frozenset(words[0] for words in GRAMMAR) | ONLY_WITH_LUCI
PAGES = frozenset(
    ("custom-models", "model-tiers", "model-development", "models", "catalogue", "commands")
)
"""Topics of `luci help` that are no commands."""

_NEEDS_TERMINAL = {
    ("login",): "`luci login` asks for a secret, which has no place in a chat.",
    ("config", "edit"): "`luci config edit` opens an editor.",
}
_SOURCE = re.compile(r"(hf:)?[\w.-]+/[\w.-]+([/:@]\S*)?|https?://\S+")
_CHAT_ID = re.compile(r"[a-z0-9_-]*[0-9][a-z0-9_-]*|[a-hjkmnp-z2-9]{10}")
_SETTING = re.compile(r'[a-z_]+\.[a-z0-9_".]+')

IsModel = Callable[[str], bool]
"""Tells whether a word is the name of a model; may block."""


def plain_command(text: str, is_model: IsModel) -> tuple[str, ...] | None:
    """Read a command of luci; None = the text is a prompt for the model.

    Args:
        text: What was typed.
        is_model: Asked last, for it may look through folders.
    """
    words = split(text)
    if not words:
        return None
    if words[0] == "luci":
        return tuple(words[1:]) if len(words) > 1 and words[1] in COMMANDS else None
    if len(words) == 1 and words[0] in GROUPS:
        return (words[0], "--help")
    for length in (3, 2, 1):
        grammar = GRAMMAR.get(tuple(words[:length]))
        if grammar is not None and len(words) >= length:
            return tuple(words) if _fits(words[length:], grammar, is_model) else None
    return None


def split(text: str) -> list[str]:
    """Split a line as a shell does; empty = it is no line that could be a command."""
    line = text.rstrip()
    if not line or "\n" in line or len(line) > MAX_LINE or line[0].isspace():
        return []
    if line.split(None, 1)[0] not in COMMANDS | {"luci"}:
        return []
    try:
        return shlex.split(line)
    except ValueError:  # a quotation mark that is not closed, as in "don't"
        return []


def why_not_here(words: tuple[str, ...]) -> str:
    """Say why a command cannot run without a terminal, in one sentence; empty = it can."""
    for command, reason in _NEEDS_TERMINAL.items():
        if words[: len(command)] == command:
            return f"{reason} Use another terminal for it."
    if words[:1] == ("chat",) and "--inline" in words:
        return "`luci chat --inline` needs a terminal of its own. This is a chat already."
    return ""


def _fits(words: list[str], grammar: Grammar, is_model: IsModel) -> bool:
    """Tell whether words are what a command takes."""
    given: list[str] = []
    n_spare = 0
    for place, word in enumerate(words):
        if word.startswith("-"):
            # The word behind "--tier" may be its value, or already something else.
            n_spare += "=" not in word
        elif not (place and words[place - 1].startswith("-") and "=" not in words[place - 1]):
            given.append(word)
    if any(word in ("-h", "--help") for word in words):
        return not given
    n_most = len(given) if grammar.has_more else len(grammar.words) + bool(grammar.fixed)
    if not grammar.n_needed <= len(given) + n_spare or len(given) > n_most:
        return False
    kinds = grammar.words or ((Word.ANY,) if not grammar.fixed else ())
    for place, word in enumerate(given):
        if word in grammar.fixed:
            continue
        if not kinds or not _is(word, kinds[min(place, len(kinds) - 1)], is_model):
            return False
    return True


def _is(word: str, kind: Word, is_model: IsModel) -> bool:
    match kind:
        case Word.ANY:
            return True
        case Word.NUMBER:
            return word.isascii() and word.isdigit()
        case Word.CHAT:
            return _CHAT_ID.fullmatch(word) is not None
        case Word.TOPIC:
            return word in COMMANDS or word in GROUPS or word in PAGES
        case Word.SETTING:
            return _SETTING.fullmatch(word) is not None
        case Word.FILE:
            return _is_file(word)
        case Word.MODEL:
            return is_model(word) or _is_file(word)
        case Word.SOURCE:
            return _SOURCE.fullmatch(word) is not None or is_model(word) or _is_file(word)


def _is_file(word: str) -> bool:
    try:
        return Path(word).expanduser().is_file()
    except (OSError, RuntimeError, ValueError):
        return False
