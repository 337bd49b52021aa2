"""What may follow a slash command that is being typed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from luci_tui.tui.commands.slash import BY_NAME, SLASH_COMMANDS, SlashCommand, Takes
from luci_tui.tui.widgets.choices import Choice

MAX_CHOICES = 200
"""More are not looked through with arrows."""
MAX_SCANNED = 20_000
"""Names of one folder that are looked at."""


class Completer:
    """Gives the choices for a line; `choices` may block, for it looks into folders.

    Args:
        models: Gives the models that can be talked to.
        themes: Gives the themes of the screen.
    """

    def __init__(
        self, models: Callable[[], Sequence[str]], themes: Callable[[], Sequence[str]]
    ) -> None:
        self._models = models
        self._themes = themes

    def choices(self, text: str, attached: Sequence[str] = ()) -> list[Choice]:
        """Give how a line may go on; nothing where it is no slash command."""
        if not text.startswith("/") or "\n" in text:
            return []
        name, space, argument = text[1:].partition(" ")
        if not space:
            return _names(name)
        command = BY_NAME.get(name)
        if command is None:
            return []
        return self._arguments(command, argument.lstrip(), attached)

    def _arguments(
        self, command: SlashCommand, argument: str, attached: Sequence[str]
    ) -> list[Choice]:
        match command.takes:
            case Takes.FILE:
                return [
                    Choice(f"/{command.name} {path}", path, is_whole=not path.endswith("/"))
                    for path in file_names(argument)
                ]
            case Takes.MODEL:
                return _matching(command, argument, self._models())
            case Takes.THEME:
                return _matching(command, argument, self._themes())
            case Takes.ATTACHED:
                return _matching(command, argument, attached)
            case Takes.TEXT | Takes.NOTHING:
                return []


def _names(begun: str) -> list[Choice]:
    """Commands that begin with the letters, then those that hold them."""
    found = [one for one in SLASH_COMMANDS if one.name.startswith(begun)]
    found += [one for one in SLASH_COMMANDS if begun in one.name and one not in found]
    return [
        Choice(
            f"/{one.name}{' ' if one.argument else ''}",
            one.usage,
            one.help,
            is_whole=not one.is_needed,
        )
        for one in found
    ]


def _matching(command: SlashCommand, begun: str, names: Sequence[str]) -> list[Choice]:
    words = begun.casefold()
    found = sorted(
        (name for name in names if words in name.casefold()),
        key=lambda name: (not name.casefold().startswith(words), name),
    )
    return [Choice(f"/{command.name} {name}", name, is_whole=True) for name in found[:MAX_CHOICES]]


def file_names(begun: str) -> list[str]:
    """Give the files and folders whose path begins with what was typed; folders end in "/"."""
    folder_text, _, start = begun.rpartition("/")
    folder_text = f"{folder_text}/" if "/" in begun else ""
    found: list[str] = []
    with suppress(OSError, RuntimeError, ValueError):  # a folder that cannot be read has no names
        folder = Path(folder_text or ".").expanduser()
        for name, is_folder in _entries(folder, start):
            found.append(f"{folder_text}{name}{'/' if is_folder else ''}")
    return sorted(found, key=lambda path: (path.startswith("."), path.casefold()))[:MAX_CHOICES]


def _entries(folder: Path, start: str) -> Iterator[tuple[str, bool]]:
    with os.scandir(folder) as entries:
        for place, entry in enumerate(entries):
            if place >= MAX_SCANNED:
                return
            # What is hidden is shown to those who ask for it.
            if entry.name.startswith(start) and (start or not entry.name.startswith(".")):
                with suppress(OSError):
                    yield entry.name, entry.is_dir()
