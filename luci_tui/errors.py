"""The one tree of errors that luci raises for failures of the world.

    LuciError
    ├── ConfigError      a setting or an option has a value that cannot be used
    ├── CatalogError     the catalogue names no such model
    ├── DownloadError    bytes could not be fetched or are not what was promised
    ├── GgufError        a file is not the GGUF it should be
    ├── EngineError      the native engine or its worker process failed
    │   ├── ModelLoadError   a model could not be loaded
    │   ├── RequestError     the engine refuses one request; others go on
    │   │   └── EndpointBusyError  a server elsewhere has no room for it now
    │   └── WorkerLostError  the worker process ended while it was needed
    ├── HostError        the background host cannot be started, reached or used
    ├── ChatError        a chat could not be read, changed, answered or stored
    ├── EvalError        a tier test could not be run
    └── TrainingError    a training step could not be run

Each message is one plain sentence: what failed, the value, what to do next. Misuse by the
programmer is ValueError or RuntimeError, never one of these.
"""


class LuciError(Exception):
    """Base of every failure that a user can act on."""

    code: str = "error"
    """Stable machine-readable word, used in frames, JSON output and tests."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        """One plain sentence for a person."""
        if code is not None:
            self.code = code


class ConfigError(LuciError):
    """A setting or an option has a value that cannot be used."""

    code = "config"


class CatalogError(LuciError):
    """The catalogue names no such model."""

    code = "catalog"


class DownloadError(LuciError):
    """Bytes could not be fetched or are not what was promised."""

    code = "download"


class GgufError(LuciError):
    """A file is not the GGUF it should be."""

    code = "gguf"


class EngineError(LuciError):
    """The native engine or its worker process failed."""

    code = "engine"


class ModelLoadError(EngineError):
    """A model could not be loaded."""

    code = "model_load"


class RequestError(EngineError):
    """The engine refuses or fails one request; the others go on."""

    code = "request"


class EndpointBusyError(RequestError):
    """A server elsewhere has no room for the request now."""

    code = "endpoint_busy"

    def __init__(
        self, message: str, *, code: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s
        """When the server wants to be asked again; None = it did not say."""


class WorkerLostError(EngineError):
    """The worker process ended, or stopped answering, while it was needed."""

    code = "worker_lost"


class HostError(LuciError):
    """The background host cannot be started, reached or used."""

    code = "host"


class ChatError(LuciError):
    """A chat could not be read, changed, answered or stored."""

    code = "chat"


class EvalError(LuciError):
    """A tier test could not be run."""

    code = "eval"


class TrainingError(LuciError):
    """A training step could not be run."""

    code = "training"
