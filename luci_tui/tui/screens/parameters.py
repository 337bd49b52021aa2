"""Parameters beside a chat, or on a page of their own where there is no room."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import TYPE_CHECKING, ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen
from textual.worker import Worker, WorkerState

from luci_tui.errors import LuciError
from luci_tui.tui.chat_settings import ChatSettings, Where
from luci_tui.tui.keymap import binding
from luci_tui.tui.screens.ask import AskScreen
from luci_tui.tui.screens.palette import Command, PaletteScreen
from luci_tui.tui.screens.steady import Steady
from luci_tui.tui.screens.write import WriteScreen
from luci_tui.tui.widgets.key_footer import KeyFooter
from luci_tui.tui.widgets.parameters import ParameterPanel
from luci_tui.tui.widgets.text import one_line

if TYPE_CHECKING:
    from luci_tui.chat.parameters import Value
    from luci_tui.chat.presets import Preset

log = logging.getLogger(__name__)

SIDE_COLUMNS = 100
"""Columns from which on they stand beside the chat."""


class ParameterDesk(Vertical):
    """The panel, and what its keys do.

    Args:
        settings: Of the chat that is shown.
    """

    class Told(Message):
        """Something changed that belongs into the transcript."""

        def __init__(self, sentence: str) -> None:
            super().__init__()
            self.sentence = sentence

    class Left(Message):
        """The person goes back to the chat."""

    def __init__(self, settings: ChatSettings, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._settings = settings
        self._panel = ParameterPanel()

    def compose(self) -> ComposeResult:
        """Lay out the panel."""
        yield self._panel

    def on_mount(self) -> None:
        """Ask for the values."""
        self.reload()

    def reload(self, settings: ChatSettings | None = None) -> None:
        """Ask for the values again, of another chat where one is given."""
        self._settings = settings or self._settings
        self._read()

    @work(exclusive=True, group="read", exit_on_error=False)
    async def _read(self) -> None:
        await self._show()

    async def _show(self) -> None:
        try:
            found = await self._settings.read()
        except LuciError as error:
            self._panel.show_failure(error.message)
            return
        self._panel.show(found.model, found.values)

    def on_parameter_panel_asked(self, message: ParameterPanel.Asked) -> None:
        """Do what a key asks for."""
        message.stop()
        value = self._panel.value_of(message.name)
        match message.action:
            case "leave":
                self.post_message(self.Left())
            case "presets":
                self._choose_preset()
            case "reset" if value is not None:
                self._reset(message.name)
            case "edit" | "model" if value is not None:
                self._edit(value, Where.MODEL if message.action == "model" else Where.CHAT)
            case _:
                pass

    @work(exclusive=True, group="change", exit_on_error=False)
    async def _edit(self, value: Value, where: Where) -> None:
        what = value.parameter
        if where is Where.MODEL and not what.is_of_model:
            self.notify(f"{what.name} is kept for a chat alone. Enter sets it.", markup=False)
            return
        whom = "this chat" if where is Where.CHAT else "every chat with this model"
        if what.type_words == "text":
            words = await self._written(f"{what.name} for {whom}:", str(value.value or ""))
        else:
            question = f"{what.name} for {whom}: {what.type_words}. {what.meaning}"
            words = await self._asked(question, value) or None
        if words is None:
            return
        try:
            if words:
                await self._settings.set(where, what.name, words)
            else:
                self.notify(await self._settings.reset(what.name), markup=False)
        except LuciError as error:
            self._tell_failure(error)
        await self._show()

    @work(exclusive=True, group="change", exit_on_error=False)
    async def _reset(self, name: str) -> None:
        try:
            self.notify(await self._settings.reset(name), markup=False)
        except LuciError as error:
            self._tell_failure(error)
        await self._show()

    @work(exclusive=True, group="change", exit_on_error=False)
    async def _choose_preset(self) -> None:
        from luci_tui.chat.presets import read_presets

        found = await asyncio.to_thread(read_presets)
        for problem in found.problems:
            self.notify(one_line(problem), severity="warning", markup=False)
        commands = [
            Command(name, one_line(one.words), "own" if one.is_own else "", one_line(one.about))
            for name, one in found.presets.items()
        ]
        asked = PaletteScreen(commands, "Which preset?")
        # Textual leaves the app's result type open.
        name = await self.app.push_screen_wait(asked)  # pyright: ignore[reportUnknownMemberType]
        if name:
            await self._use(found.presets[name])

    async def _use(self, preset: Preset) -> None:
        from luci_tui.chat.parameters import value_words

        try:
            await self._settings.use(preset)
        except LuciError as error:
            self._tell_failure(error)
            return
        given = [f"{name} {value_words(one)}" for name, one in preset.sampling.items()]
        if preset.system:
            given.insert(0, "its system prompt")
        self.post_message(self.Told(f"Preset {preset.words} for this chat: {', '.join(given)}."))
        await self._show()

    async def _asked(self, question: str, value: Value) -> str:
        from luci_tui.chat.parameters import read_words, value_words

        start = "" if value.value is None else value_words(value.value)
        asked = AskScreen(question, start, check=partial(read_words, value.parameter.name))
        return await self.app.push_screen_wait(asked)  # pyright: ignore[reportUnknownMemberType]

    async def _written(self, question: str, start: str) -> str | None:
        asked = WriteScreen(question, start)
        return await self.app.push_screen_wait(asked)  # pyright: ignore[reportUnknownMemberType]

    def _tell_failure(self, error: LuciError) -> None:
        self.notify(one_line(f"Error: {error.message}"), severity="error", markup=False)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Tell of a fault in this program, and write where it is to the log."""
        if event.state is not WorkerState.ERROR:
            return
        # Textual leaves the worker's result type open.
        worker = cast("Worker[object]", event.worker)  # pyright: ignore[reportUnknownMemberType]
        log.error("screen worker %s failed", worker.name, exc_info=worker.error)
        self._panel.show_failure(f"something in luci itself failed: {worker.error!r}.")


class ParameterPage(Steady, Screen[list[str]]):
    """The same on a page of its own; gives the sentences that belong into the transcript."""

    NAME: ClassVar = "parameters"
    HELP: ClassVar = (
        "How the model of this chat is asked, and who says so. What is set for the chat counts "
        "before what is set for the model."
    )
    BINDINGS: ClassVar[list[BindingType]] = [binding("parameters.close", "leave")]

    def __init__(self, settings: ChatSettings) -> None:
        super().__init__()
        self._desk = ParameterDesk(settings)
        self._told: list[str] = []

    def compose(self) -> ComposeResult:
        """Lay out desk and footer."""
        yield self._desk
        yield KeyFooter()

    def on_mount(self) -> None:
        """Put the focus on the list."""
        self._desk.query_one(ParameterPanel).focus()

    def on_parameter_desk_told(self, message: ParameterDesk.Told) -> None:
        """Keep it for the transcript, and say it here."""
        self._told.append(message.sentence)
        self.notify(message.sentence, markup=False)

    def on_parameter_desk_left(self) -> None:
        """Go back."""
        self.action_leave()

    def action_leave(self) -> None:
        """Go back to the chat."""
        self.dismiss(self._told)
