"""A chat as Markdown for people."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from luci_tui.chat.records import ChatSession, Message, MessageKind, MessageState, Role
from luci_tui.chat.sanitize import sanitize
from luci_tui.units import format_count

_SPEAKERS = {Role.USER: "You", Role.SYSTEM: "System", Role.TOOL: "Tool"}
_ENDINGS = {
    MessageState.STREAMING: "this answer is still being written",
    MessageState.CANCELLED: "stopped",
    MessageState.INTERRUPTED: "broken off when luci ended",
}


def export_markdown(
    session: ChatSession, messages: Sequence[Message], *, with_branches: bool = False
) -> str:
    """Return a chat as Markdown.

    Args:
        session: The chat.
        messages: All of them, each behind its parent.
        with_branches: True = also what lies beside the active branch, one section for each.
    """
    texts = [message for message in messages if message.kind is MessageKind.TEXT]
    known = {message.id: message for message in texts}
    active = _branch(known, session.active_leaf_id)
    parts = [f"# {sanitize(session.title) or 'Untitled chat'}\n", _facts(session)]
    if session.system:
        parts.append(f"## System message\n\n{_body(session.system)}\n")
    parts += [_section(message) for message in active]
    if with_branches:
        parts += _branches(texts, {message.id for message in active})
    return "\n".join(parts)


def _facts(session: ChatSession) -> str:
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(session.created_ms / 1000))
    model = f", model {sanitize(session.model)}" if session.model else ""
    return f"*Begun {day}{model}, chat {session.id}*\n"


def _branch(known: dict[str, Message], leaf_id: str | None) -> list[Message]:
    branch: list[Message] = []
    while leaf_id is not None and leaf_id in known:
        branch.insert(0, known[leaf_id])
        leaf_id = known[leaf_id].parent_id
    return branch


def _branches(texts: Sequence[Message], shown: set[str]) -> list[str]:
    """Give what is not shown yet: one section from each place where it leaves what is shown."""
    parts: list[str] = []
    families: dict[str | None, list[Message]] = {}
    for message in texts:
        families.setdefault(message.parent_id, []).append(message)
    for message in texts:
        if message.id in shown:
            continue
        origin = f"after message {message.parent_id}" if message.parent_id else "from the start"
        parts.append(f"---\n\n# Another branch, {origin}\n")
        walk: Message | None = message
        while walk is not None:
            parts.append(_section(walk))
            shown.add(walk.id)
            walk = next((one for one in families.get(walk.id, []) if one.id not in shown), None)
    return parts


def _section(message: Message) -> str:
    speaker = _SPEAKERS.get(message.role) or sanitize(message.model) or "Assistant"
    parts = [f"## {speaker}\n"]
    if message.reasoning:
        parts.append(
            f"<details><summary>Thinking</summary>\n\n{_body(message.reasoning)}\n\n</details>\n"
        )
    if message.media:
        names = ", ".join(sanitize(medium.words) for medium in message.media)
        parts.append(f"*(attached: {names})*\n")
    if message.text:
        parts.append(f"{_body(message.text)}\n")
    for call in message.tool_calls:
        fence = _fence(call.arguments)
        parts.append(
            f"Calls `{sanitize(call.name)}`:\n\n{fence}json\n{sanitize(call.arguments)}\n{fence}\n"
        )
    notes = [_ENDINGS.get(message.state, "")]
    if message.state is MessageState.FAILED:
        notes.append(f"failed: {sanitize(message.failure)}")
    if message.context is not None and message.context.n_left_out:
        left_out = format_count(message.context.n_left_out, "earlier message")
        notes.append(f"{left_out} did not fit into the prompt")
    notes += [f"doubtful: {sanitize(argument)}" for argument in message.doubtful]
    said = "; ".join(note for note in notes if note)
    if said:
        parts.append(f"*({said})*\n")
    return "\n".join(parts)


def _body(text: str) -> str:
    """Give a text whose open code block cannot swallow what follows."""
    clean = sanitize(text).rstrip()
    open_fence = ""
    for line in clean.splitlines():
        found = re.match(r" {0,3}(`{3,}|~{3,})", line)
        if found is None:
            continue
        if not open_fence:
            open_fence = found[1]
        elif found[1].startswith(open_fence) and not line.strip().strip(open_fence[0]):
            open_fence = ""
    return f"{clean}\n{open_fence}" if open_fence else clean


def _fence(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    return "`" * max(3, longest + 1)
