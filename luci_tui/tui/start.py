"""Open the screen on a terminal and leave it in order, also when the terminal goes away."""

from __future__ import annotations

import asyncio
import codecs
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from textual._ansi_sequences import ANSI_SEQUENCES_KEYS

from luci_tui import paths
from luci_tui.config import terminal_facts
from luci_tui.scheduling import wake_soon
from luci_tui.tui.app import ChatApp
from luci_tui.tui.hangup import HUNG_UP, Hangup
from luci_tui.tui.history import FILE_NAME
from luci_tui.tui.pauses import collect_when_quiet
from luci_tui.tui.preferences import read_preferences
from luci_tui.tui.services import HostLink, Services
from luci_tui.tui.stderr_guard import stderr_guard

if TYPE_CHECKING:
    from luci_tui.host.lifecycle import Launcher
    from luci_tui.tui.conversation import Conversation

PARENT_S = 2.0
"""How often a screen in a browser looks whether its server is still there."""

FRAMES_PER_S = 120
"""Most redraws a second on this machine; only what has changed is drawn."""

EXIT_FAILURE = 2
SIGNALLED = 128
"""Exit codes from here on say which signal ended the screen."""


def run_screen(model: str, engine: str, resume: str | None = None) -> int:
    """Run the app until it is left and return the exit code.

    Args:
        model: "builtin", a name of the registry, or a path.
        engine: The kind of engine of a host that has to be started.
        resume: A chat to go on with; "" = the one used last, None = only one that is answering.
    """
    terminal = terminal_facts()
    if not (terminal.is_terminal or terminal.is_web):
        sys.stderr.write(
            "luci: the screen needs a terminal. For scripts there is `luci run MODEL PROMPT`.\n"
        )
        return EXIT_FAILURE
    home = paths.luci_home()
    preferences = read_preferences(home)
    is_slow = terminal.is_ssh
    if preferences.low_bandwidth is not None:
        is_slow = preferences.low_bandwidth
    services = Services(
        link=HostLink(partial(_launcher, engine)),
        preferences=preferences,
        is_slow=is_slow,
        history_file=paths.luci_home() / FILE_NAME if preferences.keeps_history else None,
        home=home,
        terminal=terminal,
    )
    _let_alt_numbers_through()
    _take_any_bytes()
    if not is_slow:
        _draw_at_once()
    with stderr_guard(paths.logs_folder() / "screen.log"):
        app = ChatApp(
            partial(_converse, model, engine, resume),
            services,
            lambda name: _converse(name, engine, None),
            lambda chat_id, model: _converse(model, engine, chat_id),
        )
        code = _run_until_left(app)
    # Whoever lost the terminal reads nothing any more, and a page shows no stderr.
    if code < SIGNALLED and not terminal.is_web and (farewell := app.farewell()):
        sys.stderr.write(f"{farewell}\n")
    return code


def _let_alt_numbers_through() -> None:
    """Take Alt with a number for what it is.

    Textual 8.2.8 reads it as what the Option key of a Mac writes, "£" for Alt-3, which nobody could
    tell from a "£" that was typed. Its table is `ANSI_SEQUENCES_KEYS` in _ansi_sequences.py.
    """
    table = cast("dict[str, object]", ANSI_SEQUENCES_KEYS)
    for number in range(10):
        table.pop(f"\x1b{number}", None)


def _take_any_bytes() -> None:
    """Take bytes that are no UTF-8 for a replacement character.

    Textual 8.2.8 reads the terminal with a strict decoder (drivers/linux_driver.py), so that one
    letter from a terminal with another character set would end the screen.
    """
    from textual.drivers import linux_driver

    name = "getincrementaldecoder"
    setattr(linux_driver, name, _lenient_decoder)


def _draw_at_once() -> None:
    """Let a key that falls between two steps of a redraw wait half as long.

    Textual 8.2.8 draws what has changed at most once in `UPDATE_PERIOD` (screen.py), 1/60 s where
    TEXTUAL_FPS does not say otherwise. A key in a list changes three things one after another.
    """
    from textual import screen

    if "TEXTUAL_FPS" not in os.environ:
        setattr(screen, "UPDATE_PERIOD", 1 / FRAMES_PER_S)  # noqa: B010 - it is Final


def _lenient_decoder(encoding: str) -> Callable[[], codecs.IncrementalDecoder]:
    return partial(codecs.getincrementaldecoder(encoding), "replace")


def _launcher(engine: str) -> Launcher:
    from luci_tui.host import wiring
    from luci_tui.host.lifecycle import Launcher

    return Launcher(arguments=() if engine == wiring.EngineKind.WORKER else ("--engine", engine))


def _converse(model: str, engine: str, resume: str | None) -> Conversation:
    """Join the screen to the host; it imports much, so it runs when the first frame is drawn."""
    from luci_tui.errors import ConfigError
    from luci_tui.host import wiring
    from luci_tui.host.lifecycle import ensure_host
    from luci_tui.host.rates import load_rates
    from luci_tui.settings import read_settings
    from luci_tui.tui.host_conversation import HostConversation

    name = wiring.name_for_host(model)
    conversation = HostConversation(
        find_host=lambda: ensure_host(launcher=_launcher(engine)),
        model=name,
        label=Path(name).name,
        answers_with_command=name == wiring.BUILTIN,
        resume_chat=resume,
    )
    found = read_settings(paths.luci_home())
    conversation.notices += [mistake.sentence for mistake in found.mistakes]
    try:
        conversation.rates_of = load_rates(cost=found.settings.cost)
    except ConfigError as error:
        conversation.notices.append(error.message)
    return conversation


def _run_until_left(app: ChatApp) -> int:
    hangup = Hangup()
    try:
        code = asyncio.run(_run(app, hangup))
    except Exception:
        # Without its terminal Textual breaks in many ways, none of which is worth a word.
        if not hangup.has_come:
            raise
        return HUNG_UP
    return HUNG_UP if hangup.has_come else code


async def _run(app: ChatApp, hangup: Hangup) -> int:
    wake_soon()
    hangup.watch(partial(_leave_lost_terminal, app))
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, _leave, app, SIGNALLED + signal.SIGTERM
    )
    beside = [asyncio.create_task(collect_when_quiet(app.quiet_s), name="collect garbage")]
    if terminal_facts().is_web:
        beside.append(asyncio.create_task(_leave_with_parent(hangup), name="leave with the server"))
    try:
        result = await app.run_async(mouse=True)
        if not hangup.has_come and (app.return_code or 0) < SIGNALLED:
            await app.look_what_goes_on()
    finally:
        for task in beside:
            task.cancel()
        await app.close_engine()
    return app.return_code or result or 0


async def _leave_with_parent(hangup: Hangup) -> None:
    """Leave when the process that draws for a browser is gone: nobody would end this one."""
    parent = os.getppid()
    # There is no event for it that every system has.
    while os.getppid() == parent:  # noqa: ASYNC110
        await asyncio.sleep(PARENT_S)
    hangup.tell()


def _leave_lost_terminal(app: ChatApp) -> None:
    app.lose_terminal()
    _leave(app, HUNG_UP)


def _leave(app: ChatApp, code: int) -> None:
    # Widgets that are left while they are made break, and the app ends with their fault.
    app.call_later(app.exit, return_code=code)
