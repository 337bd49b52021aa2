"""Files whose layers have sizes that llama.cpp asserts against, in every architecture with such."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support import raw_gguf as raw
from tests.support.hostile.case import Case, rejected
from tests.support.layer_models import N_WIDTH, Sizes, layer_model

HEADS: Sizes = {"attention.head_count": 4, "attention.head_count_kv": 2}
"""Of 16 values each."""
SECTIONS: Sizes = {"rope.dimension_sections": [2, 3, 3, 0]}
STATES: Sizes = {
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 128,
    "ssm.state_size": 16,
    "ssm.time_step_rank": 8,
    "ssm.group_count": 2,
}
OUTPUT = {"blk.1.attn_output.weight": (N_WIDTH, N_WIDTH)}
NEEDED: dict[str, Sizes] = {
    "qwen2vl": SECTIONS,
    "qwen4exp": SECTIONS,
    "qwen35moe": SECTIONS,
    "jamba": STATES,
    "grovemoe": {"expert_count": 8, "expert_used_count": 2},
    "lfm2": {"shortconv.l_cache": 3},
    "hrm_text": {"hrm.layers_per_stack": 1, "hrm.h_cycles": 1, "hrm.l_cycles": 1},
    "deepseek4": {"attention.output_group_count": 2, "hyper_connection.count": 4},
    "deepseek2-ocr": {"rope.dimension_count": 0},
    "glm5-next": {
        "rope.dimension_count": 0,
        "hyper_connection.count": 4,
        "attention.indexer.kpool": 4,
        "attention.indexer.top_k": 64,
    },
    "glm-dsa": {
        "attention.key_length_mla": 32,
        "attention.value_length_mla": 16,
        "attention.indexer.key_length": 16,
    },
    "wavtokenizer-dec": {
        "posnet.block_count": 2,
        "posnet.embedding_length": 64,
        "convnext.block_count": 2,
        "convnext.embedding_length": 64,
    },
}
"""What an architecture must have beside its heads."""


def sound_file(architecture: str) -> bytes:
    """Give the file that this architecture's cases spoil."""
    return layer_model(architecture, dict(HEADS) | dict(NEEDED[architecture]), OUTPUT).build()


def cases() -> Iterator[Case]:
    """Yield every case of this module."""
    yield from _rotation()
    yield from _sections()
    yield from _lengths()
    yield from _arrays()
    yield from _states()
    yield from _bounds()


def _case(
    architecture: str,
    sizes: Sizes,
    *,
    beside: Sizes | None = None,
    code: str = "M02",
    q_rows: int = 0,
) -> Case:
    tensors = {"blk.0.attn_q.weight": (N_WIDTH, q_rows)} if q_rows else {}
    shown = ", ".join(f"{key} {value}" for key, value in sizes.items())
    needed = dict(HEADS) | dict(NEEDED.get(architecture, {})) | dict(beside or {})
    content = layer_model(architecture, needed | dict(sizes), tensors | OUTPUT).build()
    return rejected(f"{architecture} with {shown or 'heads alone'}", content, code)


def _rotation() -> Iterator[Case]:
    for architecture, count in (
        ("gemma3", 18),
        ("gemma3", 15),
        ("phi2", 0),
        ("qwen2vl", 8),
        ("granite", 8),
        ("hunyuan_vl", 8),
        ("deepseek2", 16),
        ("step35", 2 * 15),
    ):
        yield _case(architecture, {"rope.dimension_count": count})
    swa = "rope.dimension_count_swa"
    gemma4: Sizes = {"attention.key_length": 32, "attention.value_length": 32}
    gemma4 = dict(gemma4) | {"attention.key_length_swa": 16, "attention.value_length_swa": 16}
    for count in (0, 13, 18, 32, 2**31):
        yield _case("gemma4", {swa: count}, beside=gemma4)
    yield _case("gemma4", gemma4)  # all 32 of a head of 16, as no other count is given
    yield _case("laguna", {"rope.dimension_count": 8, swa: 18})
    yield _case("qwen3", {swa: 8})
    yield _case("gemma3", {"attention.key_length": 15, "attention.value_length": 15})
    compressed: Sizes = {"attention.key_length": 24, "attention.key_length_mla": 16}
    yield _case("deepseek2", dict(compressed) | {"rope.dimension_count": 16})
    yield _case("glm-dsa", {"rope.dimension_count": 16, "attention.indexer.key_length": 8})


def _sections() -> Iterator[Case]:
    key = "rope.dimension_sections"
    for sections in ([468, 6, 6, 0], [4, 6, 2**31 - 1, 0], [-4, 6, 6, 0], [0, 0, 0, 4], [0] * 4):
        yield _case("qwen2vl", {key: sections})
    for sections in ([], [4, 4, 4], [4] * 5):
        yield _case("qwen3vl", {key: sections})
    for architecture in ("qwen3vl", "qwen3vlmoe", "paddleocr"):
        yield _case(architecture, {"attention.key_length": 16, "attention.value_length": 16})
    yield _case("qwen2vl", {key: 4})
    yield _case("glm4", {key: [8, 8, 8, 0]})
    compressed: Sizes = {"attention.key_length": 24, "attention.key_length_mla": 16}
    yield _case("bailingmoe3", dict(compressed) | {"rope.dimension_count": 8, key: [4, 4, 4, 0]})


def _lengths() -> Iterator[Case]:
    for key in ("attention.key_length", "attention.value_length"):
        for architecture in ("llama", "phi3", "gpt2", "t5", "lfm2", "nemotron_h", "eagle3"):
            yield _case(architecture, {key: 8})
    yield _case("deepseek2-ocr", {"attention.key_length": 8, "attention.value_length": 8})
    yield _case("deepseek2-ocr", {"embedding_length": 60})
    turning = layer_model("deepseek2-ocr", HEADS, OUTPUT).with_entry(
        "deepseek2-ocr.rope.freq_base", raw.F32, raw.scalar(raw.F32, 20000.0)
    )
    yield rejected("deepseek2-ocr with rope.freq_base 20000", turning.build(), "M02")
    for key in ("attention.key_length_swa", "attention.value_length_swa"):
        yield _case("qwen3", {key: 8})
        yield _case("qwen3", {key: 2**31})


def _arrays() -> Iterator[Case]:
    kv = "attention.head_count_kv"
    for counts in ([0, 2**29 + 2], [0, -1], [2, 3], [2], [2, 2, 2]):
        yield _case("jamba", {kv: counts})
    yield _case("jamba", {kv: [4, 0]}, code="M08", q_rows=32)
    yield _case("deci", {"attention.head_count": [4, 2**30], kv: [2, 2]})
    yield _case("deci", {"attention.head_count": [4, 6], kv: [2, 4]})
    yield _case("deci", {"attention.head_count": [4, 4], kv: [2, 2]}, code="M08", q_rows=48)
    yield _case("llama", {"feed_forward_length": [128, 2**31 - 1]})
    yield _case("llama", {"expert_count": 4, "expert_used_count": [2, 5]})
    yield _case(
        "gemma4",
        {"attention.key_length_swa": 8, "rope.dimension_count_swa": 8},
        code="M08",
        q_rows=48,
    )
    yield _case("qwen4exp", {"rope.dimension_count": 8}, code="M08", q_rows=64)


def _states() -> Iterator[Case]:
    for architecture, changes in (
        ("mamba", {"ssm.inner_size": 64}),
        ("jamba", {"ssm.inner_size": 64}),
        ("granitehybrid", {"ssm.inner_size": 64}),
        ("mamba2", {"ssm.group_count": 0}),
        ("falcon-h1", {"ssm.group_count": 0}),
        ("qwen3next", {"ssm.group_count": 0}),
        ("nemotron_h", {"ssm.group_count": 3}),
        ("plamo2", {"ssm.group_count": 1}),
        ("plamo2", {"ssm.group_count": 0, "ssm.time_step_rank": 7}),
        ("qwen3next", {"ssm.state_size": 32}),
        ("qwen35moe", {"ssm.time_step_rank": 4}),
    ):
        yield _case(architecture, changes, beside=STATES)
    for size in (0, 48):
        yield _case("rwkv6", {"wkv.head_size": size})


def _bounds() -> Iterator[Case]:
    for architecture, key, value in (
        ("lfm2", "shortconv.l_cache", 1),
        ("rwkv7", "token_shift_count", 1),
        ("arwkv7", "token_shift_count", 2),
        ("grovemoe", "experts_per_group", 0),
        ("ernie4_5-moe", "interleave_moe_layer_step", 0),
        ("minimax-m3", "attention.indexer.block_size", 0),
        ("nanbeige", "num_loops", 0),
        ("nanbeige", "num_loops", 257),
        ("hrm_text", "hrm.h_cycles", 0),
        ("hrm_text", "hrm.l_cycles", 2),
        ("deepseek4", "attention.output_group_count", 0),
        ("deepseek4", "attention.output_group_count", 3),
        ("deepseek4", "hyper_connection.count", 2),
        ("glm5-next", "rope.dimension_count", 16),
        ("glm5-next", "attention.indexer.kpool", 1),
        ("glm5-next", "attention.indexer.top_k", 65),
        ("glm-dsa", "attention.key_length_mla", 0),
        ("gemma-embedding", "dense_2_feat_in", 32),
        ("gemma-embedding", "dense_3_feat_out", 32),
        ("wavtokenizer-dec", "posnet.block_count", 3),
        ("wavtokenizer-dec", "convnext.block_count", 3),
        ("wavtokenizer-dec", "convnext.embedding_length", 32),
    ):
        yield _case(architecture, {key: value})
    yield _case("wavtokenizer-dec", {"block_count": 7, "posnet.block_count": 7})
    for architecture in ("glm4moe", "smallthinker", "rwkv6qwen2", "lfm2moe"):
        yield _case(architecture, {})
