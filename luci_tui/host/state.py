"""Everything that a running host consists of, as its routes see it."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from luci_tui.host.api.messages import (
    ChatGone,
    Hello,
    HostMetrics,
    HostStatus,
    JobChanged,
    LibraryChanged,
    SettingsInUse,
)
from luci_tui.host.events import EventLog
from luci_tui.host.idle import Activity
from luci_tui.settings import Settings
from luci_tui.version import HOST_PROTOCOL, VERSION

if TYPE_CHECKING:
    from luci_tui.host.api.chats import Chats
    from luci_tui.host.downloads import Downloads
    from luci_tui.host.engines import Engines, ModelSource
    from luci_tui.host.jobs import Jobs
    from luci_tui.host.library_watch import LibraryWatch
    from luci_tui.host.model_parameters import ModelParameterDesk
    from luci_tui.host.run_files import RunFiles
    from luci_tui.host.serving import Serve
from luci_tui.host.turns import Turns

MAX_HOST_EVENTS = 4096


@dataclass
class HostState:
    """The parts of a host; made by wiring.py, used by the routes, closed by server.py."""

    files: RunFiles
    settings: Settings
    activity: Activity
    events: EventLog
    """What changes in the host as a whole; who reads it is an attached front end."""
    jobs: Jobs
    downloads: Downloads
    turns: Turns
    models: ModelSource
    engines: Engines
    serve: Serve
    """The HTTP API on a port, if a front end asked for it."""
    chats: Chats | None
    """None = a host for engines and jobs alone."""
    idle_exit_s: float
    """0 = never."""
    profile: str = ""
    """Of the settings; empty = none."""
    library: LibraryWatch | None = None
    """None = the folders of custom models are not watched."""
    parameters: ModelParameterDesk | None = None
    """How models are asked; None = this host cannot say."""
    engine: str = ""
    """Kind of its engines, see wiring.EngineKind; empty = another one."""
    notices: list[str] = field(default_factory=list[str])
    """Sentences for a person, such as a database that was set aside."""
    started_at: float = field(default_factory=time.time)
    is_leaving: bool = False
    stop_asked: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by whoever asks the host to leave; server.py acts on it."""
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when somebody asks once more: what still runs gets no more time."""
    drain_s: float | None = None
    """Time for what runs, as that one wanted it; None = as the settings say."""

    def __post_init__(self) -> None:
        """Let jobs, downloads, turns and calls keep the host."""
        self._started_s = time.monotonic()
        self.activity.add_keeper(self._keepers)

    def _keepers(self) -> list[str]:
        lines = [f"job {job.id} ({job.title})" for job in self.jobs.running]
        lines += self.downloads.keepers()
        lines += [f"an answer in chat {turn.chat_id}" for turn in self.turns.running()]
        return lines + self.serve.keepers()

    def ask_to_stop(self, drain_s: float | None = None) -> None:
        """Let the host leave; the first who asks sets the time, a second one ends the drain."""
        if self.stop_asked.is_set():
            self.hurry.set()
            return
        self.drain_s = drain_s
        self.is_leaving = True
        self.stop_asked.set()

    def hello(self) -> Hello:
        """Say who this is."""
        busy = self.activity.busy()
        return Hello(
            version=VERSION,
            protocol=HOST_PROTOCOL,
            pid=os.getpid(),
            started_at=self.started_at,
            engine=self.engine,
            is_idle=not busy,
            is_leaving=self.is_leaving,
            busy=busy,
        )

    def status(self) -> HostStatus:
        """Say how the host stands."""
        hello = self.hello()
        left_s = None
        if self.idle_exit_s and hello.is_idle:
            left_s = max(0.0, self.idle_exit_s - self.activity.idle_s)
        return HostStatus(
            hello=hello,
            socket=str(self.files.socket),
            home=str(self.files.home),
            uptime_s=time.monotonic() - self._started_s,
            idle_exit_in_s=left_s,
            models=self.models.loaded(),
            jobs=self.jobs.running,
            turns=self.turns.running(),
            serving=self.serve.serving,
            n_clients=self.activity.n_clients,
            notices=tuple(self.notices),
        )

    def settings_in_use(self) -> SettingsInUse:
        """Say what was read of the settings; changes of the file since then do not count."""
        in_use = {name for name, section in self.settings if section.is_read_at_start}
        values = self.settings.model_dump(mode="json", include=in_use)
        options: dict[str, str] = {}
        if self.idle_exit_s != self.settings.host.idle_exit_s:
            values["host"]["idle_exit_s"] = self.idle_exit_s
            options["host.idle_exit_s"] = "--idle-exit-s"
        return SettingsInUse(values=values, profile=self.profile, options=options)

    def metrics(self) -> HostMetrics:
        """Give figures of this process."""
        process = psutil.Process()
        with process.oneshot():
            times, rss_bytes = process.cpu_times(), process.memory_info().rss
        return HostMetrics(
            uptime_s=time.monotonic() - self._started_s,
            rss_bytes=rss_bytes,
            cpu_s=times.user + times.system,
            n_requests=self.activity.n_requests,
            n_clients=self.activity.n_clients,
            n_jobs_running=len(self.jobs.running),
            n_turns_running=len(self.turns.running()),
        )


def note_job(activity: Activity, events: EventLog, changed: JobChanged) -> None:
    """Tell attached front ends of a job that began or ended."""
    activity.touch()
    if not events.is_closed:
        events.append(changed)


def note_library(events: EventLog, changed: LibraryChanged) -> None:
    """Tell attached front ends of models that came or went; it keeps no host."""
    if not events.is_closed:
        events.append(changed)


def note_chat_gone(events: EventLog, chat_id: str) -> None:
    """Tell attached front ends of a chat that was deleted or put away."""
    if not events.is_closed:
        events.append(ChatGone(chat_id=chat_id, at=time.time()))
