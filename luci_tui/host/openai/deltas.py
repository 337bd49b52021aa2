"""What an engine's events mean to more than one API."""

from __future__ import annotations

from collections.abc import Mapping

from luci_tui.engine import frames
from luci_tui.host.openai.answers import Answering, find_entry
from luci_tui.host.openai.errors import ApiError
from luci_tui.host.openai.services import Services


def reasoning_tokens(delta: frames.Delta) -> int:
    """Return how many tokens of a delta are thinking.

    Exact while a delta is all thinking or has none. The one at the border holds both, and its
    tokens are divided by the length of the texts.
    """
    if not delta.reasoning:
        return 0
    n_other = len(delta.text) + sum(len(call.arguments) for call in delta.tool_calls)
    share = len(delta.reasoning) / (len(delta.reasoning) + n_other)
    return round(len(delta.tokens) * share)


def require_next_call(piece: frames.ToolCallDelta, n_calls: int) -> bool:
    """Tell whether a piece begins another tool call; the others go to the last one.

    Raises:
        RuntimeError: it belongs to a call that ended. No engine of luci sends such a piece, and
            leaving it out would change the call.
    """
    if piece.index >= n_calls:
        return True
    if piece.index < n_calls - 1:
        msg = f"a piece of tool call {piece.index} came after call {n_calls - 1} had begun"
        raise RuntimeError(msg)
    return False


def fallback_name(services: Services, asked: str, answering: Answering) -> str | None:
    """Return the name of the model that answers in another's place; None = it is the one asked."""
    return answering.name if answering.name != find_entry(services, asked).name else None


def renamed(error: ApiError, params: Mapping[str, str]) -> ApiError:
    """Return an error about a field of chat completions as one about the field of another API."""
    if error.param is None or error.param not in params:
        return error
    return ApiError(
        error.status,
        error.code,
        error.message,
        param=params[error.param],
        retry_after_s=error.retry_after_s,
        type=error.type,
    )
