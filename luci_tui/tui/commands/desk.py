"""Does what slash commands and commands of luci ask for, on behalf of the chat screen."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, cast

from luci_tui.errors import LuciError
from luci_tui.tui.commands.child import Output, run_command
from luci_tui.tui.commands.plain import COMMANDS, why_not_here
from luci_tui.tui.commands.slash import BY_NAME, SlashCommand, SlashLine, Takes
from luci_tui.tui.messages import ModelWanted
from luci_tui.tui.widgets.command_output import ENDED_BY_YOU, CommandOutput
from luci_tui.tui.widgets.prompt_box import PromptBox
from luci_tui.tui.widgets.text import one_line

if TYPE_CHECKING:
    from textual.app import App
    from textual.screen import Screen
    from textual.widget import Widget
    from textual.worker import Worker

MARGIN_COLUMNS = 4
"""Of the transcript, beside the output of a command."""
LEAST_COLUMNS = 40
"""Tables are not made narrower."""


class Transcript(Protocol):
    """Where the output of a command goes."""

    async def add_to_transcript(self, widget: Widget) -> None:
        """Put something at the end of the transcript."""
        ...


class CommandDesk:
    """The commands of one chat screen.

    Args:
        screen: Whose actions are meant, and who owns the workers.
        transcript: Usually the same.
    """

    def __init__(self, screen: Screen[None], transcript: Transcript) -> None:
        self._screen = screen
        self._transcript = transcript
        self._running: Worker[None] | None = None
        self.methods: dict[str, Callable[[str], Awaitable[None]]] = {
            "attach": self.do_attach,
            "detach": self.do_detach,
            "edit": self.do_edit,
            "model": self.do_model,
            "theme": self.do_theme,
            "luci": self.do_luci,
        }
        """By the names of slash commands that are no action of the screen."""

    @property
    def _box(self) -> PromptBox:
        return self._screen.query_one(PromptBox)

    async def do(self, message: PromptBox.CommandAsked) -> None:
        """Do a command, or say why not and leave it in the line."""
        command = message.command
        if isinstance(command, tuple):
            if not self._run(command):
                self._box.restore(message.draft)
            return
        problem = await self._slash(command)
        if problem:
            self._tell(problem)
            self._box.restore(message.draft)

    def stop(self) -> bool:
        """End the command that runs; False = none does."""
        if self._running is None or self._running.is_finished:
            return False
        self._running.cancel()
        return True

    def _tell(self, sentence: str) -> None:
        self._screen.notify(one_line(sentence), severity="warning", markup=False)

    # ---- slash commands

    async def _slash(self, line: SlashLine) -> str:
        """Do one; gives why it was not done, empty = it was."""
        command = BY_NAME.get(line.name)
        if command is None:
            return (
                f"There is no command /{line.name}. / lists them; with a space before it, it is "
                "sent as text."
            )
        if command.is_needed and not line.argument:
            return f"{command.usage}: {command.argument} is missing."
        if command.takes is Takes.NOTHING and line.argument:
            return (
                f"/{command.name} takes nothing behind it. With a space before it, it is sent as "
                "text."
            )
        try:
            await self._do_slash(command, line.argument)
        except LuciError as error:
            return error.message
        return ""

    async def _do_slash(self, command: SlashCommand, argument: str) -> None:
        if command.name in self.methods:
            await self.methods[command.name](argument)
            return
        action = command.action
        if argument:
            # Textual reads parameters as Python literals.
            action = f"{action}({argument!r})"
        run_action = self._screen.app.run_action  # pyright: ignore[reportUnknownMemberType]
        if not await run_action(action, self._screen):
            self._tell(f"/{command.name} has nothing to do now.")

    async def do_attach(self, argument: str) -> None:
        """Put a file into the next prompt."""
        await self._box.attach_file(argument.strip("'\""))

    async def do_detach(self, argument: str) -> None:
        """Take files out of the next prompt."""
        attached = self._box.attachments
        kept = [one for one in attached if argument and one.name != argument]
        if len(kept) == len(attached):
            self._tell("Nothing of that name is attached." if attached else "Nothing is attached.")
        self._box.attach(kept)

    async def do_edit(self, argument: str) -> None:
        """Write the prompt in an editor."""
        self._box.edit(argument)

    async def do_model(self, argument: str) -> None:
        """Talk to another model."""
        self._screen.post_message(ModelWanted(argument))

    async def do_theme(self, argument: str) -> None:
        """Look otherwise."""
        # Textual leaves the app's result type open.
        app = cast("App[int]", self._screen.app)  # pyright: ignore[reportUnknownMemberType]
        if argument not in app.available_themes:
            self._tell(f'There is no theme "{argument}". Ctrl-P lists them.')
            return
        app.theme = argument

    async def do_luci(self, argument: str) -> None:
        """Run a command of luci, whatever its words are."""
        import shlex

        try:
            words = tuple(shlex.split(argument))
        except ValueError:
            self._tell("A quotation mark is not closed.")
            return
        if words[0] == "luci":
            words = words[1:]
        if not words or words[0] not in COMMANDS:
            self._tell(f"luci has no command {argument.split()[0]!r}. `help` lists them.")
            return
        self._run(words)

    # ---- commands of luci

    def _run(self, words: tuple[str, ...]) -> bool:
        """Run a command in a process; False = it was not begun, and a sentence says why."""
        if reason := why_not_here(words):
            self._tell(reason)
            return False
        if self._running is not None and not self._running.is_finished:
            self._tell("A command runs already. Esc ends it.")
            return False
        self._running = self._screen.run_worker(
            self._follow(words), name="command", group="command", exit_on_error=False
        )
        return True

    async def _follow(self, words: tuple[str, ...]) -> None:
        """Run a command and show what it says."""
        output = Output()
        shown = CommandOutput(words)
        await self._transcript.add_to_transcript(shown)
        n_columns = max(LEAST_COLUMNS, self._screen.size.width - MARGIN_COLUMNS)
        try:
            code = await run_command(
                words, n_columns, output, lambda: shown.show(output.lines, output.n_left_out)
            )
        except OSError as error:
            shown.fail(f"The command cannot be started ({error.strerror}). Try again.")
            return
        except asyncio.CancelledError:
            if shown.is_attached:
                shown.show(output.lines, output.n_left_out)
                shown.finish(ENDED_BY_YOU)
            raise
        shown.show(output.lines, output.n_left_out)
        shown.finish(code)
