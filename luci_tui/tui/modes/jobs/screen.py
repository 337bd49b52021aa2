"""Jobs: what the host works on, or has worked on."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, VerticalScroll

from luci_tui.errors import LuciError
from luci_tui.host.api.messages import JobRecord, JobState
from luci_tui.tui.keymap import binding
from luci_tui.tui.modes.jobs import words
from luci_tui.tui.screens.live import NO_HOST, LiveScreen
from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.rows import Rows

if TYPE_CHECKING:
    from luci_tui.host.client import HostClient
    from luci_tui.tui.services import Services

MAX_STEPS = 100
"""Steps of a job that are kept while it is looked at."""
EMPTY = "No job has run yet. `luci quantize --background` begins one; loading a model is one, too."


class JobsScreen(LiveScreen):
    """The jobs, and everything about the one with the cursor."""

    NAME: ClassVar = "jobs"
    HELP: ClassVar = (
        "What the host works on, or has worked on. A job belongs to the host: leaving this page, "
        "or luci, ends nothing."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("jobs.cancel", "cancel"),
        binding("jobs.resume", "resume"),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._jobs: dict[str, JobRecord] = {}
        self._steps: dict[str, deque[words.Step]] = {}

    def compose_body(self) -> ComposeResult:
        """Lay out the list and the details."""
        with Container(classes="split"):
            yield Rows(words.COLUMNS)
            with VerticalScroll(classes="details", can_focus=False):
                yield Block(id="details")

    async def look(self, client: HostClient | None) -> None:
        """See `LiveScreen`."""
        if client is None:
            self.set_status(NO_HOST)
            self.list.set_rows(list(map(self._row, self._jobs.values())), "")
            return
        jobs = await client.jobs()
        self._jobs = {job.id: job for job in jobs}
        self._note_steps()
        self.list.set_rows(list(map(self._row, jobs)), EMPTY)
        self.set_status(words.status_of(jobs))
        self.show_filter_count()
        self._show_details()

    def _row(self, job: JobRecord) -> words.Row:
        return words.row_of(job, self.services.now_s())

    def _note_steps(self) -> None:
        for job in self._jobs.values():
            if job.state is not JobState.RUNNING:
                self._steps.pop(job.id, None)
            elif job.progress is not None and job.progress.what:
                steps = self._steps.setdefault(job.id, deque(maxlen=MAX_STEPS))
                if not steps or steps[-1][1] != job.progress.what:
                    steps.append((self.services.now_s(), job.progress.what))

    def _show_details(self) -> None:
        job = self._jobs.get(self.list.key)
        self.query_one(".details").display = job is not None
        if job is not None:
            steps = tuple(self._steps.get(job.id, ()))
            details = self.query_one("#details", Block)
            details.say(words.details_of(job, steps, self.services.now_s()))

    def on_rows_moved(self) -> None:
        """Show the details of another job."""
        self._show_details()
        self.offer_keys()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer to cancel what runs, and to resume what did not come to its end."""
        job = self._jobs.get(self.list.key) if action in ("cancel", "resume") else None
        match action:
            case "cancel":
                return job is not None and job.state is JobState.RUNNING
            case "resume":
                return job is not None and words.can_resume(job)
            case _:
                return super().check_action(action, parameters)

    @work(group="act", exit_on_error=False)
    async def action_cancel(self) -> None:
        """Ask, then end the job."""
        job = self._jobs[self.list.key]
        question = (
            f"Cancel job {job.id}, {job.title}?\nWhat it has made so far is removed; no file stays."
        )
        if not await self.confirmed(question, "Cancel the job"):
            return
        try:
            await (await self.client()).cancel_job(job.id)
        except LuciError as error:
            self.tell_failure(error)
        self.poke()

    @work(group="act", exit_on_error=False)
    async def action_resume(self) -> None:
        """Begin the job again."""
        try:
            await (await self.client()).resume_job(self.list.key)
        except LuciError as error:
            self.tell_failure(error)
        self.poke()
