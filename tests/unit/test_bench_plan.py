import pytest

from luci_tui.bench.plan import DEFAULT_OPTIONS, BenchSpec, spec_of
from luci_tui.errors import ConfigError


def test_options_are_read_as_behind_the_command() -> None:
    wanted = spec_of("tiny", "--pp 64 --tg=32 --streams 1,4 --rounds 2 --threads 1 --force")
    assert wanted == BenchSpec(
        model="tiny", pp=64, tg=32, streams=(1, 4), rounds=2, threads=1, force=True
    )
    assert spec_of("tiny", DEFAULT_OPTIONS) == BenchSpec(model="tiny")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--fast", "'--fast' is no option of a bench"),
        ("64", "'64' is no option of a bench"),
        ("--rounds", "--rounds '' cannot be used"),
        ("--rounds 0", "--rounds '0' cannot be used"),
        ("--streams 1,x", "--streams 'x' cannot be used"),
        ("--streams 300", "--streams '300' cannot be used"),
        ("--temperature nan", "--temperature 'nan' cannot be used"),
        ("--pp '1", "Close every quotation mark"),
    ],
)
def test_options_that_cannot_be_used_are_refused(options: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        spec_of("tiny", options)


def test_plan_takes_what_the_context_has_room_for() -> None:
    small = BenchSpec(model="tiny").plan(64)
    assert (small.n_prompt, small.n_gen) == (56, 56)
    assert BenchSpec(model="tiny", tg=10).plan(4096).n_gen == 10
