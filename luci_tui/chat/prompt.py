"""Turn what a prompt keeps of a chat into the request that an engine understands."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from luci_tui.chat.model import ModelSpec, Turn
from luci_tui.chat.records import ChatSession, Message, Parameters, Role, ToolCall
from luci_tui.chat.request import build_request
from luci_tui.chat.seams import Lease, TurnOptions
from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec


@dataclass(frozen=True)
class Given:
    """What a model gets of the pictures and sounds of one message."""

    parts: tuple[dict[str, object], ...]
    """As in OpenAI's messages."""
    names: tuple[str, ...]
    """Those that are named instead."""

    def content(self, text: str) -> str | list[dict[str, object]]:
        """Give the content of the message with its text."""
        said = "\n\n".join([*(f"[{name} was shown here]" for name in self.names), text])
        return [*self.parts, {"type": "text", "text": said}] if self.parts else said


SUMMARY_HEADING = "Summary of the earlier conversation:"


def effective(session: ChatSession, options: TurnOptions) -> Parameters:
    """Give the parameters of one turn: the chat's, and what the turn wants otherwise."""
    changes = {
        "sampling": options.sampling,
        "max_tokens": options.max_tokens,
        "policy": options.policy,
        "enable_thinking": options.enable_thinking,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    return session.parameters.model_copy(update=given)


def system_text(session: ChatSession, lease: Lease, summary: Message | None = None) -> str:
    """Give the system message: the chat's or the entry's, and the summary behind it."""
    parts = [session.system or lease.entry.system]
    if summary is not None:
        parts.append(f"{SUMMARY_HEADING}\n{summary.text}")
    return "\n\n".join(part for part in parts if part)


def sampling_of(
    parameters: Parameters, options: TurnOptions, lease: Lease
) -> frames.SamplingParams:
    """Give the sampler chain of one turn."""
    sampling = parameters.sampling or lease.entry.sampling
    if options.sampling is None and parameters.sampling_changes:
        sampling = sampling.with_changes(parameters.sampling_changes)
    if options.seed is None:
        return sampling
    return sampling.model_copy(update={"seed": options.seed})


def answers_alone(lease: Lease) -> str:
    """Say why a model gets the last message alone, in one sentence; empty = it gets the chat."""
    if lease.entry.answers_with_command:
        return f"{lease.entry.name} answers each request alone, so no earlier message was sent."
    if not lease.info.has_chat_template:
        return f"{lease.entry.name} has no chat template, so the last message was sent alone."
    return ""


def request_of(
    session: ChatSession,
    options: TurnOptions,
    lease: Lease,
    kept: Sequence[Message],
    summary: Message | None,
    media: Mapping[str, Given] | None = None,
) -> frames.Generate:
    """Make the request for the answer to the last message of `kept`."""
    parameters = effective(session, options)
    sampling = sampling_of(parameters, options, lease)
    system = system_text(session, lease, summary)
    if answers_alone(lease):
        spec = ModelSpec(
            label=lease.entry.name,
            load=LoadSpec(model_path=lease.info.model_path),
            sampling=sampling,
            system=system,
            answers_with_command=lease.entry.answers_with_command,
            max_tokens=parameters.max_tokens,
        )
        turn = Turn(kept[-1].role, kept[-1].text)
        given = (media or {}).get(kept[-1].id)
        return build_request(
            spec,
            lease.info,
            [turn],
            enable_thinking=parameters.enable_thinking,
            media=given.parts if given is not None else (),
        )
    messages = chat_messages(kept, media)
    if system:
        messages.insert(0, {"role": "system", "content": system})
    return frames.Generate(
        request_id=0,
        messages_json=json.dumps(messages, ensure_ascii=False),
        tools_json=options.tools_json,
        tool_choice=options.tool_choice,
        enable_thinking=parameters.enable_thinking,
        max_tokens=parameters.max_tokens,
        sampling=sampling,
    )


def chat_messages(
    messages: Sequence[Message], media: Mapping[str, Given] | None = None
) -> list[dict[str, object]]:
    """Make OpenAI's messages.

    Neighbours of one role, such as two prompts of which the first was never answered, become one
    message, because many templates accept nothing else.
    """
    made: list[dict[str, object]] = []
    for message in messages:
        before = made[-1] if made else {}
        is_plain = message.role in (Role.USER, Role.SYSTEM) or (
            message.role is Role.ASSISTANT and not message.tool_calls and "tool_calls" not in before
        )
        given = (media or {}).get(message.id)
        content = message.text if given is None else given.content(message.text)
        if is_plain and before.get("role") == message.role.value:
            before["content"] = _joined(before["content"], content)
        else:
            made.append(_chat_message(message, content))
    return made


def _joined(before: object, after: str | list[dict[str, object]]) -> object:
    """Put the contents of two messages behind each other."""
    if isinstance(before, str) and isinstance(after, str):
        return f"{before}\n\n{after}"
    return [*_parts(before), *_parts(after)]


def _parts(content: object) -> list[dict[str, object]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return cast("list[dict[str, object]]", content)


def _chat_message(message: Message, content: object) -> dict[str, object]:
    made: dict[str, object] = {"role": message.role.value, "content": content}
    if message.tool_calls:
        made["tool_calls"] = [_tool_call(call) for call in message.tool_calls]
    if message.role is Role.TOOL:
        made["tool_call_id"] = message.tool_call_id
    return made


def _tool_call(call: ToolCall) -> dict[str, object]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    }
