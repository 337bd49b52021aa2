"""What front ends and the host say to each other, as frozen Pydantic models.

Requests and answers are JSON; streams are server-sent events whose `data` is one of these models,
or a frame of the engine. Both sides are luci, and `HOST_PROTOCOL` says whether they understand each
other.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    RootModel,
    TypeAdapter,
    model_validator,
)

from luci_tui import errors
from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.settings import ServeLimits

HEARTBEAT_S = 10.0
"""A stream without an event is given a comment after so long, so that both sides see who left."""


class Message(BaseModel):
    """Base of all messages: immutable, and unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ErrorBody(Message):
    """A failure as it crosses the socket."""

    kind: Literal["error"] = "error"
    code: str
    message: str
    """One plain sentence for a person."""
    type: str = "LuciError"
    """Name of the class in luci_tui.errors."""


class ErrorAnswer(Message):
    """The body of every answer that is not a success."""

    error: ErrorBody


def error_body(error: errors.LuciError) -> ErrorBody:
    """Describe an error for the other side."""
    named = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == errors.__name__]
    return ErrorBody(code=error.code, message=error.message, type=named[0])


def to_error(body: ErrorBody) -> errors.LuciError:
    """Make the error again that the other side described."""
    found: object = getattr(errors, body.type, None)
    if isinstance(found, type) and issubclass(found, errors.LuciError):
        return found(body.message, code=body.code)
    return errors.HostError(body.message, code=body.code)


class Hello(Message):
    """Who answers on the socket. A host of another version may say more, which is passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: str
    protocol: int
    pid: int
    started_at: float
    """Seconds since 1970."""
    engine: str = ""
    """Kind of its engines, see wiring.EngineKind; empty = it does not say."""
    is_idle: bool
    is_leaving: bool = False
    """It was asked to leave and takes no new work."""
    busy: tuple[str, ...] = ()
    """What keeps it from leaving, in words; empty = it is idle."""


class ModelStatus(Message):
    """One model that the host holds in memory, or is loading."""

    name: str
    state: str
    """"loading", "ready", "unloading", "restarting" or "failed"."""
    n_leases: int = 0
    """Who uses it at this moment."""
    memory_bytes: int = 0
    """What its workers have in RAM, or are going to take; 0 = not known."""
    needed_bytes: int = 0
    """What it was estimated to take, which is what counts when others need room: RAM and GPU
    memory together, as `luci inspect` says; 0 = nothing here, or not known."""
    pinned: bool = False
    is_own: bool = False
    """One client holds it for itself; it leaves with that client."""
    idle_s: float | None = None
    """Seconds since its last use; None = it is in use."""
    unloads_in_s: float | None = None
    """None = it stays."""
    detail: str = ""
    """Why it restarts or failed; the fraction while it loads."""
    pids: tuple[int, ...] = ()
    """Its worker processes; empty for a model that is served elsewhere."""
    description: str = ""
    """llama.cpp's short description of what is loaded."""
    n_ctx: int = 0
    """Tokens of context per slot; 0 = nothing is loaded."""
    takes_images: bool | None = None
    """None = nothing is loaded, or a server elsewhere has it and does not say."""
    takes_audio: bool | None = None
    n_workers: int = 0
    n_restarts: int = 0
    """Workers that were lost since the host started."""


class ModelEntryInfo(Message):
    """One model that may be asked for."""

    name: str
    aliases: tuple[str, ...] = ()
    path: str = ""
    """Empty = it is served by another machine."""
    detail: str = ""


class Models(Message):
    """What there is and what is in memory."""

    entries: tuple[ModelEntryInfo, ...]
    loaded: tuple[ModelStatus, ...]


class ModelName(Message):
    """Which model a request is about."""

    name: str = Field(min_length=1, max_length=4096)
    force: bool = False
    """Unload: also when it is in use."""


class ModelParameters(Message):
    """How a model is asked, and who says so."""

    name: str
    """The model that a request for the name or path gets."""
    is_remote: bool = False
    answers_with_command: bool = False
    """It answers each request alone, with one shell command."""
    described_in: str = ""
    """Who says what `described` holds: "models.toml", "built in"; empty = nobody says anything."""
    described: dict[str, JsonValue] = {}
    """Fields of SamplingParams."""
    described_system: str = ""
    own: dict[str, JsonValue] = {}
    """Fields that a person has set in library.toml; they count above `described`."""
    own_system: str = ""


class ChangeModelParameters(Message):
    """What a person sets about a model; it is written into library.toml."""

    name: str = Field(min_length=1, max_length=4096)
    sampling: dict[str, JsonValue] = {}
    """Fields of SamplingParams; null takes one back."""
    system: str | None = None
    """Empty takes it back; null leaves it as it is."""


class JobState(StrEnum):
    """How a job stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """The host left or was killed while it ran."""


class ProgressSeries(Message):
    """Figures that a job has found so far, for a plot."""

    name: str
    unit: str = ""
    values: tuple[float, ...] = ()


class Progress(Message):
    """How far a job is."""

    kind: Literal["progress"] = "progress"
    what: str = ""
    """The file, tensor or step that is being worked on."""
    n_done: float = 0
    n_total: float = 0
    """0 = not known."""
    unit: str = ""
    bytes_done: int = 0
    bytes_total: int = 0
    """0 = not known."""
    series: tuple[ProgressSeries, ...] = ()
    """What was measured so far; empty = it is no job that measures."""


class JobRecord(Message):
    """Everything that is known about a job, without its events."""

    id: str
    kind: str
    """"quantize", "imatrix", "load", …"""
    title: str
    """What it does, in words."""
    state: JobState
    created_at: float
    """Seconds since 1970."""
    ended_at: float | None = None
    progress: Progress | None = None
    """The last that was told."""
    result: dict[str, JsonValue] | None = None
    """Only of a job that is done."""
    error: ErrorBody | None = None
    """Only of a job that failed."""


class JobChanged(Message):
    """A job began or ended."""

    kind: Literal["job"] = "job"
    job: JobRecord


class LibraryChanged(Message):
    """Files of a person's own models came, changed or went; an event of the host."""

    kind: Literal["library_changed"] = "library_changed"
    changed: tuple[str, ...] = ()
    """Names of the files, without their ending."""
    removed: tuple[str, ...] = ()


class ChatGone(Message):
    """A chat was deleted or put away, so that no list has it any more; an event of the host."""

    kind: Literal["chat_gone"] = "chat_gone"
    chat_id: str
    at: float
    """Seconds since 1970."""


class Gap(Message):
    """Events that were asked for are no longer kept; what follows begins after `dropped_to`."""

    kind: Literal["gap"] = "gap"
    dropped_to: int
    """Sequence number of the last event that is gone."""


JobEvent = Annotated[JobChanged | Progress | Gap, Field(discriminator="kind")]
job_event_adapter: TypeAdapter[JobEvent] = TypeAdapter(JobEvent)


class StartJob(Message):
    """Ask for a job."""

    kind: str = Field(max_length=64)
    spec: dict[str, JsonValue]
    """What the kind needs; paths are absolute."""


class Jobs(Message):
    """Jobs, the youngest first."""

    jobs: tuple[JobRecord, ...]


class Stop(Message):
    """Ask the host to leave."""

    drain_s: float | None = Field(default=None, ge=0, le=3600)
    """Time for what runs; None = as the settings say."""


class OpenEngine(Message):
    """Ask for an engine of one's own, or for the use of a model by name; exactly one is given."""

    model: str = Field(default="", max_length=4096)
    spec: LoadSpec | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> OpenEngine:
        if bool(self.model) == (self.spec is not None):
            msg = "exactly one of model and spec is needed"
            raise ValueError(msg)
        return self


class EngineOpened(Message):
    """The engine is there for as long as this stream is read."""

    kind: Literal["engine_opened"] = "engine_opened"
    engine_id: str
    model: str
    """The name that really serves; a fallback's is another one than was asked for."""
    info: frames.ModelInfo


class Notice(Message):
    """Something to tell the person while a model is made ready."""

    kind: Literal["notice"] = "notice"
    text: str
    fraction: float | None = None
    """0 to 1 while a model loads."""


class EngineCall(Message):
    """One command for an engine that is open, or for a model by name; exactly one is given."""

    model: str = Field(default="", max_length=4096)
    engine_id: str = Field(default="", max_length=64)
    command: frames.Command

    @model_validator(mode="after")
    def _one_of_them(self) -> EngineCall:
        if bool(self.model) == bool(self.engine_id):
            msg = "exactly one of model and engine_id is needed"
            raise ValueError(msg)
        return self


class ChatFields(RootModel[dict[str, JsonValue]]):
    """Fields of a chat's session, which the chat service checks."""

    model_config = ConfigDict(frozen=True)


class ChatItems(Message):
    """Rows of chats, messages or search hits, as the chat service describes them."""

    items: tuple[dict[str, JsonValue], ...]


class SentMedium(Message):
    """A picture or a sound that a message carries."""

    name: str = Field(default="", max_length=255)
    """Of the file."""
    content: str = Field(max_length=24 * 1024 * 1024)
    """Base64."""


class StartTurn(Message):
    """Send a message, or have a reply made once more."""

    text: str = Field(default="", max_length=16 * 1024 * 1024)
    parent_id: str | None = None
    """The message that is answered; None = the end of the active branch."""
    regenerate: str = ""
    """A reply that shall get a sibling; excludes text."""
    media: tuple[SentMedium, ...] = Field(default=(), max_length=8)
    """Pictures and sounds that the message carries."""
    media_of: str = ""
    """A message of the chat whose pictures and sounds this one carries, too; empty = none."""
    options: dict[str, JsonValue] = {}
    """What this turn wants otherwise than its chat says."""

    @model_validator(mode="after")
    def _one_of_them(self) -> StartTurn:
        if bool(self.text) == bool(self.regenerate):
            msg = "exactly one of text and regenerate is needed"
            raise ValueError(msg)
        return self


class TurnOpened(Message):
    """A chat turn runs in the host; its events are read from /luci/turns/{turn_id}/events."""

    turn_id: str
    chat_id: str


class TurnRecord(Message):
    """How a chat turn stands."""

    turn_id: str
    chat_id: str
    is_running: bool


class Turns(Message):
    """The turns that the host still knows, the youngest first."""

    turns: tuple[TurnRecord, ...]


class StartServing(Message):
    """Ask for the HTTP API on a port; see `host.openai.settings`."""

    host: str = Field(default="127.0.0.1", max_length=255)
    port: int = Field(default=8080, ge=0, le=65535)
    """0 = any free one."""
    allow_remote: bool = False
    require_key: bool = True
    host_names: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    log_prompts: bool = False
    limits: ServeLimits = ServeLimits()


class Serving(Message):
    """Where the HTTP API listens."""

    url: str
    """With /v1, as clients want it."""
    host: str
    port: int
    needs_key: bool
    key_file: str = ""
    """Where the key lies; empty = none is asked for."""
    is_remote: bool = False
    """Other machines may reach it."""


class ServeState(Message):
    """Whether the HTTP API listens."""

    serving: Serving | None


class HostStatus(Message):
    """What `luci host status` shows."""

    hello: Hello
    socket: str
    home: str
    uptime_s: float
    idle_exit_in_s: float | None
    """None = it does not leave by itself, or is busy."""
    models: tuple[ModelStatus, ...]
    jobs: tuple[JobRecord, ...]
    """Only those that run."""
    turns: tuple[TurnRecord, ...]
    """Only those that run."""
    serving: Serving | None = None
    """Where the HTTP API listens; None = nowhere."""
    n_clients: int
    """Requests that are being answered, streams included, without this one."""
    notices: tuple[str, ...] = ()
    """What a person should know, such as a database that was set aside."""


class SettingsInUse(Message):
    """What the host has read of the settings when it started. A newer host may say more."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    values: dict[str, dict[str, JsonValue]]
    """By section and name; only sections that it keeps until it is restarted."""
    profile: str = ""
    options: dict[str, str] = {}
    """Settings, as `section.name`, that an option of its start has overridden."""


class HostMetrics(Message):
    """Figures of the host process."""

    uptime_s: float
    rss_bytes: int
    cpu_s: float
    """User and system time of the process since it started."""
    n_requests: int
    """Answered since it started."""
    n_clients: int
    n_jobs_running: int
    n_turns_running: int
