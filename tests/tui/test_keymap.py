import pytest

from luci_tui.tui.key_actions import ACTIONS
from luci_tui.tui.keymap import make_keymap, words_of


def test_defaults_have_no_clash() -> None:
    # A wish for what is the default anyway is checked like any other.
    keymap = make_keymap({action.id: action.keys for action in ACTIONS})
    assert keymap.warnings == ()


def test_wish_is_granted_and_the_others_stay() -> None:
    keymap = make_keymap({"jobs.cancel": " f8 , delete"})
    assert keymap.of("jobs.cancel") == ("f8", "delete")
    assert keymap.changed == {"jobs.cancel": "f8,delete"}
    assert keymap.of("live.filter") == ("slash",)
    assert keymap.warnings == ()


def test_wish_that_clashes_leaves_the_default_and_says_with_what() -> None:
    keymap = make_keymap({"jobs.cancel": "slash"})
    assert keymap.of("jobs.cancel") == ("x",)
    assert keymap.changed == {}
    assert keymap.warnings == ('keys."jobs.cancel": / is "live.filter" already; it stays on x.',)


def test_two_wishes_that_swap_keys_are_granted() -> None:
    keymap = make_keymap({"chat.new": "ctrl+o", "chat.copy": "ctrl+n"})
    assert (keymap.of("chat.new"), keymap.of("chat.copy")) == (("ctrl+o",), ("ctrl+n",))
    assert keymap.warnings == ()


def test_same_key_in_places_that_never_meet_is_no_clash() -> None:
    assert make_keymap({"jobs.cancel": "l"}).warnings == ()
    assert make_keymap({"jobs.cancel": "ctrl+n"}).warnings == ()


@pytest.mark.parametrize(
    ("wishes", "words"),
    [({"jobs.explode": "x"}, "no such action"), ({"jobs.cancel": " , "}, "is empty")],
)
def test_wish_that_means_nothing_is_told(wishes: dict[str, str], words: str) -> None:
    keymap = make_keymap(wishes)
    assert words in keymap.warnings[0]
    assert keymap.changed == {}


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("ctrl+j,alt+enter", "Ctrl-J, Alt-Enter"),
        ("x", "x"),
        ("G", "G"),
        ("slash", "/"),
        ("pageup", "PageUp"),
        ("f1", "F1"),
    ],
)
def test_keys_are_written_as_people_read_them(keys: str, words: str) -> None:
    assert words_of(keys) == words
