"""The way from a request to the host that answers it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from starlette.requests import Request

if TYPE_CHECKING:
    from luci_tui.host.state import HostState


def state_of(request: Request) -> HostState:
    """Return the host of a request."""
    return cast("HostState", request.app.state.host)
