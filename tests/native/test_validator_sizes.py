"""Sizes of models that people run, as their converters write them, pass the rules M02 and M08."""

from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui.engine.native_validate import check_file
from luci_tui.gguf.findings import Severity
from tests.support.hostile import layers
from tests.support.layer_models import Sizes, layer_model

pytestmark = pytest.mark.native

HEADS, HEADS_KV = "attention.head_count", "attention.head_count_kv"
KEY, VALUE = "attention.key_length", "attention.value_length"
TURNED, SECTIONS = "rope.dimension_count", "rope.dimension_sections"


def _sizes(
    width: int, heads: int | list[int], heads_kv: int | list[int]
) -> dict[str, int | list[int]]:
    return {"embedding_length": width, HEADS: heads, HEADS_KV: heads_kv}


def _states(inner: int, state: int, rank: int, groups: int) -> dict[str, int | list[int]]:
    return {
        "ssm.conv_kernel": 4,
        "ssm.inner_size": inner,
        "ssm.state_size": state,
        "ssm.time_step_rank": rank,
        "ssm.group_count": groups,
    }


def _head(length: int, turned: int = 0) -> dict[str, int | list[int]]:
    return {KEY: length, VALUE: length, TURNED: turned or length}


def _compressed(width: int, heads: int, heads_kv: int | list[int]) -> dict[str, int | list[int]]:
    lengths = {KEY: 576, VALUE: 512, f"{KEY}_mla": 192, f"{VALUE}_mla": 128, TURNED: 64}
    return _sizes(width, heads, heads_kv) | lengths


REAL: dict[str, tuple[str, dict[str, int | list[int]]]] = {
    "Falcon 7B": ("falcon", _sizes(4544, 71, 1)),
    "Phi-2": ("phi2", _sizes(2560, 32, 32) | {TURNED: 32}),
    "GPT-NeoX 20B": ("gptneox", _sizes(6144, 64, 64) | {TURNED: 24}),
    "gpt-oss 20B": ("gpt-oss", _sizes(2880, 64, 8) | _head(64)),
    "T5 small": ("t5", _sizes(512, 6, 6) | {KEY: 64, VALUE: 64}),
    "MiniCPM3": ("minicpm3", _sizes(2560, 40, 40) | {KEY: 96, VALUE: 64, TURNED: 32}),
    "Qwen2-VL 7B": ("qwen2vl", _sizes(3584, 28, 4) | {SECTIONS: [16, 24, 24, 0]}),
    "Qwen3-VL 8B": ("qwen3vl", _sizes(4096, 32, 8) | _head(128) | {SECTIONS: [24, 20, 20, 0]}),
    "GLM-4 9B": ("glm4", _sizes(4096, 32, 2) | {TURNED: 64}),
    "GLM-4 9B saved again": ("glm4", _sizes(4096, 32, 2) | {TURNED: 64, SECTIONS: [0] * 4}),
    "GLM-4.1V 9B": ("glm4", _sizes(4096, 32, 2) | {TURNED: 64, SECTIONS: [8, 12, 12, 0]}),
    "Hunyuan OCR": ("hunyuan_vl", _sizes(1024, 16, 8) | _head(128) | {SECTIONS: [16] * 4}),
    "Gemma 4": (
        "gemma4",
        _sizes(2304, 8, [1, 4])
        | _head(512)
        | {f"{KEY}_swa": 256, f"{VALUE}_swa": 256, f"{TURNED}_swa": 256},
    ),
    "Laguna": ("laguna", _sizes(3072, [48, 64], 8) | _head(128, 64) | {f"{TURNED}_swa": 128}),
    "Step-3.5": ("step35", _sizes(4096, [64, 96], 8) | _head(128)),
    "MiMo-V2": ("mimo2", _sizes(4096, 64, [4, 8]) | {KEY: 192, VALUE: 128, TURNED: 64}),
    "Llama 3.1 Nemotron 51B": ("deci", _sizes(8192, [64, 0], [8, 0]) | {TURNED: 128}),
    "OpenELM 270M": ("openelm", _sizes(1280, [12, 20], [3, 5]) | _head(64)),
    "DeepSeek V2 Lite": ("deepseek2", _compressed(2048, 16, 1)),
    "DeepSeek V2 Lite of 2024": (
        "deepseek2",
        _sizes(2048, 16, 16) | {KEY: 192, VALUE: 128, TURNED: 64},
    ),
    "DeepSeek-OCR": ("deepseek2-ocr", _sizes(1280, 10, 10) | {TURNED: 0}),
    "Kimi Linear": ("kimi-linear", _compressed(2304, 32, [0, 1]) | {"ssm.conv_kernel": 4}),
    "Qwen3.5": (
        "qwen35",
        _sizes(4096, 16, 4)
        | _head(256, 64)
        | _states(4096, 128, 32, 16)
        | {SECTIONS: [11, 11, 10, 0]},
    ),
    "Qwen3-Next": ("qwen3next", _sizes(2048, 16, 2) | _head(256, 64) | _states(4096, 128, 32, 16)),
    "Mamba 2.8B": ("mamba", _sizes(2560, 0, 0) | _states(5120, 16, 160, 0)),
    "Mamba-2": ("mamba2", _sizes(2560, 0, 0) | _states(5120, 128, 80, 1)),
    "Jamba": ("jamba", _sizes(4096, 32, [0, 8]) | _states(8192, 16, 256, 0)),
    "Nemotron-H": (
        "nemotron_h",
        _sizes(4096, 32, [0, 8]) | _head(128) | _states(8192, 128, 128, 8),
    ),
    "Granite 4.0 H": ("granitehybrid", _sizes(1536, 12, [0, 4]) | _states(3072, 128, 48, 1)),
    "PLaMo 2": ("plamo2", _sizes(4096, 32, [0, 4]) | _head(128) | _states(8192, 64, 64, 0)),
    "LFM2": ("lfm2", _sizes(2048, 32, [0, 8]) | {"shortconv.l_cache": 3}),
    "RWKV-6": ("rwkv6", _sizes(2048, 0, 0) | {"wkv.head_size": 64}),
    "ARWKV-7": ("arwkv7", _sizes(2048, 0, 0) | {"wkv.head_size": 64, "token_shift_count": 1}),
}


def _errors(path: Path) -> list[str]:
    found = check_file(str(path)).findings
    return [f"{one.code} {one.message}" for one in found if one.severity is Severity.ERROR]


@pytest.mark.parametrize("name", REAL)
def test_check_file_of_real_sizes_finds_nothing(name: str, tmp_path: Path) -> None:
    architecture, sizes = REAL[name]
    path = tmp_path / "real.gguf"
    path.write_bytes(layer_model(architecture, sizes, {"output_norm.weight": (64, 1)}).build())
    assert _errors(path) == []


@pytest.mark.parametrize(
    ("name", "tensor", "rows"),
    [
        ("DeepSeek V2 Lite", "blk.1.attn_q.weight", 16 * 192),
        ("Qwen3-Next", "blk.1.attn_q.weight", 2 * 16 * 256),
        ("Kimi Linear", "blk.0.attn_q.weight", 32 * 128),
        ("Step-3.5", "blk.1.attn_q.weight", 96 * 128),
        ("Gemma 4", "blk.1.attn_k.weight", 4 * 256),
        ("Gemma 4", "blk.0.attn_k.weight", 512),
        ("MiMo-V2", "blk.1.attn_v.weight", 8 * 128),
    ],
)
def test_check_file_of_real_projections_finds_nothing(
    name: str, tensor: str, rows: int, tmp_path: Path
) -> None:
    architecture, sizes = REAL[name]
    path = tmp_path / "real.gguf"
    path.write_bytes(layer_model(architecture, sizes, {tensor: (1, rows)}).build())
    assert _errors(path) == []


@pytest.mark.parametrize("architecture", layers.NEEDED)
def test_check_file_of_unspoilt_layers_finds_nothing(architecture: str, tmp_path: Path) -> None:
    path = tmp_path / "sound.gguf"
    path.write_bytes(layers.sound_file(architecture))
    assert _errors(path) == []


def test_check_file_of_a_wrong_layer_names_its_item(tmp_path: Path) -> None:
    sizes: Sizes = {HEADS: 4, HEADS_KV: [0, 2**29 + 2], "ssm.inner_size": 128}
    content = layer_model("jamba", sizes, {"output_norm.weight": (64, 1)}).build()
    path = tmp_path / "wrong.gguf"
    path.write_bytes(content)
    finding = check_file(str(path)).findings[0]
    assert finding.message == (
        "jamba.attention.head_count_kv is 536870914 in layer 1; 0 to 65536 is possible."
    )
    assert content[finding.offset : finding.offset + 4] == (2**29 + 2).to_bytes(4, "little")
