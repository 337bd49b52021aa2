import json
import multiprocessing
from pathlib import Path

import pytest

from luci_tui.bench import history
from luci_tui.bench.history import BenchRun, add_run, compare, read_history, remove_run, run_of
from luci_tui.bench.report import BenchReport, Measured, Spread, Via
from luci_tui.errors import ConfigError


def report(tg: float = 60.0, threads: int = 2) -> BenchReport:
    return BenchReport(
        model="tiny | model",
        description="llama 1B Q8_0",
        threads=threads,
        rounds=3,
        temperature=0.0,
        results=[
            Measured("pp512", Via.WORKER, 1, Spread(200.0, 190.0, 210.0), Spread(85.0, 80.0, 90.0)),
            Measured("tg128", Via.WORKER, 1, Spread(tg, tg - 1, tg + 1), None),
        ],
        cancel_ms=[],
        step_ms=10.0,
    )


def run(number: int, tg: float = 60.0, threads: int = 2) -> BenchRun:
    made = run_of(report(tg, threads), "tiny", "/m/tiny.gguf", "a CPU")
    return made.model_copy(update={"id": f"run{number}", "at": 1000.0 + number})


def test_history_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert read_history(tmp_path / "bench.jsonl") == history.History()


def test_run_is_read_as_it_was_kept(tmp_path: Path) -> None:
    path = tmp_path / "home" / "bench.jsonl"
    add_run(path, run(1))
    assert read_history(path).runs == (run(1),)
    assert path.stat().st_mode & 0o777 == 0o600


def test_broken_lines_are_counted_and_spoil_no_others(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    add_run(path, run(1))
    path.write_bytes(path.read_bytes() + b'{"id": "x"}\n\xff\xfe\n[]\n{"id": "brok')
    add_run(path, run(2))
    found = read_history(path)
    assert [one.id for one in found.runs] == ["run1", "run2"]
    assert found.n_broken == 4


def test_line_of_a_newer_luci_is_read_as_far_as_it_is_known(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    path.write_text(json.dumps({**run(1).model_dump(mode="json"), "later": 1}) + "\n")
    assert read_history(path).runs == (run(1),)


def test_history_is_bounded_and_keeps_the_youngest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MAX_RUNS", 3)
    monkeypatch.setattr(history, "SPARE_RUNS", 2)
    path = tmp_path / "bench.jsonl"
    for number in range(20):
        add_run(path, run(number))
        assert path.read_bytes().count(b"\n") <= 5
    assert [one.id for one in read_history(path).runs] == ["run17", "run18", "run19"]


def _add_many(path: Path, start: int) -> None:
    for number in range(start, start + 20):
        add_run(path, run(number))


def test_runs_of_several_processes_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add_many, args=(path, 20 * one)) for one in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    found = read_history(path)
    assert len(found.runs) == 40
    assert found.n_broken == 0


def test_run_that_is_removed_is_gone_and_the_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "bench.jsonl"
    for number in range(3):
        add_run(path, run(number))
    remove_run(path, "run1")
    assert [one.id for one in read_history(path).runs] == ["run0", "run2"]


def test_history_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bench.jsonl").mkdir()
    with pytest.raises(ConfigError, match="cannot be"):
        add_run(tmp_path / "bench.jsonl", run(1))


def test_run_before_is_the_last_one_of_the_same_model(tmp_path: Path) -> None:
    del tmp_path
    other = run(2).model_copy(update={"path": "/m/other.gguf"})
    found = history.History((run(1), other, run(3)))
    assert found.before(run(3)) == run(1)
    assert found.before(other) is None


def test_change_says_how_much_and_whether_it_may_be_chance() -> None:
    prefill, decode = compare(run(1, 60.0), run(2, 66.0))
    assert history.change_words(prefill) == "+0.0% ~"
    assert history.change_words(decode) == "+10.0%"
    only = run(3).model_copy(update={"results": run(3).results[:1]})
    assert [history.change_words(one) for one in compare(run(1), only)] == ["+0.0% ~", "-"]


def test_other_circumstances_are_named() -> None:
    later = run(2, threads=4).model_copy(update={"file_mtime_ns": 5})
    assert history.differences(run(1), later) == [
        "threads: 2, then 4",
        "the file was changed in between",
    ]
    assert history.differences(run(1), run(2)) == []


def test_runs_are_written_as_json_and_as_a_table() -> None:
    assert json.loads(history.as_json([run(1)]))["runs"][0]["id"] == "run1"
    table = history.as_markdown([run(1)])
    assert "tiny \\| model (llama 1B Q8_0)" in table
    assert "| tg128 | 1 | worker | 60.0 | 59.0 to 61.0 |" in table
    assert table.endswith("\nMachine: a CPU\n")
