"""The chat: a transcript, a prompt, and the model between them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from enum import Enum, auto
from typing import TYPE_CHECKING, ClassVar, assert_never, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.css.query import NoMatches
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer, Static
from textual.worker import Worker, WorkerState

from luci_tui.errors import HostError, LuciError, WorkerLostError
from luci_tui.tui.keymap import KeyMap, binding, make_keymap
from luci_tui.tui.messages import AnswerBegan, AnswerEnded, ChatOpened
from luci_tui.tui.mode_list import TABS
from luci_tui.tui.screens.steady import Steady
from luci_tui.tui.services import Services
from luci_tui.tui.widgets.message import REDRAW_S, REDRAW_SLOW_S, Notice, Reply, UserMessage
from luci_tui.tui.widgets.modebar import ModeBar
from luci_tui.tui.widgets.prompt import PromptInput
from luci_tui.tui.widgets.status import EmptyState, StatusLine

if TYPE_CHECKING:
    from luci_tui.tui.conversation import AnswerEvent, Conversation, Resumed

log = logging.getLogger(__name__)

MAX_QUEUED = 8
"""Prompts that wait for their turn."""


class State(Enum):
    """What the model is doing."""

    LOADING = auto()
    READY = auto()
    ANSWERING = auto()
    DOWN = auto()
    """There is no model: loading failed or the worker ended."""


class ChatScreen(Steady, Screen[None]):
    """A chat with one model."""

    NAME: ClassVar = "chat"
    HELP: ClassVar = (
        "Type a request. Up and Down bring earlier prompts back. Under each reply stand the "
        "context in use, the speed, and the time to the first token (TTFT)."
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        binding("chat.stop", "stop"),
        binding("chat.new", "new_chat"),
        binding("chat.reload", "reload"),
        binding("chat.thinking", "thinking"),
        binding("chat.copy", "copy_reply"),
        binding("chat.up", "page(-1)"),
        binding("chat.down", "page(1)"),
    ]

    class CopyAsked(Message):
        """The person wants a text on the clipboard."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

    def __init__(
        self,
        connect: Callable[[], Conversation],
        services: Services | None = None,
        keys: KeyMap | None = None,
    ) -> None:
        super().__init__()
        self._connect = connect
        self._services = services or Services()
        self._keys = keys or make_keymap({})
        self._has_resumed = False
        self._is_stopping = False
        """The person asked for the end of the answer; it is not the screen that goes away."""
        self._conversation: Conversation | None = None
        self._state = State.LOADING
        self._words = "starting"
        self._queue: deque[str] = deque()
        self._answering: Worker[None] | None = None
        self._began_s = 0.0
        """When the answer began, by the monotonic clock."""

    @property
    def state(self) -> State:
        """What the model is doing now."""
        return self._state

    def compose(self) -> ComposeResult:
        """Lay out status, transcript, prompt and footer."""
        if self._services.link is not None:
            yield ModeBar(TABS, self.NAME)
        yield StatusLine()
        with VerticalScroll(id="transcript", can_focus=False):
            yield EmptyState()
        yield PromptInput(self._keys)
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Follow the transcript, and load the model when the first frame is drawn."""
        self._transcript.anchor()
        self.query_one(PromptInput).focus()
        self.call_after_refresh(self.load_model)

    def farewell(self) -> str:
        """Say what goes on without the screen; for the app, when it ends."""
        return "" if self._conversation is None else self._conversation.farewell()

    async def close(self) -> None:
        """Let go of the engine or the host; for the app, when it ends."""
        if self._conversation is not None:
            await self._conversation.close()

    # ---- the model

    async def talk_to(self, connect: Callable[[], Conversation]) -> None:
        """Begin a new chat with another model; the old chat is kept."""
        if self._state is State.ANSWERING:
            self.notify("An answer is being given. Esc stops it first.")
            return
        self._connect, self._has_resumed = connect, True
        await self.close()
        self._conversation = None
        await self._clear()
        self.load_model()

    @work(exclusive=True, group="model", exit_on_error=False)
    async def load_model(self) -> None:
        """Load the model and then answer what was typed meanwhile."""
        self._show_state(State.LOADING, "starting")
        try:
            if self._conversation is None:
                self._conversation = await asyncio.to_thread(self._connect)
            async with aclosing(self._conversation.load()) as events:
                async for event in events:
                    self._show_state(State.LOADING, f"loading {event.fraction:.0%}")
            resumed = None if self._has_resumed else await self._conversation.resume()
            self._has_resumed = True
        except LuciError as error:
            self._show_state(State.DOWN, "no model")
            await self._show_news()
            await self._add(Notice(f"{error.message} Ctrl-R tries again.", is_error=True))
            self.post_message(ChatOpened())
            return
        if self._conversation.answers_with_command:
            self.query_one(EmptyState).show_examples()
        self._show_state(State.READY, "ready")
        if resumed is not None:
            await self._show_resumed(resumed)
        await self._show_news()
        self.post_message(ChatOpened())
        self._send_next()

    async def show_notes(self, *widgets: Widget) -> None:
        """Show something of the app itself; an empty chat still says what to do."""
        await self._transcript.mount_all(widgets)

    async def _show_news(self) -> None:
        """Show what the host has to say; an empty chat still says what to do."""
        if self._conversation is not None:
            await self.show_notes(*(Notice(text) for text in await self._conversation.news()))

    async def _show_resumed(self, resumed: Resumed) -> None:
        """Show a chat that was there before, and go on with its answer if one is being given."""
        conversation = self._conversation
        assert conversation is not None
        for message in resumed.messages:
            if message.is_user:
                await self._add(UserMessage(message.text))
                continue
            reply = self._new_reply(conversation)
            await self._add(reply)
            reply.add(message.text, message.reasoning)
            await reply.finish(message.truth, list(message.marks))
        if resumed.is_answering:
            self._state = State.ANSWERING
            self._answering = self.answer(None)

    # ---- one answer

    async def on_prompt_input_sent(self, message: PromptInput.Sent) -> None:
        """Answer the prompt, or keep it until the model is free."""
        if self._state is State.DOWN:
            await self._add(Notice("No model is loaded. Ctrl-R loads it.", is_error=True))
            self.query_one(PromptInput).text = message.text
            return
        if len(self._queue) >= MAX_QUEUED:
            await self._add(Notice(f"{MAX_QUEUED} prompts wait already. Esc stops the answer."))
            self.query_one(PromptInput).text = message.text
            return
        self._queue.append(message.text)
        if self._state is State.READY:
            self._send_next()
        else:
            self._show_queue()

    def _send_next(self) -> None:
        if self._queue and self._state is State.READY:
            self._state = State.ANSWERING
            self._answering = self.answer(self._queue.popleft())
        self._show_queue()

    @work(exclusive=True, group="answer", exit_on_error=False)
    async def answer(self, prompt: str | None) -> None:
        """Show the prompt and the answer as it grows; stopping it keeps what came.

        Args:
            prompt: None = the answer that is being given already.
        """
        conversation = self._conversation
        assert conversation is not None
        self._show_state(State.ANSWERING, "reading the prompt")
        self._began_s = time.monotonic()
        self.post_message(AnswerBegan())
        reply = self._new_reply(conversation)
        if prompt is None:
            events = conversation.follow()
        else:
            await self._add(UserMessage(prompt))
            events = conversation.answer(prompt)
        await self._add(reply)
        self._transcript.anchor()
        outcome = State.READY
        try:
            async with aclosing(events):
                async for event in events:
                    await self._show(reply, event)
        except asyncio.CancelledError:
            # Esc ends the answer; a screen that goes away leaves it to whoever gives it.
            if self._is_stopping:
                self._is_stopping = False
                await conversation.stop()
                await reply.finish("", ["stopped by you; this is not the whole answer"])
                self._after_answer(State.READY)
            raise
        except LuciError as error:
            outcome = await self._show_failure(reply, error)
        self._after_answer(outcome)

    async def _show(self, reply: Reply, event: AnswerEvent) -> None:
        from luci_tui.tui.conversation import AnswerDone, PromptShown, TextAdded

        match event:
            case PromptShown(n_done, n_total):
                self._show_state(State.ANSWERING, f"reading the prompt {n_done}/{n_total}")
            case TextAdded(text, reasoning):
                self._show_state(State.ANSWERING, "answering")
                reply.add(text, reasoning)
            case AnswerDone(truth, marks):
                await reply.finish(truth, marks)
            case _:
                assert_never(event)

    def _new_reply(self, conversation: Conversation) -> Reply:
        redraw_s = REDRAW_SLOW_S if self._services.is_slow else REDRAW_S
        return Reply(is_plain=conversation.answers_with_command, redraw_s=redraw_s)

    async def _show_failure(self, reply: Reply, error: LuciError) -> State:
        has_text = bool(reply.text.strip())
        await reply.finish("", ["the answer broke off here"] if has_text else [])
        if isinstance(error, WorkerLostError | HostError):
            await self._add(Notice(f"{error.message} Ctrl-R loads the model again.", is_error=True))
            return State.DOWN
        hint = " Ctrl-N starts a new chat." if error.code == "context_length_exceeded" else ""
        await self._add(Notice(f"{error.message}{hint}", is_error=True))
        return State.READY

    def _after_answer(self, state: State) -> None:
        self._answering = None
        self.post_message(AnswerEnded(time.monotonic() - self._began_s))
        self._show_state(state, "ready" if state is State.READY else "no model")
        self._send_next()

    # ---- keys

    def action_stop(self) -> None:
        """Stop the answer; prompts that wait go back into the input."""
        if self._queue:
            prompt = self.query_one(PromptInput)
            prompt.text = "\n".join([*self._queue, *([prompt.text] if prompt.text else [])])
            prompt.move_cursor(prompt.document.end)
            self._queue.clear()
            self._show_queue()
        if self._answering is not None:
            self._is_stopping = True
            self._answering.cancel()

    async def action_new_chat(self) -> None:
        """Forget the chat and clear the transcript."""
        if self._state is State.ANSWERING:
            self.notify("Esc stops the answer first.")
            return
        if self._conversation is not None:
            self._conversation.forget()
        await self._clear()

    def action_reload(self) -> None:
        """Load the model again, after a failure or to start afresh."""
        if self._state in (State.LOADING, State.ANSWERING):
            self.notify("The model is busy. Esc stops the answer.")
            return
        self.load_model()

    def action_thinking(self) -> None:
        """Show or hide the thinking of the last reply."""
        if (reply := self._last_reply()) is not None:
            reply.toggle_thinking()

    def action_copy_reply(self) -> None:
        """Copy the last reply through the terminal."""
        reply = self._last_reply()
        if reply is None or not reply.text:
            self.notify("There is no reply to copy yet.")
            return
        self.post_message(self.CopyAsked(reply.text.strip()))

    def action_page(self, direction: int) -> None:
        """Scroll the transcript by a page; at its end it follows again."""
        transcript = self._transcript
        if direction < 0:
            transcript.scroll_page_up(animate=False)
        else:
            transcript.scroll_page_down(animate=False)

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """Tell of a fault in this program, and write where it is to the log."""
        if event.state is not WorkerState.ERROR:
            return
        # Textual leaves the worker's result type open.
        worker = cast("Worker[object]", event.worker)  # pyright: ignore[reportUnknownMemberType]
        error = worker.error
        log.error("screen worker %s failed", worker.name, exc_info=error)
        self._answering = None
        self._show_state(State.DOWN, "no model")
        self.run_worker(
            self._add(
                Notice(
                    f"Something in luci itself failed: {error!r}. The log has the details. "
                    "Ctrl-R loads the model again.",
                    is_error=True,
                )
            ),
            exit_on_error=False,
        )

    # ---- looks

    @property
    def _transcript(self) -> VerticalScroll:
        return self.query_one("#transcript", VerticalScroll)

    def _last_reply(self) -> Reply | None:
        try:
            return self.query(Reply).last()
        except NoMatches:
            return None

    async def _clear(self) -> None:
        await self._transcript.query("UserMessage, Reply, Notice").remove()
        self.query_one(EmptyState).display = True

    async def _add(self, *widgets: Static | Reply) -> None:
        self.query_one(EmptyState).display = False
        await self._transcript.mount_all(widgets)

    def _show_state(self, state: State, words: str) -> None:
        self._state = state
        self._words = words
        conversation = self._conversation
        about = conversation.describe() if conversation is not None else "luci"
        self.query_one(StatusLine).show(words, len(self._queue), about)

    def _show_queue(self) -> None:
        self._show_state(self._state, self._words)
