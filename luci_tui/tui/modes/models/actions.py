"""What can be done with the models that are here, besides using, installing and deleting them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual import work
from textual.binding import BindingType

from luci_tui.bench.plan import BenchSpec
from luci_tui.errors import ConfigError, LuciError
from luci_tui.host.api.messages import JobState
from luci_tui.library import own_settings
from luci_tui.library.records import ModelState
from luci_tui.tui.keymap import binding
from luci_tui.tui.modes.models import making
from luci_tui.tui.modes.models.shelf import TIER_NAMES, Item
from luci_tui.tui.screens.ask import AskScreen
from luci_tui.tui.screens.choose import ChooseScreen, Option
from luci_tui.tui.screens.live import LiveScreen
from luci_tui.tui.screens.page import PageScreen
from luci_tui.tui.widgets.text import one_line
from luci_tui.units import format_bytes

if TYPE_CHECKING:
    from pydantic import JsonValue

    from luci_tui.host.api.messages import JobRecord
    from luci_tui.host.client import HostClient
    from luci_tui.library.records import LibraryModel
    from luci_tui.tui.services import Services

NOTHING = "-"
"""Typed where an empty line would mean that nothing is to be changed."""
COMPARING = "compare_models"
HERE_ACTIONS = frozenset({"quantize", "compare", "bench", "set_tier", "set_aliases", "set_note"})
"""What needs a model that is here."""


class ModelActions(LiveScreen):
    """The part of Models that makes jobs, and that writes down what a person knows of models."""

    BINDINGS: ClassVar[list[BindingType]] = [
        binding("models.quantize", "quantize"),
        binding("models.convert", "convert"),
        binding("models.compare", "compare"),
        binding("models.compared", "compared"),
        binding("models.bench", "bench"),
        binding("models.tier", "set_tier"),
        binding("models.aliases", "set_aliases"),
        binding("models.note", "set_note"),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._watched: set[str] = set()
        """Jobs that were begun here and have not ended yet."""

    # ---- what the list says

    @property
    def items(self) -> Sequence[Item]:
        """All that the list holds."""
        return ()

    def selected(self) -> Item | None:
        """Return what the cursor is on; None = nothing."""
        return None

    def _model(self) -> LibraryModel | None:
        item = self.selected()
        return None if item is None else item.model

    def can_do(self, action: str) -> bool:
        """Tell whether an action of `HERE_ACTIONS` makes sense for the model with the cursor."""
        model = self._model()
        if model is None:
            return False
        return action.startswith("set_") or model.state is ModelState.OK

    # ---- jobs

    async def see_jobs(self, client: HostClient) -> bool:
        """Take in what became of the jobs that were begun here; True = there are other files now.

        That they have ended is told by the app, in every mode.
        """
        if not self._watched:
            return False
        jobs = [one for one in await client.jobs() if one.id in self._watched]
        ended = [one for one in jobs if one.state is not JobState.RUNNING]
        for job in ended:
            self._watched.discard(job.id)
            if job.state is JobState.DONE and job.kind == COMPARING:
                self._show_comparison(job)
        return any(one.state is JobState.DONE and one.kind != COMPARING for one in ended)

    def _show_comparison(self, job: JobRecord) -> None:
        try:
            lines = making.comparison_lines(job.result or {})
        except ConfigError as error:
            self.tell_failure(error)
            return
        page = PageScreen(f"Job {job.id}: {job.title}", lines)
        self.app.push_screen(page)  # pyright: ignore[reportUnknownMemberType]

    async def _begin(self, kind: str, spec: dict[str, JsonValue], words: str) -> None:
        job = await (await self.client(start=True)).start_job(kind, spec)
        self._watched.add(job.id)
        self.notify(one_line(f"Job {job.id} runs: {job.title}. {words}"), markup=False)
        self.poke()

    @work(group="act", exit_on_error=False)
    async def action_quantize(self) -> None:
        """Ask for the types, and let the host make the files."""
        model = self._model()
        if model is None:
            return
        types = await self._chosen_types(model)
        if not types:
            return
        question = (
            f"{model.name} is quantized already ({model.header.quantization}); each time something "
            "is lost. Do it nevertheless?"
        )
        if making.is_quantized(model) and not await self.confirmed(question, "Quantize"):
            return
        try:
            outputs = making.outputs_of(model, types)
            force = await self._may_write([path for _, path in outputs])
            if force is None:
                return
            spec = making.quantize_spec(model, outputs, force=force)
            where = outputs[0][1].parent
            await self._begin("quantize", spec, f"Jobs (4) shows it. The files lie in {where}.")
        except LuciError as error:
            self.tell_failure(error)

    async def _chosen_types(self, model: LibraryModel) -> list[str]:
        options = await asyncio.to_thread(making.type_options, model.header.n_params)
        question = f"Quantize {one_line(model.name)} to which types?"
        screen = ChooseScreen(question, options, most=len(options), start="Q4_K_M")
        chosen = list(await self.chosen(screen))
        if making.OTHER_TYPE in chosen:
            chosen.remove(making.OTHER_TYPE)
            ask = AskScreen("Which type? Such as IQ4_XS or Q4_0.", "", making.check_type)
            if other := await self.asked(ask):
                chosen.append(other.upper())
        return list(dict.fromkeys(chosen))

    async def _may_write(self, files: list[Path]) -> bool | None:
        """Ask before files are replaced; None = they are not to be, False = none is there."""
        there = await asyncio.to_thread(making.prepare, files)
        if not there:
            return False
        names = ", ".join(one_line(path.name) for path in there)
        question = f"Replace {names} in {there[0].parent}? What is there now is lost."
        return True if await self.confirmed(question, "Replace") else None

    @work(group="act", exit_on_error=False)
    async def action_convert(self) -> None:
        """Ask what to convert and into which file, and let the host do it."""
        source = await self.asked(AskScreen(making.ASK_SOURCE, "", making.check_source))
        if not source:
            return
        chosen = await self.chosen(ChooseScreen("Which type of numbers?", making.OUT_TYPES))
        if not chosen:
            return
        start = making.output_for(source, chosen[0])
        wanted = await self.asked(AskScreen("Into which file?", start, making.check_output))
        if not wanted:
            return
        output = making.full_path(wanted)
        try:
            force = await self._may_write([output])
            if force is None:
                return
            spec = making.convert_spec(source, chosen[0], output, force=force)
            await self._begin("convert", spec, "Jobs (4) shows how far it is.")
        except LuciError as error:
            self.tell_failure(error)

    @work(group="act", exit_on_error=False)
    async def action_compare(self) -> None:
        """Ask which models, and let the host measure what quantizing cost."""
        here = [one for one in self.items if one.model and one.model.state is ModelState.OK]
        options = [
            Option(one.key, one.name, f"{one.quant} {format_bytes(one.size_bytes)}") for one in here
        ]
        item = self.selected()
        start = (item.key,) if item is not None else ()
        question = "Compare which models? The largest of them is what the others are held against."
        screen = ChooseScreen(question, options, chosen=start, most=len(options))
        chosen = await self.chosen(screen)
        models = [one.model for one in here if one.key in chosen and one.model]
        if not models:
            return
        spec: dict[str, JsonValue] = {"models": [str(one.path.absolute()) for one in models]}
        try:
            await self._begin(COMPARING, spec, "Its table opens here when it is done; r shows it.")
        except LuciError as error:
            self.tell_failure(error)

    @work(group="act", exit_on_error=False)
    async def action_compared(self) -> None:
        """Show the table of the last comparison that came to its end."""
        try:
            jobs = await (await self.client(start=True)).jobs()
        except LuciError as error:
            self.tell_failure(error)
            return
        done = [one for one in jobs if one.kind == COMPARING and one.state is JobState.DONE]
        if done:
            self._show_comparison(done[0])
        else:
            self.notify(making.NO_COMPARISON, markup=False)

    @work(group="act", exit_on_error=False)
    async def action_bench(self) -> None:
        """Let the host measure how fast the model is."""
        model = self._model()
        if model is None:
            return
        # A model that is not enabled has no name that the host would know.
        spec = BenchSpec(model=model.name if model.is_enabled else str(model.path.absolute()))
        try:
            await self._begin(
                "bench", spec.model_dump(mode="json", exclude={"kind"}), "Bench (5) draws it."
            )
        except LuciError as error:
            self.tell_failure(error)

    # ---- what a person says about a model

    @work(group="act", exit_on_error=False)
    async def action_set_tier(self) -> None:
        """Give the model a tier, or leave that to luci."""
        model = self._model()
        if model is None:
            return
        options = [
            *(Option(str(tier), f"{tier} {name}") for tier, name in enumerate(TIER_NAMES)),
            Option(NOTHING, "as luci says", "by the catalogue, or by its size"),
        ]
        question = f"Of which tier is {one_line(model.name)}?"
        chosen = await self.chosen(ChooseScreen(question, options, chosen=(str(model.tier),)))
        if chosen:
            tier = None if chosen[0] == NOTHING else int(chosen[0])
            await self._note(partial(own_settings.set_tier, model.name, tier))

    @work(group="act", exit_on_error=False)
    async def action_set_aliases(self) -> None:
        """Give the model other names."""
        model = self._model()
        if model is None:
            return
        own = await asyncio.to_thread(_own_aliases, model.name)
        question = (
            f"Other names of {one_line(model.name)}, with commas between them; "
            f"{NOTHING} alone takes them away."
        )
        wanted = await self.asked(AskScreen(question, ", ".join(own), _check_aliases))
        if wanted:
            await self._note(partial(_set_aliases, model.name, _aliases_in(wanted)))

    @work(group="act", exit_on_error=False)
    async def action_set_note(self) -> None:
        """Write down some words about the model."""
        model = self._model()
        if model is None:
            return
        question = f"A note about {one_line(model.name)}; {NOTHING} alone takes it away."
        wanted = await self.asked(AskScreen(question, model.notes))
        if wanted:
            note = "" if wanted == NOTHING else wanted
            await self._note(partial(own_settings.set_notes, model.name, note))

    async def _note(self, write: Callable[[], None]) -> None:
        try:
            await asyncio.to_thread(write)
        except LuciError as error:
            self.tell_failure(error)
        self.action_reload()


def _aliases_in(text: str) -> tuple[str, ...]:
    if text.strip() == NOTHING:
        return ()
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _check_aliases(text: str) -> None:
    for alias in _aliases_in(text):
        own_settings.check_alias(alias)


def _own_aliases(name: str) -> tuple[str, ...]:
    """Return the names that a person gave it; those of the catalogue are not theirs to change."""
    from luci_tui import paths

    return own_settings.read(paths.library_file()).of(name).aliases


def _set_aliases(name: str, aliases: tuple[str, ...]) -> None:
    """Write other names down, if no other model has one of them."""
    from luci_tui.library.store import Library
    from luci_tui.manager.aliases import check_free

    library = Library()
    check_free(library, library.find(name), aliases)
    own_settings.set_aliases(name, aliases)
