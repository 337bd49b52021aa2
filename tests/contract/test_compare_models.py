"""Comparisons of real models of which some cannot be measured."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest

from luci_tui.engine.job_frames import JobProgress
from luci_tui.errors import LuciError
from luci_tui.library.compare import (
    CompareModelsSpec,
    FailedModel,
    ModelsCompared,
    compare_models,
)
from tests.support import raw_gguf
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.wide_models import write_wide_model

pytestmark = pytest.mark.native


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compared")
    whole = write_wide_model(folder / "large.gguf", n_layers=1)
    write_arch_model(TinyArch.LLAMA, folder / "small.gguf")
    write_arch_model(TinyArch.RERANKER, folder / "ranks.gguf")
    write_arch_model(TinyArch.BERT, folder / "embeds.gguf")
    (folder / "cut.gguf").write_bytes(whole.read_bytes()[:200_000])
    write_huge(folder / "huge.gguf")
    return folder


def write_huge(path: Path) -> None:
    """Write a file that says it has a terabyte, of which nearly all is a hole."""
    # Its one tensor comes last, so that the rest of the file is its data.
    tensor = raw_gguf.RawTensor(b"token_embd.weight", (1 << 10, 1 << 28), data=b"")
    whole = raw_gguf.good_model()
    head = raw_gguf.RawGguf(entries=whole.entries, tensors=(tensor,)).build()
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + (1 << 40))


def spec(folder: Path, *names: str, **fields: object) -> CompareModelsSpec:
    options = {"n_ctx": 64, "n_chunks": 1, "n_threads": 1, "n_prompt": 0, "n_gen": 0}
    if "base" in fields:
        fields["base"] = str(folder / f"{fields['base']}.gguf")
    paths = [str(folder / f"{name}.gguf") for name in names]
    return CompareModelsSpec.model_validate({"models": paths, **options, **fields})


async def compared(wanted: CompareModelsSpec, log: Path) -> ModelsCompared:
    async with aclosing(compare_models(wanted, log / "jobs.log")) as events:
        async for event in events:
            if isinstance(event, ModelsCompared):
                return event
            assert isinstance(event, JobProgress)
    raise AssertionError


async def test_models_that_cannot_be_measured_keep_their_rows_and_the_others(
    models: Path, tmp_path: Path
) -> None:
    wanted = spec(models, "cut", "small", "gone", "ranks", "huge", "embeds", "large")
    table = await compared(wanted, tmp_path)
    named = [row.model if isinstance(row, FailedModel) else row.scored.model for row in table.rows]
    assert [Path(one).stem for one in named] == [
        "cut",
        "small",
        "gone",
        "ranks",
        "huge",
        "embeds",
        "large",
    ]
    small, large = table.measured
    assert (large.is_base, small.is_base) == (True, False)
    assert small.scored.mean_kld is not None
    why = {Path(one.model).stem: (one.code, one.message) for one in table.failed}
    assert {name: code for name, (code, _) in why.items()} == {
        "cut": "truncated",
        "gone": "missing_file",
        "ranks": "not_comparable",
        "huge": "out_of_memory",
        "embeds": "not_comparable",
    }
    assert "large.gguf, writes text" in why["embeds"][1]
    assert all(message.strip() and "\n" not in message for _, message in why.values())


async def test_base_that_cannot_be_measured_then_the_largest_of_the_others_is_it(
    models: Path, tmp_path: Path
) -> None:
    table = await compared(spec(models, "small", "large", base="ranks"), tmp_path)
    assert table.base == str(models / "large.gguf")
    assert [row.scored.model for row in table.measured if row.is_base] == [table.base]
    assert [Path(one.model).stem for one in table.failed] == ["ranks"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("ranks",), "^ranks.gguf cannot be compared"),
        (("ranks", "cut"), "^None of the 2 models can be measured; the first: ranks.gguf cannot"),
    ],
)
async def test_no_model_that_can_be_measured_then_the_comparison_fails(
    models: Path, tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    with pytest.raises(LuciError, match=message):
        await compared(spec(models, *names), tmp_path)


async def test_text_that_is_not_there_then_the_comparison_says_so_once(
    models: Path, tmp_path: Path
) -> None:
    with pytest.raises(LuciError, match=r"^There is no text .*nothing\.txt"):
        await compared(spec(models, "small", "large", text=str(models / "nothing.txt")), tmp_path)
