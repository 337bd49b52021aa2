"""Turn a chat into the request that an engine understands."""

from __future__ import annotations

import json
from collections.abc import Sequence

from luci_tui.chat.model import ModelSpec, Turn
from luci_tui.engine import frames


def build_request(
    model: ModelSpec,
    info: frames.ModelInfo,
    turns: Sequence[Turn],
    *,
    raw: bool = False,
    enable_thinking: bool = True,
    media: Sequence[dict[str, object]] = (),
) -> frames.Generate:
    """Return the request for the answer to the last of `turns`, which is the user's.

    A model that answers with commands gets the last turn alone. A model without a chat template
    gets the last turn as plain text, as `raw` does for every model; earlier turns can't be told
    apart from it there. `media` are images and sounds as parts of OpenAI's messages, which stand
    before the text of the last turn.
    """
    if not turns or turns[-1].role != "user":
        msg = "the last turn must be the user's"
        raise ValueError(msg)
    shared = {
        "request_id": 0,
        "sampling": model.sampling,
        "max_tokens": model.max_tokens,
        "enable_thinking": enable_thinking,
    }
    if (raw or not info.has_chat_template) and not media:
        prompt = turns[-1].text
        if model.system:
            prompt = f"{model.system}\n\n{prompt}"
        return frames.Generate.model_validate({**shared, "prompt": prompt})
    asked = turns[-1:] if model.answers_with_command else turns
    messages: list[dict[str, object]] = [
        {"role": turn.role, "content": turn.text} for turn in asked
    ]
    if media:
        messages[-1]["content"] = [*media, {"type": "text", "text": turns[-1].text}]
    if model.system:
        messages.insert(0, {"role": "system", "content": model.system})
    return frames.Generate.model_validate(
        {**shared, "messages_json": json.dumps(messages, ensure_ascii=False)}
    )
