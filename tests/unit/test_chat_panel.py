from luci_tui.chat.panel import BYTES_PER_TOKEN, CONTEXT_SHARE, View, synthesis


def test_views_that_fit_are_read_whole_and_under_their_names() -> None:
    made = synthesis([View("Newton", " Forces.\n"), View("Da Vinci", "Wings.")], 4096)
    assert made.n_read == 0
    assert made.system.endswith("## Newton\n\nForces.\n\n## Da Vinci\n\nWings.")


def test_views_that_are_too_long_are_cut_alike_and_the_cut_is_told() -> None:
    long = "ä" * 5000
    made = synthesis([View("A", long), View("B", "short"), View("C", long)], 600)
    room = 600 * CONTEXT_SHARE * BYTES_PER_TOKEN
    assert made.n_read == room // 3 // 2
    assert made.system.count(" […]") == 2
    assert "short" in made.system
    assert made.system.count("ä") == 2 * made.n_read


def test_context_that_is_not_known_is_taken_for_a_small_one() -> None:
    made = synthesis([View("A", "x" * 100_000), View("B", "y")], 0)
    assert 2000 < made.n_read < 4096
