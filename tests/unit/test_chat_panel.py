from luci_tui.chat.panel import (
    BYTES_PER_TOKEN,
    CONTEXT_SHARE,
    LEAST_VIEW_BYTES,
    View,
    synthesis,
)


def test_views_that_fit_are_read_whole_and_under_their_names() -> None:
    made = synthesis([View("Newton", " Forces.\n"), View("Da Vinci", "Wings.")], 4096)
    assert made.n_read == 0
    assert made.system.endswith("## Newton\n\nForces.\n\n## Da Vinci\n\nWings.")


def test_views_that_are_too_long_are_cut_alike_and_the_cut_is_told() -> None:
    long = "ä" * 5000
    made = synthesis([View("A", long), View("B", "short"), View("C", long)], 1000)
    assert made.system.count(" […]") == 2
    assert "short" in made.system
    assert made.system.count("ä") == 2 * made.n_read > 0
    room = 1000 * CONTEXT_SHARE * BYTES_PER_TOKEN
    assert 0.6 * room < len(made.system.encode()) < room + 64  # blank lines and marks


def test_context_that_is_tiny_still_has_a_part_of_each_view() -> None:
    made = synthesis([View(str(number), "x" * 1000) for number in range(11)], 256)
    assert made.n_read == LEAST_VIEW_BYTES
    three = synthesis([View(str(number), "x" * 1000) for number in range(3)], 512)
    assert len(three.system.encode()) < 512 * CONTEXT_SHARE * BYTES_PER_TOKEN + 64


def test_context_that_is_not_known_is_taken_for_a_small_one() -> None:
    made = synthesis([View("A", "x" * 100_000), View("B", "y")], 0)
    assert 2000 < made.n_read < 3072
