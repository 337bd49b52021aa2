import json

import pytest

from luci_tui.bench.report import BenchReport, Measured, Spread, Via, percentile


def report() -> BenchReport:
    return BenchReport(
        model="tiny",
        description="llama 1B Q8_0",
        threads=2,
        rounds=3,
        temperature=0.0,
        results=[
            Measured("tg128", Via.WORKER, 4, Spread(95.0, 90.0, 99.0), Spread(3.0, 2.0, 9.0)),
            Measured("tg128", Via.CORE, 4, Spread(100.0, 98.0, 101.0), None),
        ],
        cancel_ms=[5.0, 1.0, 2.0],
        step_ms=10.0,
    )


def test_json_has_a_row_per_test_and_way() -> None:
    data = json.loads(json.dumps(report().as_json()))
    assert data["results"] == [
        {
            "test": "tg128",
            "via": "worker",
            "streams": 4,
            "tokens_per_s": {"median": 95.0, "min": 90.0, "max": 99.0},
            "ttft_ms": {"median": 3.0, "min": 2.0, "max": 9.0},
        },
        {
            "test": "tg128",
            "via": "core",
            "streams": 4,
            "tokens_per_s": {"median": 100.0, "min": 98.0, "max": 101.0},
            "ttft_ms": None,
        },
    ]
    assert data["ratios"] == [{"test": "tg128", "streams": 4, "worker_over_core": 0.95}]
    assert data["cancel_ms"] == {"median": 2.0, "min": 1.0, "max": 5.0, "p99": 5.0}


def test_table_says_rates_ratio_and_cancel() -> None:
    table = "\n".join(report().as_lines())
    assert "tg128          4  worker       95.0  90.0-99.0" in table
    assert "tg128 x4: worker / core = 0.950" in table
    assert "cancel: median 2.0 ms, p99 5.0 ms of 3; one decode step takes 10.0 ms" in table
    assert "greedy" in table


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (99, 99), (100, 100), (1, 1)])
def test_percentile_is_the_nearest_rank(percent: float, value: int) -> None:
    assert percentile(range(1, 101), percent) == value


def test_spread_of_nothing_is_none() -> None:
    assert Spread.of([]) is None
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
