"""`luci serve`: the HTTP API of this host on a port, started and stopped by a front end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from luci_tui.errors import ConfigError, HostError
from luci_tui.host.api.messages import Serving, StartServing
from luci_tui.settings import ServeLimits

if TYPE_CHECKING:
    from luci_tui.host.openai.server import ApiServer
    from luci_tui.host.openai.services import ModelSource

SourceMaker = Callable[[], "ModelSource"]


class Serve:
    """At most one port of one host.

    FastAPI is imported with the first start, not with the host: it costs more than all the rest.

    Args:
        make_source: Gives the models that may be asked for.
    """

    def __init__(self, make_source: SourceMaker) -> None:
        self._make_source = make_source
        self._server: ApiServer | None = None
        self._serving: Serving | None = None
        self._limits = ServeLimits()
        self._changing = asyncio.Lock()

    @property
    def serving(self) -> Serving | None:
        """Where it listens; None = nowhere."""
        return self._serving

    async def start(self, wanted: StartServing) -> Serving:
        """Listen; asked for the same once more, it says where it listens already.

        Raises:
            ConfigError: the settings, the key or the address cannot be used.
            HostError: it listens elsewhere already.
        """
        async with self._changing:
            if self._serving is not None:
                return self._same(wanted, self._serving)
            server, key_file = await asyncio.to_thread(self._make, wanted)
            await server.start()
            self._server = server
            self._limits = wanted.limits
            self._serving = Serving(
                url=server.url,
                host=wanted.host,
                port=server.port,
                needs_key=wanted.require_key,
                key_file=key_file,
                is_remote=wanted.allow_remote,
            )
            return self._serving

    async def stop(self) -> Serving | None:
        """Take no new request and let running ones end; gives where it listened."""
        async with self._changing:
            served, self._serving = self._serving, None
            if self._server is not None:
                await self._server.stop()
                self._server = None
            return served

    def keepers(self) -> list[str]:
        """Say what of this keeps the host from leaving."""
        return [] if self._serving is None else [f"serving {self._serving.url}"]

    def _make(self, wanted: StartServing) -> tuple[ApiServer, str]:
        from pydantic import ValidationError

        from luci_tui.host.openai.key import KeyRing, key_file, load_keys
        from luci_tui.host.openai.limits import FairGate
        from luci_tui.host.openai.metrics import ApiMetrics
        from luci_tui.host.openai.server import ApiServer
        from luci_tui.host.openai.services import Services
        from luci_tui.host.openai.settings import ServeSettings

        try:
            settings = ServeSettings.model_validate(
                {**wanted.model_dump(exclude={"limits"}), **wanted.limits.model_dump()}
            )
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"])
            msg = f"{name} {first['input']} cannot be used: {first['msg'].lower()}."
            raise ConfigError(msg, code="invalid_request") from error
        path = key_file()
        keys = KeyRing(load_keys(path)) if settings.require_key else KeyRing()
        gate = FairGate(
            settings.max_running,
            settings.max_queued,
            settings.max_queued_per_client,
            settings.queue_timeout_s,
        )
        services = Services(self._make_source(), settings, gate, ApiMetrics(), keys)
        return ApiServer(services), str(path) if settings.require_key else ""

    def _same(self, wanted: StartServing, present: Serving) -> Serving:
        is_same = wanted.host == present.host and wanted.port in {present.port, 0}
        is_same = is_same and wanted.require_key == present.needs_key
        if is_same and wanted.limits == self._limits:
            return present
        raise HostError(
            f"This host serves {present.url} already. End that with `luci serve --stop` first.",
            code="busy",
        )
