"""Files that are well-formed and lie about the model, its tokenizer or its shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from tests.support import raw_gguf as raw
from tests.support.hostile.case import Case, flagged, rejected
from tests.support.raw_gguf import N_EMBD, N_TOKENS, RawGguf, RawTensor, good_model

NAN = float("nan")
INF = float("inf")


def cases() -> Iterator[Case]:
    """Yield every case of this module."""
    yield from _architecture()
    yield from _sizes()
    yield from _experts()
    yield from _vocabulary()
    yield from _special_tokens()
    yield from _tensors()
    yield from _numbers()
    yield from _split_keys()
    yield from _projector()
    yield from _lora()
    yield from _control_vector()
    yield from _imatrix()


def _u32(model: RawGguf, key: str, value: int) -> bytes:
    return model.with_entry(key, raw.U32, raw.scalar(raw.U32, value)).build()


def _architecture() -> Iterator[Case]:
    good = good_model()
    key = "general.architecture"
    yield rejected("no architecture", good.without(key).build(), "M01")
    yield rejected("architecture as number", _u32(good, key, 7), "M01")
    listed = good.with_entry(key, raw.ARRAY, raw.array(raw.STRING, ["llama"]))
    yield rejected("architecture as array", listed.build(), "M01")
    for name in ("", "../../etc/passwd", "LLAMA", "llama ", "l" * 65, "%s%n", "lla\nma"):
        built = good.with_entry(key, raw.STRING, raw.text(name)).build()
        yield rejected(f"architecture {name[:20]!r}", built, "M01")
    for name in ("llama9000", "gpt-j-nobody-has", "x"):
        built = good.with_entry(key, raw.STRING, raw.text(name)).build()
        yield flagged(f"unknown architecture {name}", built, "M01")
    picture = replace(good, entries=good.entries[:2])
    entry = (key, raw.STRING, raw.text("flux"))
    yield flagged("a picture model without tokenizer", picture.with_entry(*entry).build(), "M01")


def _sizes() -> Iterator[Case]:
    good = good_model()
    for key in ("llama.block_count", "llama.embedding_length", "llama.context_length"):
        yield rejected(f"no {key}", good.without(key).build(), "M02")
        yield rejected(f"{key} is 0", _u32(good, key, 0), "M02")
        yield rejected(f"{key} is 2^32-1", _u32(good, key, 2**32 - 1), "M02")
        for kind in (raw.U64, raw.I32, raw.F32, raw.U16):
            built = good.with_entry(key, kind, raw.scalar(kind, 1)).build()
            yield rejected(f"{key} of type {kind}", built, "M02")
        text = good.with_entry(key, raw.STRING, raw.text("1")).build()
        yield rejected(f"{key} as text", text, "M02")
    for count in (513, 1_000_000):
        yield rejected(f"block_count {count}", _u32(good, "llama.block_count", count), "M02")
    for key, values in {
        "llama.attention.head_count": (3, 65_537, 2**31),
        "llama.attention.head_count_kv": (0, 3, 4, 2**32 - 1),
        "llama.attention.key_length": (0, 2**31),
        "llama.rope.dimension_count": (0, 8, 15, 17, 18, 2**30),
        "llama.feed_forward_length": (2**31,),
        "llama.nextn_predict_layers": (2, 2**31),
        "llama.full_attention_interval": (0, 513),
        "llama.pooling_type": (5, 2**31),
        "llama.vocab_size": (0, 2**31),
        "llama.ssm.conv_kernel": (0, 2**31),
    }.items():
        for value in values:
            yield rejected(f"{key} is {value}", _u32(good, key, value), "M02")
    for key in ("llama.feed_forward_length", "llama.attention.head_count"):
        for name, packed in {
            "of two items for one block": raw.array(raw.U32, [2, 2]),
            "of 600 items": raw.array(raw.U32, [2] * 600),
            "of no items": raw.array(raw.U32, []),
            "of f32": raw.array(raw.F32, [2.0]),
            "of strings": raw.array(raw.STRING, ["2"]),
        }.items():
            built = good.with_entry(key, raw.ARRAY, packed).build()
            yield rejected(f"{key} as array {name}", built, "M02")
    for name in ("unspecified", "", "yarnn", "none\x01"):
        entry = ("llama.rope.scaling.type", raw.STRING, raw.text(name))
        yield rejected(f"rope scaling {name!r}", good.with_entry(*entry).build(), "M02")
    window = good.with_entry("llama.attention.sliding_window", raw.U32, raw.scalar(raw.U32, 32))
    pattern = _u32(window, "llama.attention.sliding_window_pattern", 1)
    yield rejected("a sliding window for no layer", pattern, "M02")
    entry = ("general.quantization_version", raw.STRING, raw.text("2"))
    yield rejected("quantization version as text", good.with_entry(*entry).build(), "M03")
    quantized = good.with_tensor("output.weight", kind=8).without("general.quantization_version")
    yield flagged("quantized without version", quantized.build(), "M03")


def _experts() -> Iterator[Case]:
    good = good_model()
    for count, used, groups, groups_used in (
        (1025, 2, 0, 0),
        (4, 5, 0, 0),
        (4, 0, 0, 0),
        (0, 2, 0, 0),
        (4, 2, 4, 1),
        (4, 2, 3, 1),
        (8, 2, 2, 0),
        (8, 2, 2, 2),
        (0, 0, 2, 1),
    ):
        model = good
        for key, value in {
            "llama.expert_count": count,
            "llama.expert_used_count": used,
            "llama.expert_group_count": groups,
            "llama.expert_group_used_count": groups_used,
        }.items():
            model = model.with_entry(key, raw.U32, raw.scalar(raw.U32, value))
        name = f"{used} of {count} experts, {groups_used} of {groups} groups"
        yield rejected(name, model.build(), "M02")


def _vocabulary() -> Iterator[Case]:
    good = good_model()
    words = raw.tokens()

    def with_tokens(tokens: list[str]) -> bytes:
        entry = ("tokenizer.ggml.tokens", raw.ARRAY, raw.array(raw.STRING, tokens))
        return good.with_entry(*entry).build()

    yield rejected("no tokenizer model", good.without("tokenizer.ggml.model").build(), "M04")
    yield rejected("no tokens", good.without("tokenizer.ggml.tokens").build(), "M04")
    yield rejected("tokenizer model as number", _u32(good, "tokenizer.ggml.model", 1), "M04")
    yield rejected("vocabulary of 0 tokens", with_tokens([]), "M04")
    yield rejected("two equal tokens", with_tokens([*words[:-1], words[-2]]), "M04")
    yield rejected("tokens equal as C strings", with_tokens([*words[:-2], "a\0b", "a\0c"]), "M04")
    yield rejected("all tokens equal", with_tokens(["x"] * N_TOKENS), "M04")
    numbers = ("tokenizer.ggml.tokens", raw.ARRAY, raw.array(raw.I32, list(range(N_TOKENS))))
    yield rejected("tokens as numbers", good.with_entry(*numbers).build(), "M04")
    yield rejected(
        "tokens as one string",
        good.with_entry("tokenizer.ggml.tokens", raw.STRING, raw.text("abc")).build(),
        "M04",
    )
    for key, kinds in {
        "tokenizer.ggml.scores": (raw.F64, raw.U8),
        "tokenizer.ggml.token_type": (raw.U32, raw.F32, raw.U8),
    }.items():
        right = raw.F32 if "scores" in key else raw.I32
        for n_items in (0, 1, N_TOKENS - 1, N_TOKENS + 1):
            packed = raw.array(right, [1] * n_items)
            built = good.with_entry(key, raw.ARRAY, packed).build()
            yield rejected(f"{key} with {n_items} items", built, "M04")
        for kind in kinds:
            packed = raw.array(kind, [1] * N_TOKENS)
            built = good.with_entry(key, raw.ARRAY, packed).build()
            yield rejected(f"{key} of type {kind}", built, "M04")
        yield rejected(f"{key} as number", _u32(good, key, 1), "M04")
    merges = ("tokenizer.ggml.merges", raw.ARRAY, raw.array(raw.I32, [1, 2]))
    yield rejected("merges as numbers", good.with_entry(*merges).build(), "M04")
    for broken in ("<0x-1>", "<0xGG>", "<0x100>", "0x41"):
        changed = [*words[:3], broken, *words[4:]]
        yield rejected(f"byte token {broken}", with_tokens(changed), "M06")
    plamo = good.with_entry("tokenizer.ggml.model", raw.STRING, raw.text("plamo2"))
    plamo = plamo.with_entry(
        "tokenizer.ggml.token_type", raw.ARRAY, raw.array(raw.I32, [1] * N_TOKENS)
    )
    entry = ("tokenizer.ggml.tokens", raw.ARRAY, raw.array(raw.STRING, [*words[:-1], "<0x-1>"]))
    yield rejected("byte token of PLaMo-2", plamo.with_entry(*entry).build(), "M06")
    rwkv = good.with_entry("tokenizer.ggml.model", raw.STRING, raw.text("rwkv"))
    yield rejected("RWKV without a new line", rwkv.build(), "M06")


def _special_tokens() -> Iterator[Case]:
    good = good_model()
    for name in ("bos", "eos", "unknown", "seperator", "padding", "mask", "eot", "eom", "fim_pre"):
        key = f"tokenizer.ggml.{name}_token_id"
        for value in (N_TOKENS, 2**31 - 1, 2**32 - 2):
            yield rejected(f"{name} token {value}", _u32(good, key, value), "M05")
        text = good.with_entry(key, raw.STRING, raw.text("1")).build()
        yield rejected(f"{name} token as text", text, "M05")
    for name in ("bos", "eos", "sep"):
        key = f"tokenizer.ggml.add_{name}_token"
        yield rejected(f"add_{name}_token as number", _u32(good, key, 1), "M05")
    none = raw.scalar(raw.U32, 2**32 - 1)
    without_bos = good.with_entry("tokenizer.ggml.bos_token_id", raw.U32, none)
    yield rejected("a BOS is asked for and there is none", without_bos.build(), "M05")
    sep = good.with_entry("tokenizer.ggml.add_sep_token", raw.BOOL, b"\x01")
    yield rejected("a separator is asked for and there is none", sep.build(), "M05")
    few = ["<unk>"]
    small = good.with_entry("tokenizer.ggml.tokens", raw.ARRAY, raw.array(raw.STRING, few))
    small = small.without("tokenizer.ggml.scores").without("tokenizer.ggml.token_type")
    small = small.without("tokenizer.ggml.bos_token_id").without("tokenizer.ggml.eos_token_id")
    yield rejected("the usual BOS is not in the vocabulary", small.build(), "M05")


def _tensors() -> Iterator[Case]:
    good = good_model()
    for rows in (1, N_TOKENS - 1):
        built = good.with_tensor("token_embd.weight", dims=(N_EMBD, rows)).build()
        yield rejected(f"embedding of {rows} rows", built, "M07")
    more = good.with_tensor("token_embd.weight", dims=(N_EMBD, N_TOKENS + 5)).build()
    yield flagged("embedding with rows to spare", more, "M07")
    for width in (16, 64):
        built = good.with_tensor("token_embd.weight", dims=(width, N_TOKENS)).build()
        yield rejected(f"embedding of width {width}", built, "M08")
    for block in ("1", "7", "512", "4294967296", "99999999999999999999", "-1"):
        extra = good.plus_tensor(RawTensor(f"blk.{block}.attn_q.weight".encode(), (32, 32)))
        yield rejected(f"tensor of block {block}", extra.build(), "M08")
    for key, value in {
        "llama.attention.head_count": 1,
        "llama.attention.key_length": 8,
        "llama.attention.value_length": 8,
    }.items():
        built = good.with_entry(key, raw.U32, raw.scalar(raw.U32, value))
        small = built.without("llama.rope.dimension_count")
        heads = raw.scalar(raw.U32, 1 if "head_count" in key else 2)
        small = small.with_entry("llama.attention.head_count_kv", raw.U32, heads)
        name = "llama.attention.key_length"
        small = small.with_entry(name, raw.U32, raw.scalar(raw.U32, 8 if key == name else 16))
        yield rejected(f"{key} that fits no tensor", small.build(), "M08")
    for kind in (1, 24, 26):
        half = good.with_tensor("output_norm.weight", kind=kind).build()
        yield rejected(f"norm of type {kind}", half, "M08")
    yield flagged("no embedding", good.without_tensor("token_embd.weight").build(), "M08")
    blocks = good.with_entry("llama.block_count", raw.U32, raw.scalar(raw.U32, 3))
    yield flagged("two blocks without tensors", blocks.build(), "M08")


def _numbers() -> Iterator[Case]:
    good = good_model()
    for key in ("llama.attention.layer_norm_rms_epsilon", "llama.rope.freq_base", "x.any"):
        for value in (NAN, INF, -INF):
            built = good.with_entry(key, raw.F32, raw.scalar(raw.F32, value)).build()
            yield rejected(f"{key} is {value}", built, "M09")
    double = good.with_entry("x.any", raw.F64, raw.scalar(raw.F64, NAN)).build()
    yield rejected("a double is NaN", double, "M09")
    for value in (-1.0, 1.0, 1e30):
        key = "llama.attention.layer_norm_rms_epsilon"
        built = good.with_entry(key, raw.F32, raw.scalar(raw.F32, value)).build()
        yield rejected(f"epsilon {value}", built, "M09")
    for value in (0.0, -10000.0):
        built = good.with_entry("llama.rope.freq_base", raw.F32, raw.scalar(raw.F32, value)).build()
        yield rejected(f"rope base {value}", built, "M09")
    for value in (NAN, INF):
        scores = raw.array(raw.F32, [0.0] * (N_TOKENS - 1) + [value])
        built = good.with_entry("tokenizer.ggml.scores", raw.ARRAY, scores).build()
        yield rejected(f"the last score is {value}", built, "M09")


def _split_keys() -> Iterator[Case]:
    good = good_model()

    def split(no: tuple[int, int], count: tuple[int, int]) -> bytes:
        model = good.with_entry("split.no", no[0], raw.scalar(*no))
        return model.with_entry("split.count", count[0], raw.scalar(*count)).build()

    u16, u32 = raw.U16, raw.U32
    yield rejected("split.no as u32", split((u32, 0), (u16, 2)), "M10")
    yield rejected("split.count as u32", split((u16, 0), (u32, 2)), "M10")
    yield rejected("split.no as f32", split((raw.F32, 0), (u16, 2)), "M10")
    yield rejected("split 2 of 2 counted from 0", split((u16, 2), (u16, 2)), "M10")
    yield rejected("split 65535 of 3", split((u16, 65_535), (u16, 3)), "M10")
    only = good.with_entry("split.count", u16, raw.scalar(u16, 3)).build()
    yield rejected("split.count without split.no", only, "M10")
    tensors = good.with_entry("split.tensors.count", raw.I32, raw.scalar(raw.I32, -5)).build()
    yield rejected("split.tensors.count is negative", tensors, "M10")
    yield rejected("a shard that is not named like one", split((u16, 0), (u16, 2)), "M10")


def _projector() -> Iterator[Case]:
    good = raw.good_projector()
    yield rejected("projector for nothing", good.without("clip.has_vision_encoder").build(), "M11")
    yield rejected("has_vision_encoder as number", _u32(good, "clip.has_vision_encoder", 1), "M11")
    for key in ("embedding_length", "block_count", "attention.head_count"):
        yield rejected(
            f"projector without {key}", good.without(f"clip.vision.{key}").build(), "M11"
        )
    yield rejected("projector without type", good.without("clip.projector_type").build(), "M11")
    for key, values in {
        "image_size": (0, 65_537),
        "patch_size": (0, 29, 5000),
        "projection_dim": (0, 2**31),
        "attention.head_count": (0, 3),
        "block_count": (0, 513),
        "spatial_merge_size": (0, 65),
    }.items():
        for value in values:
            yield rejected(
                f"projector {key} {value}", _u32(good, f"clip.vision.{key}", value), "M11"
            )
    for key in ("image_mean", "image_std"):
        for values in ([0.5], [0.5, 0.5, 0.5, 0.5], []):
            entry = (f"clip.vision.{key}", raw.ARRAY, raw.array(raw.F32, values))
            yield rejected(
                f"projector {key} of {len(values)}", good.with_entry(*entry).build(), "M11"
            )


def _lora() -> Iterator[Case]:
    good = raw.good_lora()
    a, b = "blk.0.attn_q.weight.lora_a", "blk.0.attn_q.weight.lora_b"
    yield rejected("adapter without alpha", good.without("adapter.lora.alpha").build(), "M12")
    yield rejected("adapter alpha as number", _u32(good, "adapter.lora.alpha", 8), "M12")
    alpha = good.with_entry("adapter.lora.alpha", raw.F32, raw.scalar(raw.F32, NAN)).build()
    yield rejected("adapter alpha NaN", alpha, "M09")
    kind = good.with_entry("adapter.type", raw.STRING, raw.text("ia3")).build()
    yield rejected("adapter of another type", kind, "M12")
    yield rejected("adapter without b", good.without_tensor(b).build(), "M12")
    yield rejected("adapter without a", good.without_tensor(a).build(), "M12")
    yield rejected("adapter without tensors", replace(good, tensors=()).build(), "M12")
    yield rejected("adapter ranks differ", good.with_tensor(b, dims=(8, N_EMBD)).build(), "M12")
    wide = good.with_tensor(a, dims=(4, 9000)).with_tensor(b, dims=(9000, 4)).build()
    yield rejected("adapter of rank 9000", wide, "M12")
    odd = good.plus_tensor(RawTensor(b"blk.0.attn_q.weight", (4, 4))).build()
    yield rejected("adapter with a whole tensor", odd, "M12")


def _control_vector() -> Iterator[Case]:
    good = raw.good_control_vector()
    for name in (
        "direction.0",
        "direction.513",
        "direction.1073741824",
        "direction.-1",
        "direction.1x",
        "direction.",
        "direction",
        "direction.99999999999999999999",
        "blk.0.attn_q.weight",
    ):
        built = good.plus_tensor(RawTensor(name.encode(), (N_EMBD,))).build()
        yield rejected(f"control vector {name}", built, "M12")
    yield rejected(
        "control vector of two widths",
        good.plus_tensor(RawTensor(b"direction.3", (8,))).build(),
        "M12",
    )
    flat = good.plus_tensor(RawTensor(b"direction.3", (N_EMBD, 2))).build()
    yield rejected("control vector of two rows", flat, "M12")
    yield rejected("control vector without tensors", replace(good, tensors=()).build(), "M12")


def _imatrix() -> Iterator[Case]:
    good = raw.good_imatrix()
    sums, counts = "blk.0.attn_q.weight.in_sum2", "blk.0.attn_q.weight.counts"
    for key in ("imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"):
        yield rejected(f"importance matrix without {key}", good.without(key).build(), "M12")
    text = good.with_entry("imatrix.datasets", raw.STRING, raw.text("a")).build()
    yield rejected("importance matrix with one data set as text", text, "M12")
    yield rejected("importance matrix without counts", good.without_tensor(counts).build(), "M12")
    yield rejected("importance matrix without sums", good.without_tensor(sums).build(), "M12")
    yield rejected("importance matrix in F16", good.with_tensor(sums, kind=1).build(), "M12")
    yield rejected(
        "importance matrix with other counts", good.with_tensor(counts, dims=(3, 7)).build(), "M12"
    )
    odd = good.plus_tensor(RawTensor(b"output.weight", (4,))).build()
    yield rejected("importance matrix with a weight", odd, "M12")
    yield rejected("importance matrix without tensors", replace(good, tensors=()).build(), "M12")
