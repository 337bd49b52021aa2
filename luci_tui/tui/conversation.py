"""What the chat screen talks to, and the simplest of it: a chat with an engine of one's own.

`tui/host_conversation.py` is the other one, in which the chat belongs to the host. Neither knows a
widget. The modules import the engine's messages, which takes longer than the first frame may; the
screen imports them when it is drawn.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from luci_tui.chat.answer import truth_line
from luci_tui.chat.model import Turn
from luci_tui.chat.request import build_request
from luci_tui.engine import frames
from luci_tui.engine.media import media_part
from luci_tui.errors import EngineError
from luci_tui.host.wiring import Backend
from luci_tui.tui.chat.shown import About, CallShown, Resumed, Shown
from luci_tui.tui.chat_settings import Beginning, ChatSettings
from luci_tui.tui.draft import Attachment


@dataclass(frozen=True)
class LoadingShown:
    """The model is on its way into memory."""

    fraction: float


@dataclass(frozen=True)
class AnswerBegun:
    """The prompt is stored, and an answer without text below it."""

    prompt_id: str
    reply_id: str


@dataclass(frozen=True)
class PromptShown:
    """The prompt is being computed."""

    n_done: int
    n_total: int


@dataclass(frozen=True)
class TextAdded:
    """A piece of the answer came."""

    text: str
    reasoning: str


@dataclass(frozen=True)
class CallsShown:
    """The tools that the model asks for, as far as they are written."""

    calls: tuple[CallShown, ...]


@dataclass(frozen=True)
class AnswerDone:
    """The answer is complete."""

    truth: str
    marks: list[str]
    """Sentences that a reader must not miss, e.g. a doubtful argument."""
    about: Callable[[], About] | None = None
    """Gives more about it; None = nothing more is known."""


AnswerEvent = AnswerBegun | PromptShown | TextAdded | CallsShown | AnswerDone


class Keeper(Protocol):
    """Whoever keeps a chat with all its branches. Every method raises LuciError where it fails."""

    async def messages(self) -> tuple[Shown, ...]:
        """Give the active branch."""
        ...

    async def select(self, message_id: str) -> tuple[Shown, ...]:
        """Make the newest branch through a message the active one, and give it."""
        ...

    async def pin(self, message_id: str, *, is_pinned: bool) -> None:
        """Keep a message in every prompt, or no longer."""
        ...

    async def rate(self, message_id: str, rating: int, note: str) -> None:
        """Rate a message: 1 = good, -1 = bad, 0 = not rated."""
        ...

    async def export(self, form: str) -> bytes:
        """Give the chat as a file; `form` as in host.chat_backend.ExportFormat."""
        ...

    async def medium(self, message_id: str, place: int) -> bytes:
        """Give what a picture or sound of a message holds; `place` as in PictureShown."""
        ...


class Conversation(Protocol):
    """One chat with one model."""

    @property
    def keeper(self) -> Keeper | None:
        """Give whoever keeps this chat; None = nobody does, or it has not begun."""
        ...

    @property
    def answers_with_command(self) -> bool:
        """Tell whether an answer is one bare shell command."""
        ...

    def describe(self) -> str:
        """Return the model in one line."""
        ...

    def load(self) -> AsyncGenerator[LoadingShown]:
        """Make the model ready; raises LuciError where that cannot be."""
        ...

    async def resume(self) -> Resumed | None:
        """Give the chat to go on with; None = a new one begins with the first prompt."""
        ...

    def answer(
        self,
        prompt: str,
        after: str | None = None,
        media: Sequence[Attachment] = (),
        media_of: str = "",
    ) -> AsyncGenerator[AnswerEvent]:
        """Stream the answer to a prompt; both are remembered, whatever came of the answer.

        Args:
            prompt: What the person says.
            after: The message before it; None = the last of the branch, "" = none.
            media: Pictures and sounds that go with it.
            media_of: An earlier message whose pictures and sounds go with it, too.
        """
        ...

    def again(self, message_id: str) -> AsyncGenerator[AnswerEvent]:
        """Stream another answer, beside one that is there, or to a message that has none."""
        ...

    def follow(self) -> AsyncGenerator[AnswerEvent]:
        """Stream the answer that is being given already; see `resume`."""
        ...

    async def stop(self) -> None:
        """End the answer whose stream was just closed; what came of it stays."""
        ...

    def forget(self) -> None:
        """Start a new chat."""
        ...

    async def news(self) -> list[str]:
        """Give the sentences that the person should read now; each is given once."""
        ...

    def farewell(self) -> str:
        """Say what goes on without the screen, in one sentence; empty = nothing."""
        ...

    async def close(self) -> None:
        """Let go of the engine or the host."""
        ...

    @property
    def settings(self) -> ChatSettings | None:
        """Return what changes how the chat is asked; None = nothing does."""
        ...

    @property
    def n_ctx(self) -> int:
        """Return the tokens of context of the loaded model; 0 = not known."""
        ...

    def cannot_take(self, attachment: Attachment) -> str:
        """Say what the loaded model cannot be given of a file, in a word; empty = it may."""
        ...

    def begin_with(self, start: Beginning) -> None:
        """Say what the chat begins with that the next prompt begins."""
        ...

    def from_here(self) -> Beginning:
        """Give what another chat begins with that shall go on from where this one is."""
        ...

    async def put_away(self) -> None:
        """Take the chat out of the list of chats; it is kept."""
        ...


@dataclass
class OwnConversation:
    """The turns so far, and an engine of one's own that continues them; see `Conversation`."""

    backend: Backend
    info: frames.ModelInfo | None = None
    """None = no model is loaded."""
    turns: list[Turn] = field(default_factory=list[Turn])
    keeper: Keeper | None = None
    """Nobody keeps it."""

    @property
    def answers_with_command(self) -> bool:
        """Tell whether an answer is one bare shell command."""
        return self.backend.model.answers_with_command

    def describe(self) -> str:
        """Return the model in one line."""
        label = self.backend.model.label
        if self.info is None:
            return label
        return f"{label} · {self.info.description} · context {self.info.n_ctx}"

    async def load(self) -> AsyncGenerator[LoadingShown]:
        """Load the model, in place of the one before.

        Raises:
            EngineError: it could not be loaded.
        """
        self.info = None
        async with aclosing(self.backend.engine.load(self.backend.model.load)) as events:
            async for event in events:
                if isinstance(event, frames.Loaded):
                    self.info = event.info
                    return
                yield LoadingShown(event.fraction)
        msg = "Loading the model ended without an answer."
        raise EngineError(msg)

    async def answer(
        self,
        prompt: str,
        after: str | None = None,
        media: Sequence[Attachment] = (),
        media_of: str = "",
    ) -> AsyncGenerator[AnswerEvent]:
        """Stream the answer to a prompt and remember both; it always comes last.

        What came before a failure or a stop is remembered too; a prompt without any answer is
        forgotten, so that no model sees two of the person's turns in a row.

        Raises:
            EngineError: the request failed or the worker ended.
        """
        del after, media_of  # there are no branches here, so no message is another's version
        if self.info is None:
            msg = "No model is loaded."
            raise EngineError(msg)
        turns = [*self.turns, Turn("user", prompt)]
        parts = [part for one in media if (part := media_part(one.content)) is not None]
        request = build_request(self.backend.model, self.info, turns, media=parts)
        text: list[str] = []
        is_complete = False
        try:
            async with aclosing(self.backend.engine.generate(request)) as events:
                async for event in events:
                    match event:
                        case frames.PromptProgress():
                            yield PromptShown(event.n_done, event.n_total)
                        case frames.Delta():
                            text.append(event.text)
                            yield TextAdded(event.text, event.reasoning)
                        case frames.Done():
                            is_complete = True
                            yield self._finished(prompt, "".join(text), event)
            if not is_complete:
                msg = "The engine ended the answer without saying why; it may be incomplete."
                raise EngineError(msg)
        finally:
            if "".join(text).strip():
                self.turns = [*turns, Turn("assistant", "".join(text))]

    async def again(self, message_id: str) -> AsyncGenerator[AnswerEvent]:
        """Refuse: there are no branches here."""
        msg = f"This chat is not kept, so message {message_id} has no other answers."
        raise EngineError(msg)
        yield

    async def resume(self) -> Resumed | None:
        """Give what was said so far."""
        said = tuple(Shown(turn.role == "user", turn.text) for turn in self.turns)
        return Resumed(said, is_answering=False) if said else None

    async def follow(self) -> AsyncGenerator[AnswerEvent]:
        """Give nothing: no answer was begun before."""
        return
        yield

    async def stop(self) -> None:
        """Do nothing: closing the stream has ended the answer."""

    def forget(self) -> None:
        """Start a new chat."""
        self.turns.clear()

    async def news(self) -> list[str]:
        """Give nothing: there is nobody else who has something to say."""
        return []

    def farewell(self) -> str:
        """Nothing goes on without the screen."""
        return ""

    async def close(self) -> None:
        """Let the engine leave."""
        with suppress(EngineError):
            await self.backend.engine.close()

    @property
    def settings(self) -> ChatSettings | None:
        """Nothing: what is asked here belongs to whoever made the backend."""
        return None

    @property
    def n_ctx(self) -> int:
        """Return the tokens of context of the loaded model; 0 = not known."""
        return 0 if self.info is None else self.info.n_ctx

    def cannot_take(self, attachment: Attachment) -> str:
        """Say what the loaded model cannot be given of a file, in a word; empty = it may."""
        if self.info is None:
            return ""
        return attachment.beyond(images=self.info.takes_images, audio=self.info.takes_audio)

    def begin_with(self, start: Beginning) -> None:
        """Say how the model is asked from here on."""
        changes = start.parameters.get("sampling_changes")
        model = self.backend.model
        sampling = model.sampling.with_changes(changes if isinstance(changes, dict) else {})
        model = replace(model, system=start.system, sampling=sampling)
        self.backend = replace(self.backend, model=model)

    def from_here(self) -> Beginning:
        """Give nothing: nobody else has what was said."""
        return Beginning()

    async def put_away(self) -> None:
        """Do nothing: the chat is in no list."""

    def _finished(self, prompt: str, text: str, done: frames.Done) -> AnswerDone:
        marks: list[str] = []
        if self.backend.review is not None:
            doubtful = self.backend.review(prompt, text)
            marks += [f"doubtful: '{argument}' is not in your request" for argument in doubtful]
        if done.usage.dropped_tokens:
            marks.append(f"{done.usage.dropped_tokens} tokens did not fit and were left out")
        if done.finish_reason is frames.FinishReason.LENGTH:
            marks.append("the answer met the end of the context; Ctrl-N starts a new chat")
        if not text.strip():
            marks.append("the model answered nothing")
        return AnswerDone(truth_line(done), marks)
