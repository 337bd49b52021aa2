"""System: the machine, the models in memory, the host, and who can reach it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from luci_tui.errors import LuciError
from luci_tui.tui.keymap import binding
from luci_tui.tui.modes.system import words
from luci_tui.tui.modes.system.machine import LookAtMachine, look_at_machine
from luci_tui.tui.screens.live import NO_HOST, LiveScreen
from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.rows import Rows

if TYPE_CHECKING:
    from luci_tui.host.api.messages import HostMetrics, ModelStatus
    from luci_tui.host.client import HostClient
    from luci_tui.tui.services import Services

MARGIN = 4
"""Cells at both sides, and a scrollbar."""
EMPTY = "No model is in memory. A prompt in the chat loads one."


class SystemScreen(LiveScreen):
    """How the machine and the host stand.

    Args:
        services: What the app hands to its screens.
        machine: Measures this machine.
    """

    NAME: ClassVar = "system"
    HELP: ClassVar = (
        "How the machine and the host stand, which models are in memory, and who can reach them. "
        "The bars show what is used."
    )
    BINDINGS: ClassVar[list[BindingType]] = [binding("system.unload", "unload")]

    def __init__(self, services: Services, machine: LookAtMachine = look_at_machine) -> None:
        super().__init__(services)
        self._machine = machine
        self._models: dict[str, ModelStatus] = {}
        self._last: HostMetrics | None = None

    def compose_body(self) -> ComposeResult:
        """Lay out the three parts, one above the other."""
        with VerticalScroll(classes="parts", can_focus=False):
            yield Block(id="machine")
            yield Static("Models in memory", classes="heading", markup=False)
            yield Rows(words.COLUMNS)
            yield Block(id="model")
            yield Block(id="host", classes="heading")

    async def look(self, client: HostClient | None) -> None:
        """See `LiveScreen`."""
        figures = await asyncio.to_thread(self._machine)
        self.query_one("#machine", Block).say(words.machine_lines(figures, self._width))
        host = self.query_one("#host", Block)
        if client is None:
            self._models.clear()
            self.list.set_rows([], "")
            host.say("")
            self.set_status(NO_HOST)
            return
        status, metrics = await client.status(), await client.metrics()
        self._models = {model.name: model for model in status.models}
        self.list.set_rows(list(map(words.row_of, status.models)), EMPTY)
        self.show_filter_count()
        self._show_model()
        cpu = self._host_cpu(metrics)
        host.say(words.host_lines(status, metrics, cpu, self._width))
        self.set_status(words.status_of(status))
        self.offer_keys()

    @property
    def _width(self) -> int:
        """Return the cells of a line, between the margins and beside a scrollbar."""
        return self.size.width - MARGIN

    def _host_cpu(self, metrics: HostMetrics) -> float:
        """Give the share of one core since the last look."""
        last, self._last = self._last, metrics
        if last is None or metrics.uptime_s <= last.uptime_s:
            return 0.0
        return (metrics.cpu_s - last.cpu_s) / (metrics.uptime_s - last.uptime_s)

    def _show_model(self) -> None:
        model = self._models.get(self.list.key)
        self.query_one("#model", Block).say(words.model_lines(model) if model else "")

    def on_rows_moved(self) -> None:
        """Say more about another model."""
        self._show_model()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to unload only where there is something to unload."""
        if action != "unload":
            return super().check_action(action, parameters)
        return self.list.key in self._models

    @work(group="act", exit_on_error=False)
    async def action_unload(self) -> None:
        """Take a model out of memory; where it is in use, ask first."""
        model = self._models[self.list.key]
        if model.n_leases:
            question = (
                f"Unload {model.name}? Somebody uses it now, and what it is answering breaks off."
            )
            if not await self.confirmed(question, "Unload"):
                return
        try:
            await (await self.client()).unload_model(model.name, force=bool(model.n_leases))
        except LuciError as error:
            self.tell_failure(error)
        self.poke()
