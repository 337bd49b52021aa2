"""The one place that joins front ends to engines, models and files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from luci_tui import paths
from luci_tui.errors import ConfigError, GgufError, ModelLoadError

if TYPE_CHECKING:
    from pydantic import ValidationError

    from luci_tui.bench.plan import BenchSpec
    from luci_tui.chat.model import ModelSpec
    from luci_tui.download.options import MoveOptions
    from luci_tui.download.sources import Source
    from luci_tui.engine.client import EngineClient
    from luci_tui.engine.load_spec import LoadSpec
    from luci_tui.host.api.chats import Chats
    from luci_tui.host.downloads import Downloads
    from luci_tui.host.engines import ModelSource
    from luci_tui.host.process import Options
    from luci_tui.host.run_files import RunFiles
    from luci_tui.host.state import HostState
    from luci_tui.manager.entries import ModelEntry
    from luci_tui.manager.machine import Machine
    from luci_tui.manager.startup import MakeEngine
    from luci_tui.settings import DownloadSettings

BUILTIN = "builtin"
"""The name by which a person asks for the model that ships with luci."""

DEFAULT_N_CTX = 4096
"""Context when none is asked for; less if the model was trained with less."""

Review = Callable[[str, str], tuple[str, ...]]
"""(request, answer) -> the arguments of the answer that do not stand in the request."""


class EngineKind(StrEnum):
    """Which engine answers."""

    WORKER = "worker"
    """The native core in a process of its own."""
    ECHO = "echo"
    """No model at all: repeats what it is asked, for trying out the screen and for tests."""


@dataclass(frozen=True)
class Backend:
    """Everything that a screen needs to talk to one model."""

    engine: EngineClient
    """Without a model until `load` is called."""
    model: ModelSpec
    review: Review | None
    """Finds doubtful arguments in an answer; None = not for this model."""


def connect(model: str, engine: str) -> Backend:
    """Return the engine and the model that a screen was opened for.

    It imports much: call it when the first frame is drawn.

    Raises:
        EngineError: the engine is not there.
        ModelLoadError: the built-in model is asked for and not part of this installation.
    """
    kind = EngineKind(engine)
    chosen = choose_model(model, kind=kind)
    return Backend(build_engine(kind), chosen, reviewer(chosen))


def build_engine(kind: EngineKind) -> EngineClient:
    """Return an engine client without a model in it.

    Raises:
        EngineError: the native core is asked for and not there.
    """
    if kind is EngineKind.ECHO:
        from luci_tui.engine.echo import EchoEngine

        return EchoEngine()
    from luci_tui.engine.native import native_available, require_native

    if not native_available():
        require_native()
    from luci_tui.engine.process import WorkerEngine

    return WorkerEngine(paths.logs_folder() / "worker.log")


def choose_model(
    name: str,
    *,
    kind: EngineKind = EngineKind.WORKER,
    n_ctx: int | None = None,
    **load_options: object,
) -> ModelSpec:
    """Return the model that a person named: "builtin", a name of the library, or a path.

    Args:
        name: "builtin", a name or alias that the registry knows, or a path; `~` is the home folder.
        kind: The engine it is for; the echo needs no file.
        n_ctx: Tokens of context; None = what models.toml says, else DEFAULT_N_CTX, or less if the
            model knows less.
        load_options: Other fields of LoadSpec than `model_path`; those that are not at
            their defaults go before what models.toml says.

    Raises:
        CatalogError: there is no model of this name, or it is disabled.
        ConfigError: an option has a value that cannot be used.
        ModelLoadError: the built-in model is asked for and not part of this installation.
    """
    if name == BUILTIN:
        return _builtin_spec(kind, n_ctx, load_options)
    entry = _named_entry(name, kind)
    if entry is not None:
        return _spec_of(entry, n_ctx, load_options)
    from luci_tui.chat.model import ModelSpec

    path = Path(name).expanduser()
    return ModelSpec(label=path.name or name, load=_load_of(path, n_ctx, load_options))


def bench_model(spec: BenchSpec, *, kind: EngineKind = EngineKind.WORKER) -> ModelSpec:
    """Return the model that a bench names; see `choose_model`."""
    return choose_model(spec.model, kind=kind, n_threads=spec.threads, force=spec.force)


def _builtin_spec(
    kind: EngineKind, n_ctx: int | None, load_options: Mapping[str, object]
) -> ModelSpec:
    from luci_tui.chat.model import ModelSpec
    from luci_tui.engine.frames import SamplingParams

    return ModelSpec(
        label=BUILTIN,
        load=_load_of(_builtin_path(kind), n_ctx, load_options),
        sampling=SamplingParams(temperature=0.0),
        answers_with_command=True,
    )


def _load_of(path: Path, n_ctx: int | None, load_options: Mapping[str, object]) -> LoadSpec:
    """Say how a file is loaded that nothing is known of."""
    from pydantic import ValidationError

    from luci_tui.engine.load_spec import LoadSpec

    chosen_n_ctx = _default_n_ctx(path) if n_ctx is None else n_ctx
    try:
        return LoadSpec.model_validate(
            {"model_path": str(path), **load_options, "n_ctx": chosen_n_ctx}
        )
    except ValidationError as error:
        raise option_error(error) from error


def _named_entry(name: str, kind: EngineKind) -> ModelEntry | None:
    """Look a name up in the registry; None = it is a path."""
    if "/" in name or name.startswith("~") or Path(name).is_file():
        return None
    from luci_tui.errors import CatalogError
    from luci_tui.manager.registry import Registry

    try:
        return Registry().find(name)
    except CatalogError:
        # What ends like a file is the engine's to refuse, and the echo needs no model at all.
        if name.endswith(".gguf") or kind is EngineKind.ECHO:
            return None
        raise


def _spec_of(entry: ModelEntry, n_ctx: int | None, load_options: Mapping[str, object]) -> ModelSpec:
    """Make the model of an entry, loaded with options of its own where some are given."""
    from pydantic import ValidationError

    from luci_tui.chat.model import ModelSpec
    from luci_tui.engine.load_spec import LoadSpec

    if entry.is_remote:
        msg = f"{entry.name} is on a server, so this command cannot load it. Use `luci ask -m`."
        raise ConfigError(msg)
    kept = entry.load_spec()
    try:
        asked = LoadSpec.model_validate({"model_path": kept.model_path, **load_options})
        given = asked.model_dump(exclude_defaults=True)
        if given.get("embedding"):
            given["mmproj_path"] = ""  # vectors are made of text alone
        chosen_n_ctx = kept.n_ctx or _default_n_ctx(Path(kept.model_path))
        given["n_ctx"] = chosen_n_ctx if n_ctx is None else n_ctx
        load = LoadSpec.model_validate({**kept.model_dump(), **given})
    except ValidationError as error:
        raise option_error(error) from error
    return ModelSpec(
        label=entry.name,
        load=load,
        sampling=entry.sampling,
        system=entry.system,
        answers_with_command=entry.answers_with_command,
    )


def _builtin_path(kind: EngineKind) -> Path:
    candidates = paths.builtin_model_candidates()
    builtin = paths.builtin_model_file()
    if builtin is not None or kind is EngineKind.ECHO:
        return builtin or candidates[0]
    msg = f"This installation has no built-in model at {candidates[-1]}. Name a GGUF file instead."
    raise ModelLoadError(msg, code="builtin_missing")


def _default_n_ctx(path: Path) -> int:
    from luci_tui.gguf.header import read_header

    # A file that cannot be read is the engine's to refuse, in its own words.
    with suppress(GgufError):
        return min(DEFAULT_N_CTX, read_header(path).n_ctx_train or DEFAULT_N_CTX)
    return DEFAULT_N_CTX


def option_error(error: ValidationError) -> ConfigError:
    """Turn the first complaint about a frame's field into a sentence about the option."""
    first = error.errors()[0]
    option = "--" + str(first["loc"][-1]).replace("_", "-") if first["loc"] else "An option"
    return ConfigError(f"{option} {first['input']} cannot be used: {first['msg'].lower()}.")


def name_for_host(name: str) -> str:
    """Return a name as it is, but a path as an absolute one: the host runs in another folder.

    What is written like a path is one; the name of a file in the models folder is its name there.
    """
    if name.endswith(".gguf") and "/" not in name and (paths.models_folder() / name).exists():
        return name
    if "/" in name or name.startswith("~") or name.endswith(".gguf"):
        return str(Path(name).expanduser().absolute())
    return name


def reviewer(model: ModelSpec) -> Review | None:
    """Return the check for doubtful arguments, or None for a model that it does not concern."""
    if not model.answers_with_command:
        return None
    from luci_tui.chat.decline import is_decline
    from luci_tui.chat.doubt import doubtful_arguments

    def review(request: str, answer: str) -> tuple[str, ...]:
        # The words of the refusal are no arguments.
        return () if is_decline(answer) else doubtful_arguments(request, answer)

    return review


async def build_host(
    files: RunFiles,
    options: Options,
    *,
    new_engine: Callable[[], EngineClient] | None = None,
    chats: Chats | None = None,
    job_command: tuple[str, ...] | None = None,
    machine: Machine | None = None,
    source: Source | None = None,
    move_options: MoveOptions | None = None,
) -> HostState:
    """Make the parts of the host process.

    Args:
        files: Where it lies.
        options: What it was told when it was started.
        new_engine: Makes engines; None = those of the kind that the options name.
        chats: None = those on disk.
        job_command: How a job process is started; None = as ever.
        machine: What models may take memory from; None = this one.
        source: Where models are installed from; None = the hub and plain addresses.
        move_options: How patient downloads are; None = as ever.

    Settings that cannot be used are left out, and a notice says so.
    """
    from luci_tui.chat.journal import Journal
    from luci_tui.host.api.chats import Chats
    from luci_tui.host.bench_job import bench_kind
    from luci_tui.host.database import JobTable
    from luci_tui.host.disk_chats import DiskChats
    from luci_tui.host.engines import Engines
    from luci_tui.host.events import EventLog
    from luci_tui.host.idle import Activity
    from luci_tui.host.job_kinds import file_job_kinds
    from luci_tui.host.jobs import Jobs
    from luci_tui.host.library_watch import LibraryWatch
    from luci_tui.host.managed_models import ChatModels, ManagedModels, ServedModels
    from luci_tui.host.model_parameters import ModelParameterDesk
    from luci_tui.host.serving import Serve
    from luci_tui.host.state import MAX_HOST_EVENTS, HostState, note_job, note_library
    from luci_tui.host.turns import Turns
    from luci_tui.library.places import find_places
    from luci_tui.manager.manager import ManagerOptions, ModelManager
    from luci_tui.manager.registry import Registry
    from luci_tui.settings import read_settings

    reading = read_settings(files.home)
    settings = reading.settings
    kind = EngineKind(options.engine)
    registry = Registry()
    manager = ModelManager(
        registry,
        _engine_maker(kind, new_engine),
        ManagerOptions(default_ttl_s=settings.host.model_ttl_s),
        machine=machine or _machine(kind, new_engine),
        on_leave=_note_measured,
        refresh=registry.refresh,
    )
    models = ManagedModels(manager, registry)
    events = EventLog(MAX_HOST_EVENTS)
    activity = Activity()
    # A host on defaults is of more use than none, and none of them is a risk.
    notices = [mistake.sentence for mistake in reading.mistakes]
    journal = Journal(paths.logs_folder() / "chats", with_texts=settings.host.log_texts)
    on_disk = DiskChats(paths.chats_file(), ChatModels(manager), journal, notices.append)
    asked_s = options.idle_exit_s
    return HostState(
        files=files,
        settings=settings,
        activity=activity,
        events=events,
        jobs=Jobs(
            JobTable(files.home / "host.db"),
            {
                **file_job_kinds(paths.logs_folder() / "jobs.log", job_command),
                "bench": bench_kind(
                    new_engine or partial(build_engine, kind),
                    partial(bench_model, kind=kind),
                    files.home / paths.bench_file().name,
                ),
            },
            settings.host.max_jobs,
            partial(note_job, activity, events),
        ),
        downloads=_downloads(files.home, settings.downloads, models, source, move_options),
        turns=Turns(),
        models=models,
        engines=Engines(models),
        serve=Serve(lambda: ServedModels(manager, registry)),
        library=LibraryWatch(
            find_places,
            paths.logs_folder() / "jobs.log",
            partial(note_library, events),
            job_command,
        ),
        parameters=ModelParameterDesk(registry),
        chats=chats or Chats(shelf=on_disk, talk=on_disk, transfer=on_disk),
        idle_exit_s=settings.host.idle_exit_s if asked_s is None else asked_s,
        engine=kind.value if new_engine is None else "",
        notices=notices,
        profile=reading.profile,
    )


def _downloads(
    home: Path,
    settings: DownloadSettings,
    models: ModelSource,
    source: Source | None,
    move_options: MoveOptions | None,
) -> Downloads:
    """Return the queue of installs with all that it needs."""
    from luci_tui.download.fetching import Fetcher
    from luci_tui.download.pace import Limiter
    from luci_tui.download.queue import DownloadQueue, QueueOptions
    from luci_tui.host.downloads import Downloads
    from luci_tui.host.model_source import HostSource
    from luci_tui.library.installing import Installer, validator

    own_catalog = home / paths.own_catalog_file().name
    source = source or HostSource(paths.shipped_catalog_file(), own_catalog)
    folder = home / "models"
    downloads = Downloads(source, folder, models)
    options = QueueOptions(
        max_parallel=settings.max_parallel,
        limit_bytes_per_s=settings.limit_bytes_per_s,
        reserve_bytes=settings.reserve_bytes,
    )
    validate = validator(home / "logs" / "jobs.log")
    downloads.attach(
        DownloadQueue(
            home / paths.downloads_file().name,
            Fetcher(source.headers, Limiter(), move_options),
            Installer(folder, validate, downloads.is_in_use, partial(_note_installed, home)),
            options,
            downloads.changed,
        )
    )
    return downloads


def _note_installed(home: Path, name: str, is_enabled: bool) -> None:
    """Write down whether a model that was just installed may be used."""
    from luci_tui.library.own_settings import set_enabled

    set_enabled(name, is_enabled, home / paths.library_file().name)


def _engine_maker(kind: EngineKind, new_engine: Callable[[], EngineClient] | None) -> MakeEngine:
    """Return what makes the engines of the model manager."""
    if kind is EngineKind.ECHO:
        new_engine = new_engine or partial(build_engine, kind)
    if new_engine is not None:
        make = new_engine
        return lambda _entry, _index: make()
    from luci_tui.engine.process import WorkerOptions
    from luci_tui.manager.engines import engine_maker

    return engine_maker(paths.logs_folder(), WorkerOptions(checks_memory=False))


def _note_measured(path: str, n_ctx: int, rss_bytes: int) -> None:
    """Keep what a worker had in RAM when it left, for `luci fit`."""
    from luci_tui.library.measured import note_measured

    note_measured(paths.library_cache_file(), Path(path), n_ctx, rss_bytes)


def _machine(kind: EngineKind, new_engine: Callable[[], EngineClient] | None) -> Machine:
    """Return where the model manager knows about memory from."""
    from luci_tui.manager.machine import CoreMachine, EchoMachine

    if kind is EngineKind.ECHO or new_engine is not None:
        return EchoMachine()
    return CoreMachine(paths.logs_folder() / "jobs.log")
