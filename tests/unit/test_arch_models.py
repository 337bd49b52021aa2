from pathlib import Path

import gguf
import pytest

from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.lora import write_lora
from tests.support.tiny_vocab import CHATML_TEMPLATE, TINY_SPM, TINY_WPM

TWO_MEGABYTES = 2_000_000


@pytest.mark.parametrize("arch", list(TinyArch))
def test_write_arch_model_twice_gives_the_same_small_file(arch: TinyArch, tmp_path: Path) -> None:
    first = write_arch_model(arch, tmp_path / "first.gguf").read_bytes()
    second = write_arch_model(arch, tmp_path / "second.gguf").read_bytes()
    assert first == second
    assert len(first) < TWO_MEGABYTES


def test_write_arch_model_with_another_seed_gives_other_weights(tmp_path: Path) -> None:
    first = write_arch_model(TinyArch.LLAMA, tmp_path / "first.gguf", seed=1)
    second = write_arch_model(TinyArch.LLAMA, tmp_path / "second.gguf", seed=2)
    assert first.read_bytes() != second.read_bytes()


def test_write_arch_model_with_one_layer_and_a_template_keeps_both(tmp_path: Path) -> None:
    path = write_arch_model(
        TinyArch.LLAMA, tmp_path / "draft.gguf", n_layers=1, chat_template=CHATML_TEMPLATE
    )
    reader = gguf.GGUFReader(path)
    template = reader.get_field(gguf.Keys.Tokenizer.CHAT_TEMPLATE)
    assert template is not None
    assert template.contents() == CHATML_TEMPLATE
    layers = {t.name.split(".")[1] for t in reader.tensors if t.name.startswith("blk.")}
    assert layers == {"0"}


def test_tiny_vocabularies_have_unique_tokens() -> None:
    for vocab in (TINY_SPM, TINY_WPM):
        assert len(set(vocab.texts)) == len(vocab.texts) == len(vocab.scores) == len(vocab.types)


def test_write_lora_pairs_every_factor(tmp_path: Path) -> None:
    names = {t.name for t in gguf.GGUFReader(write_lora(tmp_path / "lora.gguf")).tensors}
    downs = {name.removesuffix(".lora_a") for name in names if name.endswith(".lora_a")}
    ups = {name.removesuffix(".lora_b") for name in names if name.endswith(".lora_b")}
    assert downs == ups
    assert len(downs) == 12
