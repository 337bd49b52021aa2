import itertools
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from luci_tui.chat.search import MAX_WORDS, SearchOrder, match_expression
from luci_tui.chat.store import ChatStore
from tests.support.chats import told

QUERIES = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChatStore]:
    opened = ChatStore(tmp_path_factory.mktemp("search") / "c.db", clock=itertools.count().__next__)
    rivers = opened.create(title="Rivers of Europe")
    told(opened, rivers, ("Where does the Rhône begin?", "In a glacier: the Rhône glacier."))
    code = opened.create(title="Code")
    told(opened, code, ('print("hello") AND foo_bar NOT -x', "It says hello to the glacier."))
    yield opened
    opened.close()


def test_search_finds_words_in_texts_and_titles_with_marks(store: ChatStore) -> None:
    title, *texts = store.search("rivers")
    assert (title.message_id, title.title, texts) == (None, "Rivers of Europe", [])
    assert [title.snippet[start:end] for start, end in title.marks] == ["Rivers"]
    hit = store.search("begin rhone")[0]
    assert hit.title == "Rivers of Europe"
    assert hit.role == "user"
    assert {hit.snippet[start:end] for start, end in hit.marks} == {"begin", "Rhône"}


def test_search_takes_the_last_word_as_a_beginning_until_it_is_finished(store: ChatStore) -> None:
    assert len(store.search("glac")) == 2
    assert store.search("glac ") == ()
    assert store.search("glac begin") == ()


def test_search_with_newest_first_gives_what_was_stored_last(store: ChatStore) -> None:
    newest = store.search("glacier", order=SearchOrder.NEWEST)
    assert [hit.title for hit in newest] == ["Code", "Rivers of Europe"]
    best = store.search("glacier", order=SearchOrder.BEST)
    assert [hit.title for hit in best] == ["Rivers of Europe", "Code"]
    assert len(store.search("glacier", limit=1)) == 1


@pytest.mark.parametrize(
    "query",
    ['print("hello")', "foo_bar", "NOT", "-x", "AND foo_bar NOT", '"hello', "hello*", "(hello"],
)
def test_search_takes_operators_and_quotes_as_text(store: ChatStore, query: str) -> None:
    assert [hit.title for hit in store.search(query)][:1] == ["Code"]


@pytest.mark.parametrize("query", ["", "   ", '"', '""', "***", "()", "-", "\0", "\ud800", "😀"])
def test_search_for_nothing_finds_nothing(store: ChatStore, query: str) -> None:
    assert store.search(query) == ()


WORDS = st.sampled_from(
    [
        "glacier",
        "Rhône",
        '"',
        "*",
        "AND",
        "OR",
        "NOT",
        "NEAR(",
        ")",
        "^",
        ":",
        "text:",
        "{",
        "+",
        "-",
    ]
)


@QUERIES
@given(st.one_of(st.text(), st.lists(WORDS).map(" ".join), st.lists(WORDS).map("".join)))
@example("a" * 20_000)
@example("a " * 20_000)
@example("²")
def test_search_given_any_text_then_answers(store: ChatStore, query: str) -> None:
    for order in SearchOrder:
        for hit in store.search(query, order=order):
            assert all(0 <= start < end <= len(hit.snippet) for start, end in hit.marks)


@QUERIES
@given(st.lists(st.sampled_from(["where", "does", "the", "rhone", "begin"]), min_size=1))
def test_search_given_words_of_a_message_then_finds_it(store: ChatStore, words: list[str]) -> None:
    assert any(hit.role == "user" for hit in store.search(" ".join(words)))


def test_expression_quotes_every_word_and_bounds_their_number() -> None:
    assert match_expression('say "hi" (now)') == '"say" """hi""" "(now)"'
    assert match_expression("on") == '"on"*'
    assert match_expression("w " * 100).count('"w"') == MAX_WORDS
