"""Perplexity and KL divergence beside llama-perplexity, which is built from the same tree."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from luci_tui.bench.peers import build
from luci_tui.engine.job_frames import TextScored, TextScoreSpec
from luci_tui.engine.native_text_score import score_text
from luci_tui.library.compare import DEFAULT_TEXT
from luci_tui.paths import builtin_model_file
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.jobs import quantize_here
from tests.support.tiny_vocab import byte_pair_vocab
from tests.support.wide_models import write_wide_model

pytestmark = [pytest.mark.native, pytest.mark.slow, pytest.mark.timeout(3600)]

ROOT = Path(__file__).parents[2]
WITHIN = 1e-3


@pytest.fixture(scope="module")
def tool() -> Path:
    path = build.peers_of(ROOT).binary("llama-perplexity")
    if not path.exists():
        build.build_tool(ROOT, "llama-perplexity", os.cpu_count() or 1)
    return path


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_bytes(DEFAULT_TEXT.read_bytes())
    return path


def models_of(folder: Path) -> dict[str, Path]:
    builtin = builtin_model_file()
    assert builtin is not None
    return {
        "builtin": builtin,
        "llama": write_wide_model(folder / "llama.gguf", n_layers=2),
        "gemma3": write_arch_model(TinyArch.GEMMA3, folder / "gemma3.gguf"),
        "mamba": write_arch_model(TinyArch.MAMBA, folder / "mamba.gguf"),
        "qwen2": write_arch_model(
            TinyArch.QWEN2, folder / "qwen2.gguf", vocab=byte_pair_vocab("qwen2")
        ),
    }


def ours(model: Path, text: Path, n_ctx: int, **files: str) -> TextScored:
    spec = TextScoreSpec.model_validate(
        {"model": str(model), "text": str(text), "n_ctx": n_ctx, "n_prompt": 0, "n_gen": 0, **files}
    )
    return score_text(spec, lambda _: None)


def theirs(tool: Path, model: Path, text: Path, n_ctx: int, *options: str, last: str = "") -> str:
    """Run the tool; it may leave before its log is written, so it is asked again for `last`."""
    command = [str(tool), "-m", str(model), "-f", str(text), "-c", str(n_ctx), *options]
    output = ""
    for _ in range(5):
        run = subprocess.run(command, capture_output=True, check=True)
        output = (run.stdout + run.stderr).decode(errors="replace")
        if last in output:
            break
    return output


def number(pattern: str, output: str) -> tuple[float, float]:
    found = re.search(pattern + r"\s*(-?[\d.]+) (?:\+/-|±)\s*([\d.]+)", output)
    assert found is not None, output[-2000:]
    return float(found[1]), float(found[2])


@pytest.mark.parametrize("n_ctx", [64, 256, 700])
@pytest.mark.parametrize("name", ["builtin", "llama", "gemma3", "mamba", "qwen2"])
def test_perplexity_equals_that_of_llama_perplexity(
    tool: Path, text: Path, tmp_path: Path, name: str, n_ctx: int
) -> None:
    model = models_of(tmp_path)[name]
    made = ours(model, text, n_ctx)
    assert made.perplexity is not None
    assert made.perplexity_error is not None
    last = "Final estimate: PPL ="
    perplexity, error = number(last, theirs(tool, model, text, n_ctx, last=last))
    assert made.perplexity == pytest.approx(perplexity, rel=WITHIN)
    assert made.perplexity_error == pytest.approx(error, rel=0.02, abs=WITHIN)


@pytest.mark.parametrize("quant_type", ["Q8_0", "Q4_K_M", "Q2_K"])
@pytest.mark.parametrize("n_ctx", [64, 512])
def test_divergence_equals_that_of_llama_perplexity(
    tool: Path, text: Path, tmp_path: Path, quant_type: str, n_ctx: int
) -> None:
    base = write_wide_model(tmp_path / "base.gguf", n_layers=2)
    small = Path(quantize_here(base, quant_type, tmp_path / "small.gguf").path)
    our_file, their_file = tmp_path / "ours", tmp_path / "theirs"
    ours(base, text, n_ctx, write_base=str(our_file))
    theirs(tool, base, text, n_ctx, "--kl-divergence-base", str(their_file))
    assert our_file.stat().st_size == their_file.stat().st_size
    options = ("--kl-divergence", "--kl-divergence-base", str(their_file))
    output = theirs(tool, small, text, n_ctx, *options, last="Same top p:")
    kld, error = number("Mean    KLD:", output)
    same_top, _ = number("Same top p:", output)
    # The format is the same, so that each reads the other's file as its own.
    for file in (our_file, their_file):
        made = ours(small, text, n_ctx, read_base=str(file))
        assert made.mean_kld == pytest.approx(kld, abs=WITHIN)
        assert made.kld_error == pytest.approx(error, abs=WITHIN)
        assert made.top_agreement is not None
        assert 100 * made.top_agreement == pytest.approx(same_top, abs=0.1)
