"""Count the tokens of messages with the model's own tokenizer, each message once."""

from __future__ import annotations

from collections.abc import Sequence

from luci_tui.chat.context import estimate, prompt_text
from luci_tui.chat.media import GUESSED_TOKENS
from luci_tui.chat.records import Message
from luci_tui.chat.seams import Lease
from luci_tui.engine import frames
from luci_tui.errors import RequestError


class TokenCounter:
    """Counts for one turn; what was counted in earlier turns comes from the store."""

    def __init__(self, lease: Lease, known: dict[str, int]) -> None:
        self._lease = lease
        self.known = known
        """Tokens by message id, those counted here included."""
        self.counted: dict[str, int] = {}
        """Those counted here."""
        self.can_count = True
        """False = the engine has no tokenizer to ask."""

    async def messages(self, messages: Sequence[Message]) -> dict[str, int]:
        """Give the tokens of messages by their ids."""
        for message in messages:
            if message.id not in self.known:
                n_tokens = await self._tokens(prompt_text(message))
                if n_tokens is not None:
                    self.known[message.id] = self.counted[message.id] = n_tokens
        return {
            message.id: self.known.get(message.id, estimate(prompt_text(message)))
            + GUESSED_TOKENS * len(message.media)
            for message in messages
        }

    async def text(self, text: str) -> int:
        """Give the tokens of a text that is no message."""
        n_tokens = await self._tokens(text) if text else 0
        return estimate(text) if n_tokens is None else n_tokens

    async def _tokens(self, text: str) -> int | None:
        if not self.can_count:
            return None
        try:
            answer = await self._lease.engine.ask(frames.Tokenize(request_id=0, text=text))
        except RequestError:
            self.can_count = False
            return None
        if not isinstance(answer, frames.Tokenized):
            self.can_count = False
            return None
        return len(answer.tokens)
