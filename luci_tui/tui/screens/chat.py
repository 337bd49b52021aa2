"""The chat: a transcript, a prompt, and the model between them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from enum import Enum, auto
from typing import TYPE_CHECKING, ClassVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.worker import Worker, WorkerState

from luci_tui.errors import HostError, LuciError, WorkerLostError
from luci_tui.tui.chat.asking import Ask
from luci_tui.tui.chat.desk import MessageDesk
from luci_tui.tui.chat.entries import (
    MessageEntry,
    NoticeEntry,
    ReplyEntry,
    UserEntry,
    pictures_of,
)
from luci_tui.tui.chat.finding import find_again, is_lost
from luci_tui.tui.chat.messages import ChatTranscript
from luci_tui.tui.chat.shown import Resumed, Shown
from luci_tui.tui.commands.desk import CommandDesk
from luci_tui.tui.draft import Draft, merged
from luci_tui.tui.history import PromptHistory
from luci_tui.tui.keymap import KeyMap, binding, make_keymap
from luci_tui.tui.messages import AnswerBegan, AnswerEnded, ChatOpened
from luci_tui.tui.mode_list import TABS
from luci_tui.tui.screens.parameters import ParameterDesk
from luci_tui.tui.screens.steady import Steady
from luci_tui.tui.services import Services
from luci_tui.tui.widgets.key_footer import KeyFooter
from luci_tui.tui.widgets.message import REDRAW_S, REDRAW_SLOW_S
from luci_tui.tui.widgets.modebar import ModeBar
from luci_tui.tui.widgets.prompt import PromptInput
from luci_tui.tui.widgets.prompt_box import PromptBox
from luci_tui.tui.widgets.status import EmptyState, StatusLine
from luci_tui.tui.widgets.transcript import Entry

if TYPE_CHECKING:
    from textual.app import App

    from luci_tui.tui.conversation import Conversation

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
        binding("chat.messages", "messages"),
        binding("chat.chats", "chats"),
        binding("chat.up", "page(-1)"),
        binding("chat.down", "page(1)"),
        binding("chat.parameters", "open_parameters"),
        binding("chat.model", "choose_model"),
        binding("chat.columns", "open_columns"),
        binding("chat.panel", "open_panel"),
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
        connect_to: Callable[[str], Conversation] | None = None,
    ) -> None:
        super().__init__()
        self.connect_to = connect_to
        self._connect = connect
        self._services = services or Services()
        self._keys = keys or make_keymap({})
        self._has_resumed = False
        self._is_stopping = False
        """The person asked for the end of the answer; it is not the screen that goes away."""
        self._conversation: Conversation | None = None
        self._state = State.LOADING
        self._words = "starting"
        self._queue: deque[Draft] = deque()
        self.desk = MessageDesk(self)
        self._commands = CommandDesk(self, self)
        self._answering: Worker[None] | None = None
        self._began_s = 0.0
        """When the answer began, by the monotonic clock."""

    @property
    def state(self) -> State:
        """What the model is doing now."""
        return self._state

    @property
    def conversation(self) -> Conversation | None:
        """The chat; None = not connected yet."""
        return self._conversation

    @property
    def services(self) -> Services:
        """What the app hands to its screens."""
        return self._services

    @property
    def keys(self) -> KeyMap:
        """Which keys do what."""
        return self._keys

    @property
    def is_answering(self) -> bool:
        """An answer is being given."""
        return self._state is State.ANSWERING

    def compose(self) -> ComposeResult:
        """Lay out status, transcript, prompt and footer."""
        if self._services.link is not None:
            yield ModeBar(TABS, self.NAME)
        yield StatusLine()
        yield ChatTranscript(EmptyState(), id="transcript")
        yield PromptBox(self._keys, PromptHistory(self._services.history_file))
        yield KeyFooter()

    def on_mount(self) -> None:
        """Load the model when the first frame is drawn."""
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

    async def talk_to(self, connect: Callable[[], Conversation], *, resumes: bool = False) -> None:
        """Begin a new chat with another model, or go on with one; the old chat is kept."""
        if self._state is State.ANSWERING:
            self.notify("An answer is being given. Esc stops it first.")
            return
        self._connect, self._has_resumed = connect, not resumes
        await self.close()
        self._conversation = None
        await self._clear()
        # What had the focus may have been cleared away, such as a suggestion of the welcome.
        self.query_one(PromptInput).focus()
        self.load_model()

    @work(exclusive=True, group="model", exit_on_error=False)
    async def load_model(self) -> None:
        """Load the model and then answer what was typed meanwhile."""
        self._show_state(State.LOADING, "starting")
        try:
            if self._conversation is None:
                self._conversation = await asyncio.to_thread(self._connect)
            await self._load(self._conversation)
            resumed = None if self._has_resumed else await self._conversation.resume()
            self._has_resumed = True
        except LuciError as error:
            self._show_state(State.DOWN, "no model")
            await self._show_news()
            await self.tell(f"{error.message} Ctrl-R tries again.", is_error=True)
            self.post_message(ChatOpened())
            return
        is_for_commands = self._conversation.answers_with_command
        self.query_one(EmptyState).show_examples(are_wanted=is_for_commands)
        await self._be_ready(resumed)

    @work(exclusive=True, group="model", exit_on_error=False)
    async def find_host(self, error: LuciError) -> None:
        """Look for a host that was lost, and show what it has of the chat."""
        conversation = self._conversation
        assert conversation is not None
        found = await find_again(
            lambda: self._load(conversation), lambda words: self._show_state(State.LOADING, words)
        )
        if not found:
            self._show_state(State.DOWN, "no host")
            await self.tell(f"{error.message} Ctrl-R tries again.", is_error=True)
            return
        resumed, said = None, f"{error.message} It is back; `r` on an answer has it made again."
        try:
            resumed = await conversation.resume()
        except LuciError as gone:
            said = gone.message
        await self._be_ready(resumed, said)

    async def _load(self, conversation: Conversation) -> None:
        async with aclosing(conversation.load()) as events:
            async for event in events:
                self._show_state(State.LOADING, f"loading {event.fraction:.0%}")

    async def _be_ready(self, resumed: Resumed | None, said: str = "") -> None:
        """Show a chat that is there, say something below it, and go on with its answer."""
        if self._conversation is not None:
            self._box.beyond = self._conversation.cannot_take
        self._box.show_attached()
        self._show_state(State.READY, "ready")
        if resumed is not None:
            await self.desk.show_branch(resumed.messages)
        if said:
            await self.tell(said)
        if resumed is not None and resumed.is_answering:
            self._state = State.ANSWERING
            self._answering = self.answer(None)
        await self._show_news()
        self._show_parameters()
        self.post_message(ChatOpened())
        self._send_next()

    async def show_notes(self, *notes: Entry | Widget) -> None:
        """Show something of the app itself; an empty chat still says what to do."""
        await self.transcript.add(*notes)

    async def _show_news(self) -> None:
        """Show what the host has to say; an empty chat still says what to do."""
        if self._conversation is not None:
            await self.show_notes(*(NoticeEntry(text) for text in await self._conversation.news()))

    # ---- one answer

    async def on_prompt_box_command_asked(self, message: PromptBox.CommandAsked) -> None:
        """Do a command."""
        await self._commands.do(message)

    def on_prompt_input_take_back_asked(self) -> None:
        """Give the last of the prompts that wait back."""
        if self._queue:
            self._box.restore(self._queue.pop())
            self._show_queue()

    async def on_prompt_box_sent(self, message: PromptBox.Sent) -> None:
        """Answer the prompt, or keep it until the model is free."""
        refusal = ""
        if self._state is State.DOWN:
            refusal = "No model is loaded. Ctrl-R loads it."
        elif self.desk.edited is not None and self.is_busy:
            refusal = "The model is busy. Send the other version when it is done."
        elif len(self._queue) >= MAX_QUEUED:
            refusal = f"{MAX_QUEUED} prompts wait already. Esc stops the answer."
        if refusal:
            await self.tell(refusal, is_error=self._state is State.DOWN)
            self._box.restore(message.draft)
            return
        if (edited := self.desk.end_edit()) is not None:
            self.ask(Ask(message.draft, instead_of=edited))
            return
        self._queue.append(message.draft)
        if self._state is State.READY:
            self._send_next()
        else:
            self._show_queue()

    def _send_next(self) -> None:
        if self._queue and self._state is State.READY:
            self.ask(Ask(self._queue.popleft()))
        self._show_queue()

    def ask(self, asked: Ask) -> None:
        """Begin an answer; see `is_busy`."""
        self._state = State.ANSWERING
        self._answering = self.answer(asked)

    @work(exclusive=True, group="answer", exit_on_error=False)
    async def answer(self, asked: Ask | None) -> None:
        """Show what is asked and the answer as it grows; stopping it keeps what came.

        Args:
            asked: None = the answer that is being given already.
        """
        from luci_tui.tui.chat.answering import Answering

        conversation = self._conversation
        assert conversation is not None
        self._show_state(State.ANSWERING, "reading the prompt")
        self._began_s = time.monotonic()
        self.post_message(AnswerBegan())
        self.query_one(EmptyState).display = False
        reply = self._new_reply()
        answering = Answering(self.transcript, conversation, asked, reply)
        answering.shows_pictures = self._shows_pictures
        outcome = State.READY
        try:
            async with aclosing(await answering.begin()) as events:
                async for event in events:
                    if words := await answering.take(event):
                        self._show_state(State.ANSWERING, words)
        except asyncio.CancelledError:
            # Esc ends the answer; a screen that goes away leaves it to whoever gives it.
            if self._is_stopping:
                self._is_stopping = False
                await conversation.stop()
                await reply.finish("", ["stopped by you; this is not the whole answer"])
                self._after_answer(State.READY)
            raise
        except LuciError as error:
            has_text = bool(reply.shown.text.strip())
            await reply.finish("", ["the answer broke off here"] if has_text else [])
            if answering.is_branch and not answering.has_begun:
                await self.desk.show_kept()
            outcome = await self._tell_failure(error)
        self._after_answer(outcome)

    def _new_reply(self, shown: Shown | None = None) -> ReplyEntry:
        is_plain = self._conversation is not None and self._conversation.answers_with_command
        is_plain |= shown is not None and shown.answers_call
        redraw_s = REDRAW_SLOW_S if self._services.is_slow else REDRAW_S
        return ReplyEntry(shown, is_plain=is_plain, redraw_s=redraw_s)

    def entries_of(self, shown: Shown) -> list[Entry]:
        """Make what a message, with its pictures, is in the transcript."""
        entries: list[Entry] = [UserEntry(shown) if shown.is_user else self._new_reply(shown)]
        if self._shows_pictures and self._conversation is not None:
            entries += pictures_of(shown, self._conversation.keeper)
        return entries

    @property
    def _shows_pictures(self) -> bool:
        """Tell whether pictures are drawn: in colours, and where a byte costs little."""
        # Textual leaves the app's result type open.
        has_colours = not self.app.no_color  # pyright: ignore[reportUnknownMemberType]
        return has_colours and not self._services.is_slow

    async def _tell_failure(self, error: LuciError) -> State:
        if is_lost(error):
            self.find_host(error)
            return State.LOADING
        if isinstance(error, WorkerLostError | HostError):
            await self.tell(f"{error.message} Ctrl-R loads the model again.", is_error=True)
            return State.DOWN
        hint = " Ctrl-N starts a new chat." if error.code == "context_length_exceeded" else ""
        await self.tell(f"{error.message}{hint}", is_error=True)
        return State.READY

    def _after_answer(self, state: State) -> None:
        self._answering = None
        self.post_message(AnswerEnded(time.monotonic() - self._began_s))
        words = {State.READY: "ready", State.LOADING: self._words}.get(state, "no model")
        self._show_state(state, words)
        self.refresh_bindings()  # more can be done with an answer that is whole
        self._send_next()

    # ---- messages

    @property
    def is_busy(self) -> bool:
        """No answer can be begun now."""
        return self._state is not State.READY

    def on_chat_transcript_asked(self, message: ChatTranscript.Asked) -> None:
        """Do what is asked for with a message."""
        self.act(message.verb, message.entry)

    @work(exclusive=False, group="message", exit_on_error=False)
    async def act(self, verb: str, entry: MessageEntry) -> None:
        """Do something with a message; see `chat.actions`."""
        from luci_tui.tui.chat.actions import MessageActions

        app = cast("App[object]", self.app)  # pyright: ignore[reportUnknownMemberType]
        if text := await MessageActions(self.desk, app).do(verb, entry):
            self.post_message(self.CopyAsked(text))

    def on_chat_transcript_left(self) -> None:
        """Go on typing."""
        self.query_one(PromptInput).focus()

    def on_prompt_input_left(self) -> None:
        """Go to the messages."""
        self.action_messages()

    # ---- keys

    def action_messages(self) -> None:
        """Go from the prompt to the messages; from elsewhere to what comes next."""
        if not self.query_one(PromptInput).has_focus:
            self.focus_next()
        elif self.transcript.allow_focus():
            self.transcript.focus()
        else:
            self.notify("There is no message yet.")

    def action_stop(self) -> None:
        """Stop the answer; prompts that wait go back into the input."""
        if self._commands.stop() or self.desk.end_edit() is not None:
            return
        if self._queue:
            self._box.restore(merged(self._queue))
            self._queue.clear()
            self._show_queue()
        if self._answering is not None:
            self._is_stopping = True
            self._answering.cancel()

    def action_chats(self, words: str = "") -> None:
        """Show all chats, or those in which some words stand."""
        from luci_tui.tui.screens.chats import ChatsScreen

        if self._services.link is None:
            self.notify("Without a host there are no chats that are kept.")
            return
        shown = ChatsScreen(self._services, words)
        self.app.push_screen(shown)  # pyright: ignore[reportUnknownMemberType]

    async def action_new_chat(self) -> None:
        """Forget the chat and clear the transcript."""
        if self._state is State.ANSWERING:
            self.notify("Esc stops the answer first.")
            return
        if self._conversation is not None:
            self._conversation.forget()
        await self._clear()
        self._show_parameters()

    def action_reload(self) -> None:
        """Load the model again, after a failure or to start afresh."""
        if self._state in (State.LOADING, State.ANSWERING):
            self.notify("The model is busy. Esc stops the answer.")
            return
        self.load_model()

    def action_thinking(self) -> None:
        """Show or hide the thinking of the last reply."""
        if (reply := self._last_reply()) is not None:
            reply.fold()

    def action_copy_reply(self) -> None:
        """Copy the last reply through the terminal."""
        reply = self._last_reply()
        text = "" if reply is None else reply.shown.text.strip()
        if not text:
            self.notify("There is no reply to copy yet.")
            return
        self.post_message(self.CopyAsked(text))

    @work(exclusive=True, group="settings", exit_on_error=False)
    async def action_open_parameters(self) -> None:
        """Show how the model is asked, beside the chat or on a page."""
        from luci_tui.tui.screens.chat_actions import show_parameters

        await show_parameters(self)

    @work(exclusive=True, group="settings", exit_on_error=False)
    async def action_choose_model(self) -> None:
        """Let another model go on with this chat."""
        from luci_tui.tui.screens.chat_actions import switch_model

        await switch_model(self)

    @work(exclusive=True, group="settings", exit_on_error=False)
    async def action_open_columns(self) -> None:
        """Ask several models the same."""
        from luci_tui.tui.screens.chat_actions import ask_models

        await ask_models(self)

    @work(exclusive=True, group="settings", exit_on_error=False)
    async def action_open_panel(self) -> None:
        """Ask several perspectives the same."""
        from luci_tui.tui.screens.chat_actions import ask_panel

        await ask_panel(self)

    def on_parameter_desk_left(self) -> None:
        """Go back to the prompt; the parameters stay beside the chat."""
        self.query_one(PromptInput).focus()

    async def on_parameter_desk_told(self, message: ParameterDesk.Told) -> None:
        """Say in the transcript what was changed."""
        await self.tell(message.sentence)

    def _show_parameters(self) -> None:
        """Show those of this chat, where some stand beside it."""
        for side in self.query(ParameterDesk):
            side.reload(None if self._conversation is None else self._conversation.settings)

    def action_page(self, direction: int) -> None:
        """Scroll the transcript by a page; at its end it follows again."""
        transcript = self.transcript
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
        if worker.group in ("answer", "model"):
            self._answering = None
            self._show_state(State.DOWN, "no model")
        self.run_worker(
            self.tell(
                f"Something in luci itself failed: {error!r}. The log has the details. "
                "Ctrl-R loads the model again.",
                is_error=True,
            ),
            exit_on_error=False,
        )

    # ---- looks

    @property
    def transcript(self) -> ChatTranscript:
        """What was said so far."""
        return self.query_one(ChatTranscript)

    @property
    def _box(self) -> PromptBox:
        return self.query_one(PromptBox)

    async def add_to_transcript(self, widget: Widget) -> None:
        """Put the output of a command at the end of the transcript."""
        await self.put(widget)

    def _last_reply(self) -> ReplyEntry | None:
        entries = reversed(self.transcript.entries)
        return next((one for one in entries if isinstance(one, ReplyEntry)), None)

    async def _clear(self) -> None:
        await self.transcript.cut(0)
        self.query_one(EmptyState).display = True

    async def tell(self, sentence: str, *, is_error: bool = False) -> None:
        """Put a sentence of luci itself at the end of the transcript."""
        await self.put(NoticeEntry(sentence, is_error=is_error))

    async def put(self, *items: Entry | Widget) -> None:
        """Put something at the end of the transcript."""
        self.query_one(EmptyState).display = False
        await self.transcript.add(*items)

    def _show_state(self, state: State, words: str) -> None:
        self._state = state
        self._words = words
        conversation = self._conversation
        about = conversation.describe() if conversation is not None else "luci"
        self.query_one(StatusLine).show(words, len(self._queue), about)

    def _show_queue(self) -> None:
        self._box.show_waiting(self._queue)
        self._show_state(self._state, self._words)
