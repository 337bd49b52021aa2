from dataclasses import dataclass, field

import pytest

from luci_tui.tui.attention import (
    BELL,
    BELL_PAUSE_S,
    LONG_S,
    POP_TITLE,
    PUSH_TITLE,
    QUIET_S,
    Attention,
)


@dataclass
class Terminal:
    now_s: float = 1000.0
    written: list[str] = field(default_factory=list[str])

    def attention(self, *, has_title: bool = True, rings: bool = True) -> Attention:
        made = Attention(
            self.written.append, has_title=has_title, rings=rings, now_s=lambda: self.now_s
        )
        made.open()
        return made

    @property
    def title(self) -> str:
        titles = [one for one in self.written if one.startswith("\x1b]2;")]
        return titles[-1].removeprefix("\x1b]2;").removesuffix("\a")

    @property
    def n_bells(self) -> int:
        return self.written.count(BELL)


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


def test_title_says_what_is_done_and_is_given_back(terminal: Terminal) -> None:
    attention = terminal.attention()
    assert terminal.written[0] == PUSH_TITLE
    assert terminal.title == "luci"
    attention.set_work("at work")
    assert terminal.title == "luci · at work"
    attention.set_work("")
    assert terminal.title == "luci"
    attention.close()
    assert terminal.written[-1] == POP_TITLE


def test_title_that_stays_the_same_is_written_once(terminal: Terminal) -> None:
    attention = terminal.attention()
    n_written = len(terminal.written)
    attention.set_work("")
    attention.touch()
    attention.focus(True)
    assert len(terminal.written) == n_written


def test_long_work_that_ends_without_the_focus_rings_and_is_counted(terminal: Terminal) -> None:
    attention = terminal.attention()
    attention.focus(False)
    attention.ended(LONG_S)
    assert (terminal.n_bells, terminal.title) == (1, "(1 ended) luci")
    terminal.now_s += BELL_PAUSE_S
    attention.ended(LONG_S)
    assert (terminal.n_bells, terminal.title) == (2, "(2 ended) luci")
    attention.focus(True)
    assert terminal.title == "luci"


def test_many_that_end_at_once_ring_once(terminal: Terminal) -> None:
    attention = terminal.attention()
    attention.focus(False)
    for _ in range(30):
        attention.ended(LONG_S)
    assert (terminal.n_bells, terminal.title) == (1, "(30 ended) luci")


@pytest.mark.parametrize(("has_focus", "took_s"), [(True, 1000.0), (False, LONG_S - 1)])
def test_work_that_is_seen_or_short_calls_nobody(
    terminal: Terminal, has_focus: bool, took_s: float
) -> None:
    attention = terminal.attention()
    attention.focus(has_focus)
    attention.ended(took_s)
    assert (terminal.n_bells, terminal.title) == (0, "luci")


def test_terminal_that_says_nothing_of_its_focus_is_looked_at_while_keys_come(
    terminal: Terminal,
) -> None:
    attention = terminal.attention()
    terminal.now_s += QUIET_S - 1
    assert attention.is_looked_at
    attention.touch()
    terminal.now_s += QUIET_S - 1
    assert attention.is_looked_at
    terminal.now_s += 2
    assert not attention.is_looked_at
    attention.ended(LONG_S)
    assert terminal.n_bells == 1
    attention.touch()
    assert terminal.title == "luci"


def test_bell_that_is_not_wanted_then_only_the_title_says_it(terminal: Terminal) -> None:
    attention = terminal.attention(rings=False)
    attention.focus(False)
    attention.ended(LONG_S)
    assert (terminal.n_bells, terminal.title) == (0, "(1 ended) luci")


def test_terminal_without_a_title_gets_none(terminal: Terminal) -> None:
    attention = terminal.attention(has_title=False)
    attention.focus(False)
    attention.set_work("at work")
    attention.ended(LONG_S)
    attention.close()
    assert terminal.written == [BELL]
