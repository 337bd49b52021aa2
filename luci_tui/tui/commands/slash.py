"""The slash commands: every one with its words, and what it does.

A feature adds a line here; help, list and documentation follow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto

from luci_tui.tui.mode_list import TABS


class Takes(Enum):
    """What stands behind a command."""

    NOTHING = auto()
    TEXT = auto()
    FILE = auto()
    MODEL = auto()
    THEME = auto()
    ATTACHED = auto()
    """The name of an attachment."""


@dataclass(frozen=True)
class SlashCommand:
    """One command."""

    name: str
    help: str
    """One sentence."""
    action: str = ""
    """An action of the chat screen, or of the app with "app." before it; what was typed behind
    the command is its argument, unless the command takes nothing. Empty = a method of
    `CommandDesk` named `do_` and the command."""
    takes: Takes = Takes.NOTHING
    argument: str = ""
    """What is typed behind it, in capitals."""
    is_needed: bool = False
    """Whether it does nothing without its argument."""

    @property
    def usage(self) -> str:
        """How it is typed."""
        shown = self.argument if self.is_needed or not self.argument else f"[{self.argument}]"
        return f"/{self.name} {shown}".rstrip()


SLASH_COMMANDS = (
    SlashCommand(
        "attach",
        "Put a text file, a picture or a sound into the next prompt.",
        takes=Takes.FILE,
        argument="FILE",
        is_needed=True,
    ),
    SlashCommand(
        "detach", "Take files out of the prompt again.", takes=Takes.ATTACHED, argument="NAME"
    ),
    SlashCommand("chats", "Show all chats: open, rename, export, delete.", "chats"),
    SlashCommand(
        "search", "Look for words in all chats.", "chats", takes=Takes.TEXT, argument="WORDS"
    ),
    SlashCommand("new", "Begin a new chat; the old one is kept.", "new_chat"),
    SlashCommand("stop", "Stop the answer, or the command that runs.", "stop"),
    SlashCommand("copy", "Copy the last reply.", "copy_reply"),
    SlashCommand("thinking", "Show or hide the thinking of the last reply.", "thinking"),
    SlashCommand("reload", "Load the model again.", "reload"),
    SlashCommand("edit", "Write the prompt in $EDITOR.", takes=Takes.TEXT, argument="TEXT"),
    SlashCommand(
        "model",
        "Talk to another model, in a new chat.",
        takes=Takes.MODEL,
        argument="NAME",
        is_needed=True,
    ),
    SlashCommand(
        "theme",
        "Look otherwise, until luci is left.",
        takes=Takes.THEME,
        argument="NAME",
        is_needed=True,
    ),
    SlashCommand(
        "luci",
        "Run a command of luci, e.g. /luci llm list.",
        takes=Takes.TEXT,
        argument="COMMAND",
        is_needed=True,
    ),
    *(
        SlashCommand(tab.name, f"Go to {tab.title}.", f"app.mode('{tab.name}')")
        for tab in TABS
        if tab.name != "chat"
    ),
    SlashCommand("help", "Show the keys that work here.", "app.help"),
    SlashCommand("quit", "Leave; answers, jobs and downloads go on.", "app.quit"),
)
BY_NAME = {one.name: one for one in SLASH_COMMANDS}
MAX_WORD = 40
_COMMAND = re.compile(r"/([a-z][a-z-]*)(?:[ \t]+(.*))?", re.DOTALL)


@dataclass(frozen=True)
class SlashLine:
    """A line that is a slash command, known or not."""

    name: str
    argument: str


def parse_slash(text: str) -> SlashLine | None:
    """Read a slash command; None = it is a prompt.

    It is one line that begins with "/" and a word of letters: "/etc/hosts" is none, and neither
    is anything with a space before it.
    """
    line = text.rstrip()
    match = _COMMAND.fullmatch(line)
    if match is None or "\n" in line or len(match[1]) > MAX_WORD:
        return None
    return SlashLine(match[1], (match[2] or "").strip())
