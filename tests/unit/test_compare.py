from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

from luci_tui.cli.compare import notes_of, table_lines
from luci_tui.engine.job_frames import TextScored
from luci_tui.library.compare import DEFAULT_TEXT, FailedModel, ModelsCompared, rows_of
from luci_tui.library.compare_plot import svg_of
from luci_tui.library.probe_strings import N_STRINGS, probe_strings


def scored(name: str, size_bytes: int, kld: float | None, **fields: Any) -> TextScored:
    return TextScored(
        model=f"/m/{name}.gguf",
        architecture="llama",
        size_bytes=size_bytes,
        n_params=1000,
        bits_per_weight=8.0,
        file_type=name,
        n_ctx=512,
        n_chunks=4,
        n_scored=1020,
        mean_kld=kld,
        **fields,
    )


def compared(*models: TextScored) -> ModelsCompared:
    base = models[0].model
    rows = rows_of(models, base)
    return ModelsCompared(text="t.txt", text_bytes=9, n_ctx=512, base=base, rows=rows)


def test_rows_mark_what_no_other_beats_in_size_and_divergence() -> None:
    table = compared(
        scored("F16", 2000, None),
        scored("Q8_0", 1000, 0.001),
        scored("Q5_0", 700, 0.05),
        scored("Q5_K", 690, 0.02),
        scored("Q4_K", 500, 0.02),
        scored("Q2_K", 300, 0.5),
        scored("other", 100, None, is_other_vocabulary=True),
    )
    best = [row.scored.file_type for row in table.rows if row.is_best]
    assert best == ["F16", "Q8_0", "Q4_K", "Q2_K"]
    assert [row.is_base for row in table.rows] == [True] + [False] * 6


def test_table_has_a_line_for_each_model_and_a_dash_for_what_is_not_known() -> None:
    model = scored("F16", 2000, None, perplexity=7.25, perplexity_error=0.125)
    head, line = table_lines(compared(model))
    assert head.split()[:4] == ["model", "type", "size", "bits"]
    assert line.split() == [
        *("*", "F16.gguf", "F16", "1.95", "KiB", "8.00", "7.2500", "+-", "0.1250", "base"),
        *("-", "-", "-", "-"),
    ]


def test_table_has_a_line_with_the_reason_for_a_model_that_failed() -> None:
    table = compared(scored("F16", 2000, None))
    failed = FailedModel(model="/m/a-long-name-of-a.gguf", code="x", message="It is cut off.")
    table = table.model_copy(update={"rows": (failed, *table.rows)})
    head, first, second = table_lines(table)
    assert first == "! a-long-name-of-a.gguf  It is cut off."
    assert head.index("type") == second.index("F16  ") == first.index("It is")
    assert list(notes_of(table, base=failed.model)) == [
        "Text: t.txt, 9 bytes, 4 chunks of 512 tokens, 1020 counted.",
        "a-long-name-of-a.gguf could not be measured, so the base is F16.gguf, the largest of the "
        "others.",
        "1 of 2 models could not be measured.",
    ]


def test_picture_is_xml_with_a_mark_and_a_name_for_each_model() -> None:
    table = compared(
        scored("F16", 2000, None),
        scored("a<b&c", 1000, 0.3),
        scored("small", 900, 0.1),
        scored("other", 100, None),
    )
    failed = FailedModel(model="/m/cut.gguf", code="truncated", message="It is cut off.")
    table = table.model_copy(update={"rows": (*table.rows, failed)})
    root = ET.fromstring(svg_of(table))
    names = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"F16", "a<b&c", "small", "Not measured against it: other"} <= names
    assert "Could not be measured: cut" in names
    assert len(list(root.iter("{http://www.w3.org/2000/svg}circle"))) == 2
    assert len(list(root.iter("{http://www.w3.org/2000/svg}rect"))) == 2


def test_probe_strings_are_the_same_each_time_and_of_many_kinds() -> None:
    strings = probe_strings()
    assert strings == probe_strings()
    assert len(strings) == N_STRINGS
    assert len(set(strings)) > 0.9 * N_STRINGS
    joined = "".join(strings)
    assert all(sign in joined for sign in ("🦙", "\r\n", "\u00a0", "def f", "0x", "'LL"))
    assert any("\u0905" <= sign <= "\u0939" for sign in joined)


def test_default_text_fills_several_chunks() -> None:
    assert len(DEFAULT_TEXT.read_text(encoding="utf-8")) > 9000
