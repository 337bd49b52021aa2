"""Bench: how fast models are here, whether that changed, and how luci stands beside its peers."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical, VerticalScroll

from luci_tui import paths
from luci_tui.bench import history as kept
from luci_tui.bench.history import BenchRun, History
from luci_tui.bench.plan import DEFAULT_OPTIONS, spec_of
from luci_tui.errors import HostError, LuciError
from luci_tui.host.api.messages import JobRecord, JobState
from luci_tui.tui.keymap import binding
from luci_tui.tui.modes.bench import exporting, peers, words
from luci_tui.tui.modes.bench.peers import Peers
from luci_tui.tui.screens.ask import AskScreen
from luci_tui.tui.screens.choose import ChooseScreen, Option
from luci_tui.tui.screens.live import LiveScreen
from luci_tui.tui.screens.page import PageScreen
from luci_tui.tui.widgets.block import Block
from luci_tui.tui.widgets.plot import Drawing, LinePlot
from luci_tui.tui.widgets.rows import Rows
from luci_tui.tui.widgets.text import one_line

if TYPE_CHECKING:
    from luci_tui.host.client import HostClient
    from luci_tui.tui.services import Services

ASK_OPTIONS = (
    "What is measured of {name}? --pp and --tg tokens, --streams 1,4,…, --rounds, --threads, "
    "--temperature, --force."
)
_RUN_ACTIONS = ("mark", "compare", "export", "delete")


class BenchScreen(LiveScreen):
    """The runs, with the figures and a plot of the one with the cursor."""

    NAME: ClassVar = "bench"
    HELP: ClassVar = (
        "How fast models are on this machine. b measures one as a job of the host, which goes on "
        "when luci is closed. ~ behind a change says that it may be chance."
    )
    NEEDS_HOST: ClassVar = False
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("bench.run", "run"),
        binding("bench.mark", "mark"),
        binding("bench.compare", "compare"),
        binding("bench.export", "export"),
        binding("bench.peers", "peers"),
        binding("bench.cancel", "cancel"),
        binding("bench.delete", "delete"),
        binding("bench.next_plot", "turn(1)"),
        binding("bench.plot_before", "turn(-1)"),
    ]
    AUTO_FOCUS = "#runs"

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._history = History()
        self._stamp: object = None
        self._jobs: dict[str, JobRecord] = {}
        """Those that run now, by the keys of their rows."""
        self._trouble = ""
        """Why the host could not be asked; empty = it was, or none runs."""
        self._marked = ""
        self._turn = 0
        """Which figure the plot shows."""
        self._peers: Peers | None = None
        """Results of bench-peers, while they are looked at."""

    def compose_body(self) -> ComposeResult:
        """Lay out the lists, of which one is seen, the figures and the plot."""
        with Container(classes="split bench"):
            yield Rows(words.COLUMNS, id="runs")
            yield Rows(peers.COLUMNS, id="peers")
            with Vertical(classes="details"):
                with VerticalScroll(id="figures", can_focus=False):
                    yield Block(id="details")
                yield LinePlot(id="plot")

    def on_mount(self) -> None:
        """Begin with the runs."""
        self.query_one("#peers").display = False

    @property
    def list(self) -> Rows:
        """The list that is seen."""
        return self.query_one("#runs" if self._peers is None else "#peers", Rows)

    # ---- what is shown

    async def look(self, client: HostClient | None) -> None:
        """See `LiveScreen`; what is kept is shown without a host as well."""
        del client
        await self._read_history()
        jobs = await self._ask_jobs()
        running = {
            words.job_key(job.id): job
            for job in jobs
            if job.kind == "bench" and job.state is JobState.RUNNING
        }
        self._find_made(running, jobs)
        self._jobs = running
        self._show()

    async def _read_history(self) -> None:
        path = paths.bench_file()
        stamp = await asyncio.to_thread(_stamp_of, path)
        if stamp != self._stamp:
            self._history = await asyncio.to_thread(kept.read_history, path)
            self._stamp = stamp

    async def _ask_jobs(self) -> tuple[JobRecord, ...]:
        link = self.services.link
        self._trouble = ""
        try:
            client = None if link is None else await link.client(start=False)
            if client is not None:
                return await client.jobs()
        except HostError as error:
            self._trouble = error.message
            if link is not None:
                await link.drop()
        return ()

    def _find_made(self, running: dict[str, JobRecord], jobs: tuple[JobRecord, ...]) -> None:
        """Go to the run that was being measured at the last look and is done.

        That it has ended is told by the app, in every mode.
        """
        ended = {words.job_key(job.id): job for job in jobs}
        for key in set(self._jobs) - set(running):
            job = ended.get(key)
            if job is not None and job.state is JobState.DONE:
                run_id = str((job.result or {}).get("id", ""))
                self.call_after_refresh(self.query_one("#runs", Rows).go_to, run_id)

    def _show(self) -> None:
        if self._peers is not None:
            rows = peers.rows_of(self._peers) if self._peers.report else []
            self.query_one("#peers", Rows).set_rows(rows, self._peers.trouble)
            self.set_status(peers.status_of(self._peers))
        else:
            now_s = self.services.now_s()
            rows = [words.row_of_job(job) for job in self._jobs.values()]
            rows += [
                words.row_of(one, self._history, now_s, self._marked)
                for one in reversed(self._history.runs)
            ]
            self.query_one("#runs", Rows).set_rows(rows, words.EMPTY)
            name = paths.bench_file().name
            status = words.status_of(len(self._jobs), self._history, name)
            self.set_status(f"Error: {self._trouble}" if self._trouble else status)
        self.show_filter_count()
        self._show_details()
        self.offer_keys()

    def _run(self) -> BenchRun | None:
        if self._peers is not None:
            return None
        return self._run_of(self.list.key)

    def _run_of(self, run_id: str) -> BenchRun | None:
        return next((one for one in self._history.runs if one.id == run_id), None)

    def _show_details(self) -> None:
        text, drawing = self._details()
        self.query_one(".details").display = bool(text)
        self.query_one("#details", Block).say(text)
        plot = self.query_one("#plot", LinePlot)
        plot.display = bool(drawing.lines)
        plot.draw(drawing)

    def _details(self) -> tuple[str, Drawing]:
        now_s = self.services.now_s()
        if self._peers is not None:
            series = self._peers.series.get(self.list.key)
            if series is None or self._peers.report is None:
                return "", Drawing("", ())
            return peers.details_of(series), peers.drawing_of(series, self._peers.report)
        if (job := self._jobs.get(self.list.key)) is not None:
            series = job.progress.series if job.progress else ()
            return words.job_details(job, now_s), words.live_drawing(series, self._turn)
        if (run := self._run()) is not None:
            is_wide = self.has_class("-wide")
            text = words.details_of(run, self._history.before(run), is_wide=is_wide)
            return text, words.history_drawing(run, self._history, self._turn, now_s)
        return "", Drawing("", ())

    def on_rows_moved(self) -> None:
        """Show the figures of another run."""
        self._show_details()
        self.offer_keys()

    def on_resize(self) -> None:
        """Write as much as there is room for."""
        self.call_after_refresh(self._show_details)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer only what can be done with the row that the cursor is on."""
        if action == "cancel":
            return self.list.key in self._jobs
        if action in _RUN_ACTIONS:
            return self._run() is not None
        return super().check_action(action, parameters)

    # ---- keys that change what is shown

    def action_reload(self) -> None:
        """Read everything again."""
        self._stamp = None
        super().action_reload()

    def action_turn(self, step: int) -> None:
        """Let the plot show another figure."""
        self._turn += step
        self._show_details()

    def action_mark(self) -> None:
        """Compare the others with this run, or no longer."""
        run = self._run()
        if run is not None:
            self._marked = "" if self._marked == run.id else run.id
            self._show()

    @work(group="act", exit_on_error=False)
    async def action_peers(self) -> None:
        """Turn to the results of bench-peers, and back."""
        self._peers = await asyncio.to_thread(peers.read_peers) if self._peers is None else None
        self.query_one("#runs").display = self._peers is None
        self.query_one("#peers").display = self._peers is not None
        self.action_unfilter()
        self._show()
        self.list.focus()

    def action_compare(self) -> None:
        """Put the run beside the one with the mark, or else beside the one before."""
        run = self._run()
        if run is None:
            return
        other = self._run_of(self._marked)
        if other is None or other.id == run.id:
            other = self._history.before(run)
        if other is None:
            text = "There is nothing to compare with: Space marks a run, then c on another one."
            self.notify(text, markup=False)
            return
        before, after = sorted((other, run), key=lambda one: one.at)
        title = f"{words.name_of(before)} and {words.name_of(after)}"
        if before.is_of == after.is_of:
            title = words.name_of(run)
        self.app.push_screen(  # pyright: ignore[reportUnknownMemberType]
            PageScreen(title, words.comparison_lines(before, after))
        )

    # ---- keys that do something

    @work(group="act", exit_on_error=False)
    async def action_run(self) -> None:
        """Ask for a model and for what to measure, and let the host do it."""
        try:
            client = await self.client(start=True)
            names = [one.name for one in (await client.models()).entries if one.path]
            chosen = await self._chosen_model(names)
            if not chosen:
                return
            question = ASK_OPTIONS.format(name=one_line(chosen))
            ask = AskScreen(question, DEFAULT_OPTIONS, lambda text: spec_of(chosen, text))
            options = await self.asked(ask)
            if not options:
                return
            spec = spec_of(chosen, options).model_dump(mode="json", exclude={"kind"})
            job = await client.start_job("bench", spec)
        except LuciError as error:
            self.tell_failure(error)
            return
        self._jobs[words.job_key(job.id)] = job
        self._show()
        self.list.go_to(words.job_key(job.id))
        self.poke()

    async def _chosen_model(self, names: list[str]) -> str:
        run = self._run()
        start = (run.asked,) if run is not None else ()
        options = [Option(name, name) for name in names]
        chosen = await self.chosen(ChooseScreen("Which model is measured?", options, chosen=start))
        return chosen[0] if chosen else ""

    @work(group="act", exit_on_error=False)
    async def action_cancel(self) -> None:
        """Ask, then end what is being measured."""
        job = self._jobs[self.list.key]
        question = f"Cancel job {job.id}, {job.title}?\nNothing of this run is kept."
        if not await self.confirmed(question, "Cancel the job"):
            return
        try:
            await (await self.client()).cancel_job(job.id)
        except LuciError as error:
            self.tell_failure(error)
        self.poke()

    @work(group="act", exit_on_error=False)
    async def action_delete(self) -> None:
        """Ask, then forget a run."""
        run = self._run()
        if run is None:
            return
        when = words.clock(run.at, self.services.now_s())
        question = f"Forget the run of {words.name_of(run)} of {when}? Its figures are gone then."
        if not await self.confirmed(question, "Forget"):
            return
        try:
            await asyncio.to_thread(kept.remove_run, paths.bench_file(), run.id)
        except LuciError as error:
            self.tell_failure(error)
        self.poke()

    @work(group="act", exit_on_error=False)
    async def action_export(self) -> None:
        """Ask which runs, and into which file; one that is there is replaced only on request."""
        run = self._run()
        if run is None:
            return
        choices = exporting.choices_of(run, self._history)
        chosen = await self.chosen(ChooseScreen("Which runs are exported?", choices))
        if not chosen:
            return
        runs = exporting.runs_of(chosen[0], run, self._history)
        ask = AskScreen(
            "Into which file? The ending .md makes a table, .json the whole figures.",
            exporting.default_name(run),
            exporting.check_path,
        )
        wanted = await self.asked(ask)
        if not wanted:
            return
        path, is_there = exporting.place_of(wanted)
        question = f"Replace {path}? What is in it now is lost."
        try:
            if is_there and not await self.confirmed(question, "Replace"):
                return
            await asyncio.to_thread(exporting.write, path, runs)
        except LuciError as error:
            self.tell_failure(error)
        else:
            self.notify(one_line(f"Written to {path}."), markup=False)


def _stamp_of(path: Path) -> tuple[int, int, int]:
    with suppress(OSError):
        facts = path.stat()
        return (facts.st_ino, facts.st_size, facts.st_mtime_ns)
    return (0, 0, 0)
