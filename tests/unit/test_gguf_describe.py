from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest

from luci_tui.gguf.describe import FileKind, describe
from luci_tui.gguf.header import read_header
from luci_tui.gguf.memory_table import memory_table
from luci_tui.gguf.visible import visible
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.arch_parts import TINY
from tests.support.gguf_files import finish, write_keys, write_split
from tests.support.lora import write_lora
from tests.support.tiny_vocab import CHATML_TEMPLATE, TINY_SPM


def test_describe_given_a_model_then_says_what_it_is(tmp_path: Path) -> None:
    path = write_arch_model(TinyArch.LLAMA, tmp_path / "m.gguf", chat_template=CHATML_TEMPLATE)
    found = describe(read_header(path))
    expected = sum(t.n_elements for t in gguf.GGUFReader(path).tensors)
    assert found.kind is FileKind.MODEL
    assert found.name == "tiny llama 1"
    assert found.n_params == found.n_params_active == expected
    assert found.bits_per_weight == 32.0
    assert found.quantization == "F32"
    assert [(share.type_name, share.share) for share in found.mix] == [("F32", 1.0)]
    assert found.tokenizer.n_tokens == len(TINY_SPM.texts)
    assert ("eos", 2, "</s>") in [(t.role, t.token, t.text) for t in found.tokenizer.special]
    assert found.tokenizer.adds_bos is True
    assert found.template is not None
    assert found.template.n_chars == len(CHATML_TEMPLATE)
    assert not found.template.mentions_tools


def test_describe_given_experts_then_counts_only_those_that_are_asked(tmp_path: Path) -> None:
    path = write_arch_model(TinyArch.LLAMA_MOE, tmp_path / "m.gguf")
    found = describe(read_header(path))
    in_experts = sum(t.n_elements for t in gguf.GGUFReader(path).tensors if "_exps" in t.name)
    unused = in_experts * (TINY.n_expert - TINY.n_expert_used) // TINY.n_expert
    assert found.n_params_active == found.n_params - unused < found.n_params


@pytest.mark.parametrize(
    ("architecture", "keys", "kind"),
    [
        ("llama", {"general.type": "model"}, FileKind.MODEL),
        ("clip", {}, FileKind.MMPROJ),
        ("clip", {"general.type": "mmproj"}, FileKind.MMPROJ),
        ("imatrix", {"general.type": "imatrix"}, FileKind.IMATRIX),
        ("controlvector", {}, FileKind.CONTROL_VECTOR),
    ],
)
def test_describe_given_a_special_file_then_names_its_kind(
    tmp_path: Path, architecture: str, keys: dict[str, str], kind: FileKind
) -> None:
    path = write_keys(tmp_path / "m.gguf", architecture, keys)
    assert describe(read_header(path)).kind is kind


def test_describe_given_an_adapter_or_a_vocabulary_then_names_its_kind(tmp_path: Path) -> None:
    assert describe(read_header(write_lora(tmp_path / "lora.gguf"))).kind is FileKind.LORA
    writer = gguf.GGUFWriter(tmp_path / "vocab.gguf", "llama")
    TINY_SPM.write(writer)
    finish(writer)
    found = describe(read_header(tmp_path / "vocab.gguf"))
    assert found.kind is FileKind.VOCABULARY
    assert (found.n_params, found.bits_per_weight, found.mix) == (0, 0.0, ())


def test_describe_given_a_split_model_then_counts_all_shards(tmp_path: Path) -> None:
    found = describe(read_header(write_split(tmp_path, n_shards=3)))
    assert (found.n_shards, found.n_tensors, found.n_params) == (3, 3, 12)


def test_describe_given_several_types_then_shares_add_up(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("half", np.zeros(64, dtype=np.float16))
    writer.add_tensor("whole", np.zeros(32, dtype=np.float32))
    writer.add_tensor(
        "small", np.zeros(34, dtype=np.uint8), raw_dtype=gguf.GGMLQuantizationType.Q8_0
    )
    finish(writer)
    found = describe(read_header(tmp_path / "m.gguf"))
    assert sum(share.share for share in found.mix) == pytest.approx(1.0)
    assert {share.type_name: share.size_bytes for share in found.mix} == {
        "F16": 128,
        "F32": 128,
        "Q8_0": 34,
    }


def test_memory_table_given_a_long_context_then_has_a_row_per_size_and_kv_type(
    tmp_path: Path,
) -> None:
    path = write_arch_model(TinyArch.LLAMA, tmp_path / "m.gguf", n_ctx_train=40_000)
    rows = memory_table(read_header(path))
    assert {row.n_ctx for row in rows} == {4096, 8192, 32_768}
    assert [row.kv_type for row in rows[:3]] == ["f16", "q8_0", "q4_0"]
    assert rows[0].memory.kv_bytes > rows[1].memory.kv_bytes > rows[2].memory.kv_bytes
    assert {row.n_ctx for row in memory_table(read_header(path), 1000)} == {1000}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢", "plain é 漢"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("x\u202ey\u200bz", "x\\u202ey\\u200bz"),
        ("\x9b0m", "\\x9b0m"),
        ("a\nb", "a\\nb"),
        ("\ud800", "\\ud800"),
    ],
)
def test_visible_given_what_a_terminal_acts_on_then_escapes_it(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_visible_given_a_long_text_then_says_what_is_missing() -> None:
    assert visible("abcdef", 4) == "abcd... (2 more characters)"
    assert visible("a\nb\x1b", keep_lines=True) == "a\nb\\x1b"
