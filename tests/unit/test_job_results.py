from __future__ import annotations

import pytest
from pydantic import JsonValue

from luci_tui.cli.job_results import is_in_part, result_lines
from luci_tui.engine.job_frames import ImatrixResult
from luci_tui.host.api.messages import JobRecord, JobState
from luci_tui.library.convert import ConvertResult
from luci_tui.library.convert_source import SourceKind

SPREAD: dict[str, JsonValue] = {"median": 20.0, "min": 10.0, "max": 30.0}


def done(kind: str, result: dict[str, JsonValue] | None) -> JobRecord:
    return JobRecord(
        id="7", kind=kind, title="do it", state=JobState.DONE, created_at=0.0, result=result
    )


def test_job_of_an_imatrix_says_what_the_command_says() -> None:
    made = ImatrixResult(
        path="/m/i.gguf",
        size_bytes=2048,
        n_chunks=3,
        n_ctx=512,
        n_entries=14,
        n_partial_entries=2,
        seconds=1.5,
    )
    line, note = result_lines(done("imatrix", made.model_dump(mode="json", exclude={"kind"})))
    assert line.startswith("/m/i.gguf: 2.00 KiB, 14 weights, 3 chunks of 512 tokens, ")
    assert note.startswith("2 weights have experts")


def test_job_of_a_conversion_says_what_the_command_says() -> None:
    made = ConvertResult(
        source="/w",
        path="/m/o.gguf",
        card="/m/o.md",
        outtype="f16",
        source_kind=SourceKind.MODEL,
        architecture="llama",
        size_bytes=2048,
        n_params=1000,
        seconds=1.5,
        n_warnings=0,
        notes=("A note.",),
    )
    lines = result_lines(done("convert", made.model_dump(mode="json", exclude={"kind"})))
    assert lines[0].startswith("/m/o.gguf: llama, ")
    assert lines[-2:] == ["A note.", "The model card is /m/o.md."]


def test_job_of_a_bench_is_its_table() -> None:
    result: dict[str, JsonValue] = {
        "id": "a",
        "at": 1.0,
        "asked": "m",
        "model": "M",
        "description": "llama F16",
        "threads": 2,
        "rounds": 5,
        "results": [
            {"test": "pp64", "via": via, "streams": 1, "tokens_per_s": SPREAD, "ttft_ms": SPREAD}
            for via in ("worker", "core")
        ],
    }
    lines = result_lines(done("bench", result))
    assert lines[0].startswith("M (llama F16), 2 threads, median (min-max) of 5 rounds")
    assert lines[3].split() == ["pp64", "1", "worker", "20.0", "10.0-30.0", "20.0"]
    assert "pp64 x1: worker / core = 1.000" in lines


def test_job_of_a_load_names_the_model() -> None:
    assert result_lines(done("load", {"name": "tiny"})) == ["tiny was loaded."]


@pytest.mark.parametrize("kind", ["quantize", "compare_models", "bench", "telepathy"])
def test_result_of_another_version_is_shown_as_it_is(kind: str) -> None:
    job = done(kind, {"path": "/m/o.gguf", "parts": [{"n": 1}]})
    assert result_lines(job) == ["path      /m/o.gguf", 'parts     [{"n": 1}]']
    assert not is_in_part(job)


def test_job_without_a_result_has_no_lines() -> None:
    assert result_lines(done("quantize", None)) == []
