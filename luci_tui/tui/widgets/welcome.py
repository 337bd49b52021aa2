"""The first thing that a person sees: what this machine is, what fits it, what to try."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Static

from luci_tui.tui.keymap import binding
from luci_tui.tui.messages import InstallWanted
from luci_tui.tui.widgets.block import Block

if TYPE_CHECKING:
    from luci_tui.tui.first_look import FirstLook

LookAround = Callable[[], Awaitable["FirstLook"]]

HEADING = "Welcome to luci."
LOOKING = f"{HEADING} Looking at this machine …"
BUILTIN = """
The built-in model turns a request into one shell command, and runs nothing.
Try: list the files in src
"""
END = """
Nothing is fetched before you say so, and nothing you type leaves this machine.
F1 shows the keys, Ctrl-Q quits."""


class SuggestionLine(Static, can_focus=True):
    """A model that can be installed from here.

    Args:
        name: Of the catalogue.
        words: What is known about it.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        binding("welcome.install", "install"),
        binding("welcome.up", "move(-1)"),
        binding("welcome.down", "move(1)"),
    ]

    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"  {words}", classes="suggestion", markup=False)
        self._model = name
        self._words = words

    def watch_has_focus(self, has_focus: bool) -> None:
        """Mark it as lists mark the row with the cursor."""
        super().watch_has_focus(has_focus)
        self.update(f"{'>' if has_focus else ' '} {self._words}")

    def action_install(self) -> None:
        """Ask for it."""
        self.post_message(InstallWanted(self._model))

    def action_move(self, step: int) -> None:
        """Go to the suggestion above or below."""
        if step > 0:
            self.screen.focus_next(SuggestionLine)
        else:
            self.screen.focus_previous(SuggestionLine)

    def on_click(self) -> None:
        """Ask for it."""
        self.action_install()


class Welcome(Vertical):
    """The welcome.

    Args:
        look_around: Looks at the machine and its models.
    """

    def __init__(self, look_around: LookAround) -> None:
        super().__init__()
        self._look_around = look_around
        self._machine = Block(id="welcome-machine")
        self._lead = Block(id="welcome-lead")
        self._list = Vertical(id="welcome-list")

    def compose(self) -> ComposeResult:
        """Lay out what is known at once."""
        yield self._machine
        yield Static(BUILTIN, markup=False)
        yield self._lead
        yield self._list
        yield Static(END, markup=False)

    def on_mount(self) -> None:
        """Begin to look."""
        if not self._list.is_attached:
            return  # the first answer began meanwhile and takes the welcome away
        self._machine.say(LOOKING)
        self._look()

    @work(exclusive=True, group="look around", exit_on_error=False)
    async def _look(self) -> None:
        look = await self._look_around()
        from luci_tui.tui.first_look import lead_words, machine_words, suggestion_words

        self._machine.say(f"{HEADING} {machine_words(look)}")
        self._lead.say(lead_words(look))
        lines = [SuggestionLine(one.entry.name, suggestion_words(one)) for one in look.suggestions]
        if self._list.is_attached:
            await self._list.mount_all(lines)
