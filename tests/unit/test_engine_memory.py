from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luci_tui.engine import memory
from luci_tui.engine.load_spec import FlashAttention, LoadSpec, LoraSpec, Speculation
from luci_tui.errors import ModelLoadError
from luci_tui.gguf.describe import describe
from luci_tui.gguf.estimate import MemoryEstimate
from luci_tui.gguf.header import GgufHeader, Value, read_header
from tests.support.arch_models import TinyArch, write_arch_model


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


GEMMA_8B = LLAMA_8B | {"attention.sliding_window": 1024}
GIB = 1024**3
WINDOW_PATTERN = "attention.sliding_window_pattern"


@pytest.mark.parametrize(
    ("changes", "spec", "kv_bytes"),
    [
        ({}, LoadSpec(model_path="m", n_ctx=8192), GIB),
        ({}, LoadSpec(model_path="m", n_ctx=131072), 16 * GIB),
        ({}, LoadSpec(model_path="m", n_ctx=0), GIB),
        ({"context_length": 4096}, LoadSpec(model_path="m", n_ctx=0), GIB // 2),
        ({}, LoadSpec(model_path="m", n_ctx=8192, n_slots=4), 4 * GIB),
        ({}, LoadSpec(model_path="m", n_ctx=8000), GIB),
        (
            {},
            LoadSpec(model_path="m", n_ctx=8192, kv_type_k="q8_0", kv_type_v="q8_0"),
            GIB * 17 // 32,
        ),
        (
            {"attention.head_count_kv": (8,) + (0,) * 31},
            LoadSpec(model_path="m", n_ctx=8192),
            GIB // 32,
        ),
        (
            {"attention.key_length": 64, "attention.value_length": 64},
            LoadSpec(model_path="m", n_ctx=8192),
            GIB // 2,
        ),
        (
            {"attention.key_length_mla": 192, "attention.value_length_mla": 128},
            LoadSpec(model_path="m", n_ctx=8192),
            GIB // 2,
        ),
        ({"full_attention_interval": 4}, LoadSpec(model_path="m", n_ctx=8192), GIB // 4),
        ({"nextn_predict_layers": 8}, LoadSpec(model_path="m", n_ctx=8192), GIB * 3 // 4),
        (
            {"attention.indexer.key_length": 256, "attention.indexer.types": (1, 0) * 16},
            LoadSpec(model_path="m", n_ctx=8192),
            GIB + GIB // 16,
        ),
    ],
)
def test_estimate_given_a_shape_then_counts_the_kv_cache(
    changes: dict[str, Value], spec: LoadSpec, kv_bytes: int
) -> None:
    assert memory.estimate(header_with(LLAMA_8B | changes), spec).kv_bytes == kv_bytes


@pytest.mark.parametrize(
    ("architecture", "n_full_layers"), [("gemma2", 16), ("gemma3", 5), ("llama", 32)]
)
def test_estimate_given_a_sliding_window_then_only_some_layers_keep_the_whole_context(
    architecture: str, n_full_layers: int
) -> None:
    spec = LoadSpec(model_path="m", n_ctx=8192, n_ubatch=256)
    needed = memory.estimate(header_with(GEMMA_8B, architecture), spec)
    # The window and one ubatch, in 256 steps; 4 KiB per token and layer.
    cells = n_full_layers * 8192 + (32 - n_full_layers) * (1024 + 256)
    assert needed.kv_bytes == cells * 4096


@pytest.mark.parametrize(
    ("architecture", "values", "n_full", "n_windowed"),
    [
        # Only the first 20 layers have a cache; every fifth of those sees all tokens.
        ("gemma3n", {}, 4, 16),
        ("gemma4", {"attention.shared_kv_layers": 20}, 6, 6),
        ("gemma4", {}, 16, 16),
    ],
)
def test_estimate_given_layers_that_share_a_cache_then_it_is_counted_once(
    architecture: str, values: dict[str, Value], n_full: int, n_windowed: int
) -> None:
    pattern = {} if architecture == "gemma3n" else {WINDOW_PATTERN: (True, False) * 16}
    spec = LoadSpec(model_path="m", n_ctx=8192, n_ubatch=256)
    needed = memory.estimate(header_with(GEMMA_8B | pattern | values, architecture), spec)
    assert needed.kv_bytes == (n_full * 8192 + n_windowed * (1024 + 256)) * 4096


def test_estimate_given_a_length_of_windowed_heads_then_takes_it_for_those_layers() -> None:
    values: dict[str, Value] = {WINDOW_PATTERN: (True, False) * 16}
    values |= {"attention.key_length_swa": 64, "attention.value_length_swa": 64}
    spec = LoadSpec(model_path="m", n_ctx=8192, n_ubatch=256)
    header = header_with(GEMMA_8B | values, "gemma4")
    full, windowed = 16 * 8192 * 4096, 16 * (1024 + 256) * 2048
    assert memory.estimate(header, spec).kv_bytes == full + windowed
    # Without flash attention llama.cpp pads every layer's values to the widest.
    off = spec.model_copy(update={"flash_attention": FlashAttention.OFF})
    assert memory.estimate(header, off).kv_bytes == full + windowed * 3 // 2


@pytest.mark.parametrize(
    ("architecture", "values", "n_attending", "state_bytes"),
    [
        ("mamba", {"ssm.conv_kernel": 4, "ssm.inner_size": 100, "ssm.state_size": 10}, 0, 5200),
        ("falcon-h1", {"ssm.conv_kernel": 4, "ssm.inner_size": 100, "ssm.state_size": 10}, 4, 5200),
        ("lfm2", {"shortconv.l_cache": 3, "attention.head_count_kv": (0, 8, 0, 8)}, 2, 32768),
        (
            "kimi-linear",
            {"kda.head_dim": 4, "ssm.conv_kernel": 4, "attention.head_count_kv": (0, 8, 8, 8)},
            3,
            4 * 32 * (3 * 3 * 4 + 16),
        ),
        (
            "minimax-01",
            {"attention.recurrent_layers": (1, 1, 0, 0), "attention.key_length": 128},
            2,
            4 * 32 * 128 * 128,
        ),
        ("qwen3next", {"ssm.inner_size": 100, "ssm.state_size": 10}, 1, 4000),
    ],
)
def test_estimate_given_a_hybrid_then_counts_states_and_caches(
    architecture: str, values: dict[str, Value], n_attending: int, state_bytes: int
) -> None:
    header = header_with(LLAMA_8B | {"block_count": 4} | values, architecture)
    needed = memory.estimate(header, LoadSpec(model_path="m", n_ctx=256))
    n_recurrent = 4 if architecture == "falcon-h1" else 4 - n_attending
    assert needed.kv_bytes == n_attending * 256 * 4096 + n_recurrent * state_bytes


KEYS = (
    *("block_count", "embedding_length", "context_length", "full_attention_interval"),
    *("attention.head_count", "attention.head_count_kv", "attention.key_length"),
    *("attention.sliding_window", "attention.sliding_window_pattern", "expert_count"),
    *("expert_used_count", "ssm.conv_kernel", "ssm.inner_size", "ssm.group_count"),
    *("attention.shared_kv_layers", "attention.indexer.types", "attention.indexer.key_length"),
    *("nextn_predict_layers", "attention.recurrent_layers", "feed_forward_length", "kda.head_dim"),
)


@settings(deadline=None, max_examples=50)
@given(
    architecture=st.sampled_from(
        ["llama", "gemma3", "gemma4", "nemotron_h", "mamba", "bert", "qwen3next", "", "x"]
    ),
    values=st.dictionaries(
        st.sampled_from(KEYS),
        st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.just((1, 0, -5)),
    ),
)
def test_estimate_given_any_values_then_gives_a_number(
    architecture: str, values: dict[str, Value]
) -> None:
    header = header_with(values, architecture)
    for n_ctx in (0, 512):
        needed = memory.estimate(header, LoadSpec(model_path="m", n_ctx=n_ctx))
        assert isinstance(needed.total_bytes, int)
    assert describe(header).n_params == 0


def test_estimate_given_a_recurrent_model_then_its_state_does_not_grow() -> None:
    values: dict[str, Value] = {
        "block_count": 24,
        "embedding_length": 768,
        "ssm.conv_kernel": 4,
        "ssm.inner_size": 1536,
        "ssm.state_size": 16,
    }
    header = header_with(values, "mamba")
    short, long = (LoadSpec(model_path="m", n_ctx=n_ctx) for n_ctx in (512, 8192))
    assert memory.estimate(header, short).kv_bytes == memory.estimate(header, long).kv_bytes
    assert memory.estimate(header, short).kv_bytes == 24 * 4 * (3 * 1536 + 16 * 1536)


def test_check_fits_given_too_little_then_tells_the_parts() -> None:
    spec, header = LoadSpec(model_path="m", n_ctx=8192), header_with(LLAMA_8B)
    needed = memory.estimate(header, spec)
    words = r"1\.00 GiB for 1 x 8192 .* to compute\) and 0\.50 GiB is free.*n_ctx"
    with pytest.raises(ModelLoadError, match=words) as caught:
        memory.check_fits(needed, GIB // 2, spec, header)
    assert caught.value.code == "out_of_memory"


def test_check_fits_given_pages_that_can_be_dropped_then_does_not_count_them() -> None:
    spec, header = LoadSpec(model_path="m", n_ctx=8192), header_with(LLAMA_8B)
    needed = MemoryEstimate(100, 20, 3, 4, repacked_bytes=50, droppable_bytes=60)
    assert (needed.needed_bytes, needed.total_bytes) == (177, 237)
    assert (needed + needed).total_bytes == 474
    memory.check_fits(needed, 177, spec, header)
    with pytest.raises(ModelLoadError, match="smaller n_ctx"):
        memory.check_fits(needed, 176, spec, header)
    with pytest.raises(ModelLoadError, match="smaller model"):
        memory.check_fits(needed, 149, spec, header)


def test_fits_surely_given_room_for_a_copy_of_every_matrix_then_nobody_is_asked(
    tmp_path: Path,
) -> None:
    header = read_header(write_arch_model(TinyArch.LLAMA, tmp_path / "tiny.gguf"))
    spec = LoadSpec(model_path=str(header.path), n_ctx=256)
    needed_bytes = memory.estimate(header, spec).needed_bytes
    assert not memory.fits_surely(needed_bytes, spec, header)
    assert memory.fits_surely(needed_bytes + 2 * header.weights_bytes, spec, header)
    assert memory.fits_surely(0, spec.model_copy(update={"force": True}), header)


def test_check_fits_given_a_part_that_is_too_large_then_advises_on_it(tmp_path: Path) -> None:
    header = read_header(write_arch_model(TinyArch.LLAMA, tmp_path / "tiny.gguf"))
    spec = LoadSpec(model_path=str(header.path), n_ctx=256)
    needed = memory.estimate(header, spec)
    with pytest.raises(ModelLoadError, match="smaller model"):
        memory.check_fits(needed, needed.weights_bytes - 1, spec, header)
    with pytest.raises(ModelLoadError, match="smaller n_ubatch"):
        memory.check_fits(needed, needed.weights_bytes, spec, header)


def test_check_fits_given_force_or_room_then_passes(tmp_path: Path) -> None:
    header = read_header(write_arch_model(TinyArch.LLAMA, tmp_path / "tiny.gguf"))
    spec = LoadSpec(model_path=str(header.path), n_ctx=256)
    needed = memory.estimate(header, spec)
    # 3 layers, 2 heads of 32 values, keys and values in two bytes each.
    assert needed.kv_bytes == 256 * 3 * 2 * 32 * 2 * 2
    assert needed.weights_bytes == header.weights_bytes
    memory.check_fits(needed, needed.total_bytes, spec, header)
    memory.check_fits(needed, 0, spec.model_copy(update={"force": True}), header)
    with pytest.raises(ModelLoadError):
        memory.check_fits(needed, needed.total_bytes - 1, spec, header)


def test_estimate_given_a_draft_and_an_adapter_then_counts_them(tmp_path: Path) -> None:
    path = write_arch_model(TinyArch.LLAMA, tmp_path / "tiny.gguf")
    draft = write_arch_model(TinyArch.LLAMA, tmp_path / "draft.gguf", n_layers=1)
    header = read_header(path)
    plain = LoadSpec(model_path=str(path), n_ctx=512)
    with_lora = plain.model_copy(update={"loras": (LoraSpec(path=str(draft)),)})
    with_draft = plain.model_copy(
        update={"speculation": Speculation.DRAFT, "draft_model_path": str(draft)}
    )
    alone = memory.estimate(header, plain)
    assert memory.estimate(header, with_lora).weights_bytes == (
        alone.weights_bytes + draft.stat().st_size
    )
    assert memory.estimate(header, with_draft).weights_bytes == (
        alone.weights_bytes + read_header(draft).weights_bytes
    )


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
