"""Which modes there are, and how each is made when it is first opened."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from luci_tui.tui.widgets.modebar import Tab

if TYPE_CHECKING:
    from typing import Literal

    from textual.screen import Screen

    from luci_tui.tui.services import Services

    ModeName = Literal["models", "downloads", "jobs", "bench", "system", "settings", "logs"]

CHAT = Tab("chat", "Chat", 1)
TABS = (
    CHAT,
    Tab("models", "Models", 2),
    Tab("downloads", "Downloads", 3),
    Tab("jobs", "Jobs", 4),
    Tab("bench", "Bench", 5),
    Tab("system", "System", 6),
    Tab("settings", "Settings", 7),
    Tab("logs", "Logs", 8),
)
"""The modes that work; the numbers of those that are missing stay free."""

OPENED_LATER: tuple[ModeName, ...] = (
    "models",
    "downloads",
    "jobs",
    "bench",
    "system",
    "settings",
    "logs",
)


def make_mode(name: ModeName, services: Services) -> Screen[None]:
    """Import a mode and make its screen."""
    match name:
        case "models":
            from luci_tui.tui.modes.models.screen import ModelsScreen

            return ModelsScreen(services)
        case "downloads":
            from luci_tui.tui.modes.downloads.screen import DownloadsScreen

            return DownloadsScreen(services)
        case "jobs":
            from luci_tui.tui.modes.jobs.screen import JobsScreen

            return JobsScreen(services)
        case "bench":
            from luci_tui.tui.modes.bench.screen import BenchScreen

            return BenchScreen(services)
        case "system":
            from luci_tui.tui.modes.system.screen import SystemScreen

            return SystemScreen(services)
        case "settings":
            from luci_tui.tui.modes.settings.screen import SettingsScreen

            return SettingsScreen(services)
        case "logs":
            from luci_tui.tui.modes.logs.screen import LogsScreen

            return LogsScreen(services)
        case _:
            assert_never(name)
