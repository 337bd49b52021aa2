"""The page with the keys."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

HELP_TEXT = """\
Keys

  Enter            send the prompt; it waits while an answer runs
  Ctrl-J           new line (also Alt-Enter)
  Up, Down         earlier prompts, from the first and last line
  Esc              stop the answer; what came so far stays
  PageUp, PageDown scroll the transcript; at its end it follows the answer
  Ctrl-T           show or hide the thinking of the last reply
  Ctrl-O           copy the last reply
  Ctrl-N           new chat: the model forgets what was said
  Ctrl-R           load the model again
  Ctrl-C           copy the selected text (select with the mouse)
  Ctrl-Q           quit

Under each reply stand the context that is in use, the speed of the answer
and the time to the first token (TTFT).

Esc closes this page."""


class HelpScreen(ModalScreen[None]):
    """Keys and what they do."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "escape,f1,q,enter",
            "dismiss",
            "Close",
            id="help.close",
            tooltip="Go back to the chat.",
            key_display="esc",
        ),
    ]

    def compose(self) -> ComposeResult:
        """Show the text in a box that scrolls where the terminal is small."""
        with VerticalScroll(id="help"):
            yield Static(HELP_TEXT, markup=False)
