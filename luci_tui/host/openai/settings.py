"""How the HTTP API is served: addresses, limits, timeouts."""

from __future__ import annotations

from pydantic import Field

from luci_tui.settings import ServeLimits


class ServeSettings(ServeLimits):
    """Limits and choices of one server; the defaults are safe on a person's own machine."""

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

    max_json_depth: int = Field(default=64, ge=4, le=512)
    max_header_bytes: int = Field(default=32 * 1024, ge=1024)
    """Request line and headers of one request."""
    max_choices: int = Field(default=16, ge=1)
    """Most answers to one request: prompts times `n`."""
    max_inputs: int = Field(default=2048, ge=1)
    """Most texts in one request for embeddings, and documents in one for ranks."""
    drain_s: float = Field(default=10.0, ge=0)
    """How long running answers may go on after `stop`."""

    log_prompts: bool = False
    """True = requests are logged with their text."""
