import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from luci_tui.chat.sanitize import MAX_CONTROL_STRING, Sanitizer, sanitize

ODD = st.text(
    alphabet=st.one_of(
        st.sampled_from("\x1b\x07\x9b\x9c\x9d[]()\\;?0m31\n\t\r\x00\u202e\u2066aé漢🙂"),
        st.characters(),
    )
)


@given(ODD)
def test_any_text_loses_every_control_and_direction_character(text: str) -> None:
    for char in sanitize(text):
        assert char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cs"}
        assert unicodedata.bidirectional(char) not in {"LRO", "RLO", "LRE", "RLE", "PDF"}
        assert unicodedata.bidirectional(char) not in {"LRI", "RLI", "FSI", "PDI"}


@given(st.lists(ODD))
def test_text_in_pieces_gives_what_the_whole_gives(pieces: list[str]) -> None:
    sanitizer = Sanitizer()
    assert "".join(map(sanitizer.feed, pieces)) == sanitize("".join(pieces))


@given(ODD)
def test_sanitized_text_is_unchanged_by_a_second_pass(text: str) -> None:
    assert sanitize(sanitize(text)) == sanitize(text)


@given(st.text(alphabet=st.characters(exclude_categories=("Cc", "Cs", "Cf"))))
def test_plain_text_is_unchanged(text: str) -> None:
    assert sanitize(text) == text


def test_escape_sequences_vanish_as_a_whole() -> None:
    assert sanitize("a\x1b[31mred\x1b[0m b") == "ared b"
    assert sanitize("x\x1b]52;c;aGk=\x07y") == "xy"
    assert sanitize("x\x1b]0;title\x1b\\y") == "xy"
    assert sanitize("x\x9b2Jy\x9dtitle\x9cz") == "xyz"
    assert sanitize("x\x1b(By\x1bcz") == "xyz"
    assert sanitize("one\r\ntwo\tthree\x08") == "one\ntwo\tthree"


def test_unfinished_control_string_ends_at_the_line() -> None:
    assert sanitize("a\x1b]hidden\nvisible") == "a\nvisible"


def test_endless_control_string_becomes_text_again() -> None:
    shown = sanitize("\x1b]" + "x" * (MAX_CONTROL_STRING + 100))
    assert shown == "x" * 100


def test_joining_characters_of_scripts_and_emoji_stay() -> None:
    family = "👩\u200d👩\u200d👧 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
    assert sanitize(family) == family
