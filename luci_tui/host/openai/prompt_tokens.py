"""How many tokens a prompt has, as the engine itself counts them.

The engine renders the chat template and counts, but has no command that does only that. So it is
asked for an answer of one token: a short prompt is computed for it (and stays in the KV cache for
the answer that most likely follows), a long one is given up as soon as the engine says how long
it is, and one that the context cannot hold is refused with its length.
"""

from __future__ import annotations

import re
from contextlib import aclosing
from dataclasses import replace

from luci_tui.engine import frames
from luci_tui.host.openai.answers import Prompt, chat_command, open_session
from luci_tui.host.openai.errors import ApiError
from luci_tui.host.openai.services import Services

_REFUSED = re.compile(r"The prompt has (\d+) tokens")
"""Both engines of luci begin their refusal so; tests/contract holds them to it."""


async def count_prompt_tokens(services: Services, prompt: Prompt) -> int:
    """Return the exact number of tokens that a prompt has for its model.

    Raises:
        ApiError: the prompt is refused for another reason than its length.
    """
    wanted = replace(prompt, max_tokens=1, stop=())
    async with open_session(services, prompt.model, prompt.client) as session:
        command = chat_command(wanted, session.lease.entry)
        try:
            async with aclosing(session.generate(command)) as events:
                async for event in events:
                    match event:
                        case frames.PromptProgress():
                            return event.n_total
                        case frames.Done():
                            return event.usage.prompt_tokens
                        case frames.Delta():
                            pass
        except ApiError as error:
            found = _REFUSED.match(error.message)
            if error.code == "context_length_exceeded" and found is not None:
                return int(found[1])
            raise
    raise RuntimeError(f"{prompt.model} ended an answer without a word")
