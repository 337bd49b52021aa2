from luci_tui.tui.commands.slash import parse_slash
from luci_tui.tui.draft import Attachment, Draft, merged, paste_name

MEGABYTE = "x" * 1_048_576


def test_draft_with_a_folded_paste_sends_all_of_it_and_shows_its_name() -> None:
    name = paste_name(MEGABYTE, set())
    draft = Draft(f"what is {name}?", {name: MEGABYTE})
    assert name == "[pasted 1,048,576 characters]"
    assert draft.text == f"what is {MEGABYTE}?"
    assert draft.shown == f"what is {name}?"


def test_two_pastes_of_one_length_have_two_names() -> None:
    first = paste_name("a" * 5000, set())
    second = paste_name("b" * 5000, {first})
    draft = Draft(f"{second} {first}", {first: "a" * 5000, second: "b" * 5000})
    assert draft.text == f"{'b' * 5000} {'a' * 5000}"


def test_paste_that_holds_the_name_of_another_stays_as_it_is() -> None:
    draft = Draft("[one] [two]", {"[one]": "see [two]", "[two]": "see [one]"})
    assert draft.text == "see [two] see [one]"


def test_text_file_is_fenced_under_its_name_so_that_nothing_in_it_ends_the_fence() -> None:
    file = Attachment("notes.md", "notes.md 20 B", text="a\n```\nb")
    draft = Draft("look", attachments=(file,))
    assert draft.text == "look\n\nnotes.md:\n````\na\n```\nb\n````"
    assert draft.shown == "look\n[attached notes.md 20 B]"


def test_merged_drafts_keep_order_pastes_and_files() -> None:
    file = Attachment("a.txt", "a.txt 1 B", text="a")
    whole = merged([Draft("one [p]", {"[p]": "P"}), Draft("two", attachments=(file,))])
    assert whole.typed == "one [p]\ntwo"
    assert whole.pastes == {"[p]": "P"}
    assert whole.attachments == (file,)


def test_slash_command_is_a_word_and_its_argument() -> None:
    line = parse_slash("/attach  my file.txt ")
    assert line is not None
    assert (line.name, line.argument) == ("attach", "my file.txt")


def test_paths_and_indented_and_several_lines_are_no_slash_commands() -> None:
    for text in ("/etc/hosts is what?", " /new", "/new\nmore", "/", "/New", "a /new", "//x"):
        assert parse_slash(text) is None
