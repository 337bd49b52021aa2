"""Let the model write a rolling summary of what no longer fits into its context."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import aclosing

from luci_tui.chat.context import prompt_text
from luci_tui.chat.counting import TokenCounter
from luci_tui.chat.naming import new_id, now_ms
from luci_tui.chat.records import Message, MessageKind, MessageState, Role
from luci_tui.chat.seams import Lease
from luci_tui.engine import frames
from luci_tui.errors import RequestError

_SYSTEM = "You write short, exact summaries of conversations."
_TASK = (
    "Summarise the conversation below for the assistant that goes on with it. Keep names, numbers,"
    " decisions, open questions and what the user wants. Write plain sentences and nothing else."
)
_EXTRA_TOKENS = 160
"""Of the task, the headings and the template; generous."""
_TOKENS_PER_SPEAKER = 8
_NAMES = {Role.USER: "User", Role.ASSISTANT: "Assistant", Role.TOOL: "Tool", Role.SYSTEM: "System"}


def summary_tokens(n_ctx: int) -> int:
    """Say how long a summary may be in a context of this size."""
    return max(64, min(512, n_ctx // 8))


async def summarise(
    lease: Lease, counter: TokenCounter, before: Message | None, messages: Sequence[Message]
) -> Message:
    """Write a summary of `messages` and of the summary before them.

    Args:
        lease: The model that writes it.
        counter: Counts the messages.
        before: The summary of what came before; None = there is none.
        messages: What it is to cover, in the order of the branch; at least one.

    Returns:
        The summary, whose parent is the last message that it covers; it is not stored yet.

    Raises:
        EngineError: the model failed, or wrote nothing.
    """
    n_ctx = lease.info.n_ctx
    max_tokens = summary_tokens(n_ctx)
    text = before.text if before else ""
    done: frames.Done | None = None
    room = n_ctx - 2 * max_tokens - _EXTRA_TOKENS
    for part in await _parts(counter, messages, room):
        text, done = await _write(lease, text, part, max_tokens)
    now = now_ms()
    return Message(
        id=new_id(),
        parent_id=messages[-1].id,
        role=Role.ASSISTANT,
        kind=MessageKind.SUMMARY,
        state=MessageState.COMPLETE,
        text=text,
        created_ms=now,
        finished_ms=now,
        model=lease.entry.name,
        usage=done.usage if done else None,
        timings=done.timings if done else None,
        finish_reason=done.finish_reason if done else None,
    )


async def _parts(counter: TokenCounter, messages: Sequence[Message], room: int) -> list[list[str]]:
    """Split what is to be summarised into parts that fit beside an earlier summary."""
    counts = await counter.messages(messages)
    parts: list[list[str]] = [[]]
    used = 0
    for message in messages:
        tokens = counts[message.id] + _TOKENS_PER_SPEAKER
        line = f"{_NAMES[message.role]}: {prompt_text(message)}"
        if tokens > room:
            line = f"{_NAMES[message.role]}: [a message of {counts[message.id]} tokens]"
            tokens = 4 * _TOKENS_PER_SPEAKER
        if parts[-1] and used + tokens > room:
            parts.append([])
            used = 0
        parts[-1].append(line)
        used += tokens
    return parts


async def _write(
    lease: Lease, before: str, lines: Sequence[str], max_tokens: int
) -> tuple[str, frames.Done | None]:
    earlier = f"Summary so far:\n{before}\n\n" if before else ""
    task = f"{_TASK}\n\n{earlier}Conversation:\n" + "\n\n".join(lines)
    messages = [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": task}]
    request = frames.Generate(
        request_id=0,
        messages_json=json.dumps(messages, ensure_ascii=False),
        enable_thinking=False,
        max_tokens=max_tokens,
        sampling=frames.SamplingParams(temperature=0.0),
    )
    pieces: list[str] = []
    done: frames.Done | None = None
    async with aclosing(lease.engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, frames.Delta):
                pieces.append(event.text)
            elif isinstance(event, frames.Done):
                done = event
    text = "".join(pieces).strip()
    if not text:
        raise RequestError(
            f"{lease.entry.name} wrote an empty summary. Ask another model, or let the oldest"
            " messages be left out.",
            code="empty_summary",
        )
    return text, done
