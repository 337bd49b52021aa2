from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from luci_tui.engine import memory
from luci_tui.engine.frames import LoadSpec
from luci_tui.errors import ModelLoadError
from luci_tui.gguf.header import GgufHeader, Value, read_header
from tests.support import tiny_models


def header_with(values: dict[str, Value], architecture: str = "llama") -> GgufHeader:
    return GgufHeader(
        path=Path("m.gguf"),
        shard_paths=(Path("m.gguf"),),
        size_bytes=1000,
        version=3,
        n_tensors=1,
        architecture=architecture,
        file_type=None,
        values={f"{architecture}.{key}": value for key, value in values.items()},
    )


CGROUPS_V1 = "9:name=systemd:/\n4:memory:/gone/since\n0::/\n"

LLAMA_8B: dict[str, Value] = {
    "block_count": 32,
    "embedding_length": 4096,
    "attention.head_count": 32,
    "attention.head_count_kv": 8,
    "context_length": 131072,
}


@pytest.mark.parametrize(
    ("changes", "spec", "kv_bytes"),
    [
        ({}, LoadSpec(model_path="m", n_ctx=8192), 1024**3),
        ({}, LoadSpec(model_path="m", n_ctx=131072), 16 * 1024**3),
        ({}, LoadSpec(model_path="m", n_ctx=0), 1024**3),
        ({"context_length": 4096}, LoadSpec(model_path="m", n_ctx=0), 1024**3 // 2),
        ({}, LoadSpec(model_path="m", n_ctx=8192, n_slots=4), 4 * 1024**3),
        (
            {},
            LoadSpec(model_path="m", n_ctx=8192, kv_type_k="q8_0", kv_type_v="q8_0"),
            1024**3 * 17 // 32,
        ),
        ({"attention.sliding_window": 1024}, LoadSpec(model_path="m", n_ctx=8192), 1024**3 // 8),
        ({"full_attention_interval": 4}, LoadSpec(model_path="m", n_ctx=8192), 1024**3 // 4),
        (
            {"attention.head_count_kv": (8,) + (0,) * 31},
            LoadSpec(model_path="m", n_ctx=8192),
            1024**3 // 32,
        ),
        (
            {"attention.key_length": 64, "attention.value_length": 64},
            LoadSpec(model_path="m", n_ctx=8192),
            1024**3 // 2,
        ),
        ({"attention.kv_lora_rank": 512}, LoadSpec(model_path="m", n_ctx=8192), 1024**3 // 2),
    ],
)
def test_estimate_given_a_shape_then_counts_the_kv_cache(
    changes: dict[str, Value], spec: LoadSpec, kv_bytes: int
) -> None:
    needed = memory.estimate(header_with(LLAMA_8B | changes), spec)
    assert needed.kv_bytes == kv_bytes
    assert needed.total_bytes == 1000 + kv_bytes


def test_estimate_given_a_model_without_attention_then_counts_only_weights() -> None:
    header = header_with({"block_count": 24, "embedding_length": 768}, "mamba")
    assert memory.estimate(header, LoadSpec(model_path="m")).kv_bytes == 0


def test_check_fits_given_too_little_then_tells_the_numbers() -> None:
    spec, header = LoadSpec(model_path="m", n_ctx=8192), header_with(LLAMA_8B)
    needed = memory.estimate(header, spec)
    with pytest.raises(ModelLoadError, match=r"1\.00 GiB .*0\.50 GiB is free.*n_ctx") as caught:
        memory.check_fits(needed, 1024**3 // 2, spec, header)
    assert caught.value.code == "out_of_memory"
    with pytest.raises(ModelLoadError, match="smaller model"):
        memory.check_fits(needed, 999, spec, header)


def test_check_fits_given_force_or_room_then_passes(tmp_path: Path) -> None:
    header = read_header(tiny_models.tiny_llama(tmp_path / "tiny.gguf"))
    spec = LoadSpec(model_path=str(header.path), n_ctx=256)
    needed = memory.estimate(header, spec)
    # 2 layers, 2 heads of 32 values, keys and values in two bytes each.
    assert needed.kv_bytes == 256 * 2 * 2 * 32 * 2 * 2
    memory.check_fits(needed, needed.total_bytes, spec, header)
    memory.check_fits(needed, 0, spec.model_copy(update={"force": True}), header)
    with pytest.raises(ModelLoadError):
        memory.check_fits(needed, needed.total_bytes - 1, spec, header)


def test_available_given_a_cgroup_v2_limit_then_takes_the_tightest(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("600000\n")
    (tmp_path / "memory.stat").write_text("anon 1\ninactive_file 100000\n")
    assert memory.available_bytes(tmp_path, "0::/\n") == 500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available_bytes(tmp_path, "0::/\n") > 500_000


def test_available_given_a_cgroup_v1_limit_then_takes_it(tmp_path: Path) -> None:
    folder = tmp_path / "memory"
    folder.mkdir()
    (folder / "memory.limit_in_bytes").write_text("900000\n")
    (folder / "memory.usage_in_bytes").write_text("950000\n")
    (folder / "memory.stat").write_text("inactive_file 5\ntotal_inactive_file 100000\n")
    assert memory.available_bytes(tmp_path, CGROUPS_V1) == 50_000
    (folder / "memory.usage_in_bytes").write_text("2000000\n")
    assert memory.available_bytes(tmp_path, CGROUPS_V1) == 0


def test_available_given_nested_cgroups_then_the_tightest_parent_counts(tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    own = tmp_path / "outer" / "inner"
    own.mkdir(parents=True)
    for folder, limit in ((own, "max"), (own.parent, "700000")):
        (folder / "memory.max").write_text(limit)
        (folder / "memory.current").write_text("100000")
    assert memory.available_bytes(tmp_path, "0::/outer/inner\n") == 600_000


def test_available_given_no_limit_then_is_what_the_machine_has(tmp_path: Path) -> None:
    total = psutil.virtual_memory().total
    assert 0 < memory.available_bytes(tmp_path, CGROUPS_V1) < total
    assert 0 < memory.available_bytes() < total
