"""How the HTTP API is served: addresses, limits, timeouts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024 * 1024


class ServeSettings(BaseModel):
    """Limits and choices of `luci serve`; the defaults are safe on a person's own machine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    """0 = any free port."""
    allow_remote: bool = False
    """True = an address other than loopback may be used; it also needs a key."""
    require_key: bool = True
    """False = no API key is asked for; loopback only."""
    host_names: tuple[str, ...] = ()
    """Further values of the Host header, "name" (any port) or "name:port"."""
    origins: tuple[str, ...] = ()
    """Further origins of web pages that may call, "https://name:port"."""

    max_body_bytes: int = Field(default=32 * MIB, ge=1024)
    max_json_depth: int = Field(default=64, ge=4, le=512)
    max_header_bytes: int = Field(default=32 * 1024, ge=1024)
    """Request line and headers of one request."""
    max_connections: int = Field(default=256, ge=1)

    max_running: int = Field(default=16, ge=1)
    """Answers that run at once, over all models."""
    max_queued: int = Field(default=128, ge=0)
    """Requests that wait, over all clients."""
    max_queued_per_client: int = Field(default=64, ge=0)
    max_choices: int = Field(default=16, ge=1)
    """Most answers to one request: prompts times `n`."""
    max_inputs: int = Field(default=2048, ge=1)
    """Most texts in one request for embeddings, and documents in one for ranks."""

    header_timeout_s: float = Field(default=10.0, gt=0)
    """From the first byte of a request, or from the connection, to the end of its headers."""
    body_timeout_s: float = Field(default=30.0, gt=0)
    """From the end of the headers to the end of the body."""
    keep_alive_s: float = Field(default=30.0, gt=0)
    """How long an idle connection stays open."""
    queue_timeout_s: float = Field(default=300.0, gt=0)
    """How long a request waits for its turn."""
    write_timeout_s: float = Field(default=60.0, gt=0)
    """How long a client may leave what it was sent unread."""
    drain_s: float = Field(default=10.0, ge=0)
    """How long running answers may go on after `stop`."""

    log_prompts: bool = False
    """True = requests are logged with their text."""
