"""The first line of the screen, and the words that stand in an empty transcript."""

from __future__ import annotations

from textual.widgets import Static

from luci_tui.chat.sanitize import sanitize

EMPTY_TEXT = """\
Type a request and press Enter. Nothing leaves this machine.
F1 shows the keys, Ctrl-Q quits."""

COMMAND_EXAMPLES = """\


This model turns a request into one shell command. It runs nothing. Try:

  list the files in src
  find all pdf files in Documents
  show the last 20 lines of server.log"""


class StatusLine(Static):
    """What the model does now, how many prompts wait, and which model it is."""

    def __init__(self) -> None:
        super().__init__("luci", id="status", markup=False)
        self._said = ""

    def show(self, words: str, n_waiting: int, about: str) -> None:
        """Replace the line; names out of a file are sanitised here."""
        waiting = f" · {n_waiting} waiting" if n_waiting else ""
        self.say(f"{words}{waiting} · {about}")

    def say(self, words: str) -> None:
        """Replace the line with these words, which are sanitised here."""
        text = sanitize(words)
        if text == self._said:
            return
        self._said = text
        self.set_class(text.startswith("Error:"), "-error")
        # It is one line as wide as the screen, whatever it says.
        self.update(text, layout=False)


class EmptyState(Static):
    """What to do in a chat that has not begun."""

    def __init__(self) -> None:
        super().__init__(EMPTY_TEXT, id="empty", markup=False)

    def show_examples(self, *, are_wanted: bool) -> None:
        """Add what a model for commands can be asked, or take that away for another model."""
        self.update(EMPTY_TEXT + (COMMAND_EXAMPLES if are_wanted else ""))
