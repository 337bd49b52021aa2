import sys
from pathlib import Path

import pytest

from luci_tui.bench.peers import own, results, table, targets, workload
from luci_tui.bench.peers.models import LARGE, SMALL
from luci_tui.bench.peers.results import Collector, Report
from luci_tui.errors import ConfigError, EngineError

MODEL = "56M Q8_0"


def _report(values: dict[tuple[str, str, str], tuple[float, ...]]) -> Report:
    collector = Collector()
    for (test, contender, unit), series in values.items():
        for value in series:
            collector.add(MODEL, test, contender, value, unit=unit, command="run it")
    return collector.report((("memory", "16 GB"),), rounds=3)


def _rows(report: Report) -> dict[str, str]:
    lines = [line for line in table.render(report) if line.startswith("|")]
    return {line.split("|")[3].strip(): line for line in lines}


def test_render_decode_above_the_target_says_met() -> None:
    report = _report(
        {
            ("tg128", results.WORKER, "tok/s"): (96.0, 97.0, 98.0),
            ("tg128", results.BENCH, "tok/s"): (100.0, 100.0, 100.0),
        }
    )
    assert "| 0.97 | ≥ 0.95 | met |" in _rows(report)[results.BENCH]


def test_render_on_a_machine_that_slows_down_compares_within_each_round() -> None:
    report = _report(
        {
            ("tg128", results.WORKER, "tok/s"): (96.0, 48.0, 24.0),
            ("tg128", results.BENCH, "tok/s"): (100.0, 50.0, 25.0),
            ("tg128", results.SERVER, "tok/s"): (48.0, 96.0, 12.0, 12.0),
        }
    )
    rows = _rows(report)
    assert "| 0.96 |" in rows[results.BENCH]
    assert "| 1.60 |" in rows[results.SERVER]


def test_render_decode_below_the_target_says_missed() -> None:
    report = _report(
        {
            ("tg128", results.WORKER, "tok/s"): (90.0,),
            ("tg128", results.BENCH, "tok/s"): (100.0,),
            ("tg128", results.SERVER, "tok/s"): (90.0,),
        }
    )
    rows = _rows(report)
    assert "| 0.90 | ≥ 0.95 | **missed** |" in rows[results.BENCH]
    assert "| 1.00 | > 1.00 | **missed** |" in rows[results.SERVER]


def test_render_shared_prefix_puts_the_target_on_the_fastest_peer_only() -> None:
    report = _report(
        {
            ("prefix40", results.WORKER, "s"): (0.5,),
            ("prefix40", f"{results.SERVER}, 1 slot", "s"): (1.7,),
            ("prefix40", f"{results.SERVER}, 4 slots", "s"): (2.0,),
            ("prefix40", results.PYTHON, "s"): (1.5,),
        }
    )
    rows = _rows(report)
    assert "| 3.00 | ≥ 2.00 | met |" in rows[results.PYTHON]
    assert "≥" not in rows[f"{results.SERVER}, 1 slot"]
    assert targets.best_peer(report, MODEL, "prefix40") is not None


def test_render_host_and_server_are_judged_against_the_peer_they_are_named_for() -> None:
    report = _report(
        {
            ("pp512", results.WORKER, "tok/s"): (99.0,),
            ("pp512", results.HOST, "tok/s"): (94.0,),
            ("pp512", results.SERVE, "tok/s"): (92.0,),
            ("pp512", results.BENCH, "tok/s"): (100.0,),
        }
    )
    rows = _rows(report)
    assert "| 0.94 of llama-bench | ≥ 0.93 | met |" in rows[results.HOST]
    assert "| 0.92 of llama-bench | ≥ 0.93 | **missed** |" in rows[results.SERVE]
    assert "| 0.99 | ≥ 0.95 | met |" in rows[results.BENCH]


def test_render_sixteen_clients_compares_rate_and_first_text_with_llama_server() -> None:
    report = _report(
        {
            ("streams16", results.SERVE, "tok/s"): (1000.0, 1400.0),
            ("streams16", results.SERVER, "tok/s"): (1000.0, 1000.0),
            ("ttft16", results.SERVE, "ms"): (100.0, 110.0),
            ("ttft16", results.SERVER, "ms"): (90.0, 99.0),
        }
    )
    rate, ttft = (line for line in table.render(report) if f"| {results.SERVE} |" in line)
    assert "| 1.20 of llama-server | ≥ 1.00 | met |" in rate
    assert "| 0.90 of llama-server | ≥ 1.00 | **missed** |" in ttft


def test_render_host_without_its_peer_says_no_verdict() -> None:
    report = _report({("tg128", results.HOST, "tok/s"): (94.0,)})
    assert _rows(report)[results.HOST].endswith("| 94.0 to 94.0 |  |  |  |")


def test_best_peer_is_no_part_of_luci() -> None:
    report = _report(
        {
            ("tg128", results.HOST, "tok/s"): (200.0,),
            ("tg128", results.SERVE, "tok/s"): (200.0,),
            ("tg128", results.SERVER, "tok/s"): (100.0,),
        }
    )
    best = targets.best_peer(report, MODEL, "tg128")
    assert best is not None
    assert best.contender == results.SERVER


def test_render_cancel_adds_a_decode_step_to_the_allowance() -> None:
    report = _report(
        {
            ("tg128", results.WORKER, "tok/s"): (100.0,),
            ("cancel", results.WORKER, "ms"): (5.0, 41.0),
        }
    )
    cancel = next(line for line in table.render(report) if "cancel" in line)
    assert "≤ 40.0 ms (one decode step + 30 ms) | **missed**" in cancel


def test_write_table_keeps_the_prose_around_it(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n", encoding="utf-8")
    report = _report({("tg128", results.BENCH, "tok/s"): (100.0,)})
    table.write_table(report, page)
    table.write_table(report, page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert text.count("llama-bench | 100 tok/s") == 1


def test_write_table_without_markers_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("no markers\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="put both lines"):
        table.write_table(_report({}), page)


def test_save_and_load_keep_every_value(tmp_path: Path) -> None:
    report = _report({("tg128", results.BENCH, "tok/s"): (100.0, 101.5)})
    results.save(report, tmp_path / "raw" / "peers.json")
    assert results.load(tmp_path / "raw" / "peers.json") == report


def test_decode_rate_leaves_out_the_first_token_of_each_stream() -> None:
    streams = [workload.Stream(0.0, 1.0, 2.0, 11), workload.Stream(0.0, 1.5, 3.0, 11)]
    assert workload.decode_rate(streams) == pytest.approx(10.0)


def test_ttft_p95_is_the_slowest_of_sixteen() -> None:
    streams = [workload.Stream(1.0, 1.0 + n / 1000, 2.0, 11) for n in range(1, 17)]
    assert workload.ttft_p95_ms(streams) == pytest.approx(16.0)


def test_prefix_prompts_share_their_start_and_nothing_else() -> None:
    prompts = workload.prefix_prompts(0)
    assert len(prompts) == workload.N_PREFIX_REQUESTS
    assert len({tuple(p[: workload.N_PREFIX]) for p in prompts}) == 1
    assert len({tuple(p[workload.N_PREFIX :]) for p in prompts}) == workload.N_PREFIX_REQUESTS
    assert prompts[0][: workload.N_PREFIX] != workload.prefix_prompts(1)[0][: workload.N_PREFIX]


def test_models_of_another_shape_have_another_file_name() -> None:
    assert SMALL.file_name != LARGE.file_name


def test_first_frame_ms_ignores_what_is_not_drawn() -> None:
    # Control sequences before the text, then text on stderr, where Textual draws.
    script = (
        "import sys, time\n"
        "sys.stderr.write('\\x1b[?1049h\\x1b[?2026$p\\x1b]22;default\\x07\\x1b[1;1H')\n"
        "sys.stderr.flush()\n"
        "sys.stdin.readline()\n"
    )
    drawn = script.replace("\\x1b[1;1H", "\\x1b[1;1H" + 20 * "x")
    assert own.first_frame_ms([sys.executable, "-c", drawn], timeout_s=20) > 0
    with pytest.raises(EngineError, match="drew no frame"):
        own.first_frame_ms([sys.executable, "-c", script], timeout_s=1)
