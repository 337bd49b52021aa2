"""Write GGUF files byte by byte, broken ones too: every number in the file can be a lie.

Source of the layout: ggml/docs/gguf.md.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
_FORMATS = {
    U8: "<B",
    I8: "<b",
    U16: "<H",
    I16: "<h",
    U32: "<I",
    I32: "<i",
    F32: "<f",
    BOOL: "<B",
    U64: "<Q",
    I64: "<q",
    F64: "<d",
}
TENSOR_F32 = 0
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 8: (32, 34), 12: (256, 144), 24: (1, 1), 26: (1, 4)}
"""Type number to (values per block, bytes per block), as far as this module's files need them."""


def text(value: str | bytes) -> bytes:
    """Encode a string with its length."""
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(raw)) + raw


def scalar(kind: int, value: float) -> bytes:
    """Encode a number of type `kind`."""
    return struct.pack(_FORMATS[kind], value)


def array(kind: int, values: list[int] | list[float] | list[str] | list[bytes]) -> bytes:
    """Encode an array with its item type and length."""
    items = b"".join(
        text(value) if isinstance(value, str | bytes) else scalar(kind, value) for value in values
    )
    return struct.pack("<IQ", kind, len(values)) + items


@dataclass(frozen=True)
class Entry:
    """One metadata value as it stands in the file."""

    key: bytes
    kind: int
    payload: bytes

    def encode(self) -> bytes:
        """Give the bytes of the entry."""
        return text(self.key) + struct.pack("<I", self.kind) + self.payload


@dataclass(frozen=True)
class RawTensor:
    """One tensor record with its data."""

    name: bytes
    dims: tuple[int, ...]
    kind: int = TENSOR_F32
    data: bytes | None = None
    """None = zeros and small numbers of the right length."""
    offset: int | None = None
    """None = where it belongs."""
    n_dims: int | None = None
    """None = len(dims)."""

    def content(self) -> bytes:
        """Give the data."""
        if self.data is not None:
            return self.data
        values, size = BLOCKS.get(self.kind, (1, 4))
        count = 1
        for dim in self.dims:
            count *= dim
        n_bytes = min(count // values * size, 1 << 20)
        pattern = struct.pack("<8f", *(0.01 * (i - 4) for i in range(8)))
        if self.kind != TENSOR_F32:
            pattern = b"\x01\x20" * 16
        return (pattern * (n_bytes // len(pattern) + 1))[:n_bytes]


@dataclass(frozen=True)
class RawGguf:
    """A whole file; `build` writes it."""

    entries: tuple[Entry, ...] = ()
    tensors: tuple[RawTensor, ...] = ()
    magic: bytes = b"GGUF"
    version: int = 3
    n_tensors: int | None = None
    """None = the true count."""
    n_values: int | None = None
    alignment: int = 32
    padding: bytes = b"\0"
    tail: bytes = b""
    """What follows the last tensor."""
    cut: int | None = field(default=None)
    """Bytes to keep; None = all."""

    def build(self) -> bytes:
        """Give the bytes of the file."""
        n_tensors = len(self.tensors) if self.n_tensors is None else self.n_tensors
        n_values = len(self.entries) if self.n_values is None else self.n_values
        out = self.magic + struct.pack("<IQQ", self.version, n_tensors, n_values)
        out += b"".join(entry.encode() for entry in self.entries)
        offset = 0
        data: list[bytes] = []
        for tensor in self.tensors:
            content = tensor.content()
            shown = offset if tensor.offset is None else tensor.offset
            dims = tensor.dims
            n_dims = len(dims) if tensor.n_dims is None else tensor.n_dims
            out += text(tensor.name) + struct.pack("<I", n_dims)
            out += b"".join(struct.pack("<Q", dim & 0xFFFFFFFFFFFFFFFF) for dim in dims)
            out += struct.pack("<IQ", tensor.kind, shown)
            filler = -len(content) % self.alignment
            data.append(content + b"\0" * filler)
            offset += len(content) + filler
        out += self.padding * (-len(out) % self.alignment)
        out += b"".join(data) + self.tail
        return out if self.cut is None else out[: self.cut]

    def with_entry(self, key: str | bytes, kind: int, payload: bytes) -> RawGguf:
        """Replace a metadata value, or add it."""
        raw = key if isinstance(key, bytes) else key.encode()
        entry = Entry(raw, kind, payload)
        if any(one.key == raw for one in self.entries):
            entries = tuple(entry if one.key == raw else one for one in self.entries)
        else:
            entries = (*self.entries, entry)
        return replace(self, entries=entries)

    def without(self, key: str) -> RawGguf:
        """Leave a metadata value out."""
        kept = tuple(one for one in self.entries if one.key != key.encode())
        return replace(self, entries=kept)

    def with_tensor(self, old: str, /, **changes: object) -> RawGguf:
        """Change fields of a tensor."""
        tensors = tuple(
            replace(one, **changes) if one.name == old.encode() else one  # type: ignore[arg-type]
            for one in self.tensors
        )
        return replace(self, tensors=tensors)

    def without_tensor(self, name: str) -> RawGguf:
        """Leave a tensor out."""
        return replace(self, tensors=tuple(t for t in self.tensors if t.name != name.encode()))

    def plus_tensor(self, tensor: RawTensor) -> RawGguf:
        """Add a tensor at the end."""
        return replace(self, tensors=(*self.tensors, tensor))


N_TOKENS = 3 + 256 + 8
N_EMBD = 32
N_FF = 64
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"


def tokens() -> list[str]:
    """Give the vocabulary of the good file."""
    return ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *"abcdefgh"]


def _entry(key: str, kind: int, payload: bytes) -> Entry:
    return Entry(key.encode(), kind, payload)


def good_model() -> RawGguf:
    """Give a small model of Llama's shape in which nothing is wrong."""
    u32 = {
        "llama.block_count": 1,
        "llama.context_length": 64,
        "llama.embedding_length": N_EMBD,
        "llama.feed_forward_length": N_FF,
        "llama.attention.head_count": 2,
        "llama.attention.head_count_kv": 2,
        "llama.rope.dimension_count": 16,
        "general.quantization_version": 2,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
    }
    types = [2, 3, 3, *([6] * 256), *([1] * 8)]
    entries = (
        _entry("general.architecture", STRING, text("llama")),
        _entry("general.name", STRING, text("good")),
        *(_entry(key, U32, scalar(U32, value)) for key, value in u32.items()),
        _entry("llama.attention.layer_norm_rms_epsilon", F32, scalar(F32, 1e-5)),
        _entry("llama.rope.freq_base", F32, scalar(F32, 10000.0)),
        _entry("tokenizer.ggml.model", STRING, text("llama")),
        _entry("tokenizer.ggml.tokens", ARRAY, array(STRING, tokens())),
        _entry("tokenizer.ggml.scores", ARRAY, array(F32, [0.0] * N_TOKENS)),
        _entry("tokenizer.ggml.token_type", ARRAY, array(I32, types)),
        _entry("tokenizer.ggml.add_bos_token", BOOL, b"\x01"),
        _entry("tokenizer.chat_template", STRING, text(TEMPLATE)),
    )
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (N_EMBD, N_TOKENS),
        "blk.0.attn_norm.weight": (N_EMBD,),
        "blk.0.attn_q.weight": (N_EMBD, N_EMBD),
        "blk.0.attn_k.weight": (N_EMBD, N_EMBD),
        "blk.0.attn_v.weight": (N_EMBD, N_EMBD),
        "blk.0.attn_output.weight": (N_EMBD, N_EMBD),
        "blk.0.ffn_norm.weight": (N_EMBD,),
        "blk.0.ffn_gate.weight": (N_EMBD, N_FF),
        "blk.0.ffn_up.weight": (N_EMBD, N_FF),
        "blk.0.ffn_down.weight": (N_FF, N_EMBD),
        "output_norm.weight": (N_EMBD,),
        "output.weight": (N_EMBD, N_TOKENS),
    }
    tensors = tuple(RawTensor(name.encode(), dims) for name, dims in shapes.items())
    return RawGguf(entries=entries, tensors=tensors)


def good_lora() -> RawGguf:
    """Give an adapter for the good model."""
    return RawGguf(
        entries=(
            _entry("general.type", STRING, text("adapter")),
            _entry("general.architecture", STRING, text("llama")),
            _entry("adapter.type", STRING, text("lora")),
            _entry("adapter.lora.alpha", F32, scalar(F32, 8.0)),
        ),
        tensors=(
            RawTensor(b"blk.0.attn_q.weight.lora_a", (N_EMBD, 4)),
            RawTensor(b"blk.0.attn_q.weight.lora_b", (4, N_EMBD)),
        ),
    )


def good_projector() -> RawGguf:
    """Give a file that says what a vision projector has to say."""
    u32 = {
        "clip.vision.image_size": 28,
        "clip.vision.patch_size": 14,
        "clip.vision.embedding_length": 32,
        "clip.vision.feed_forward_length": 64,
        "clip.vision.projection_dim": 32,
        "clip.vision.attention.head_count": 2,
        "clip.vision.block_count": 1,
    }
    return RawGguf(
        entries=(
            _entry("general.architecture", STRING, text("clip")),
            _entry("general.type", STRING, text("mmproj")),
            _entry("clip.has_vision_encoder", BOOL, b"\x01"),
            _entry("clip.projector_type", STRING, text("mlp")),
            *(_entry(key, U32, scalar(U32, value)) for key, value in u32.items()),
            _entry("clip.vision.attention.layer_norm_epsilon", F32, scalar(F32, 1e-6)),
            _entry("clip.vision.image_mean", ARRAY, array(F32, [0.5, 0.5, 0.5])),
            _entry("clip.vision.image_std", ARRAY, array(F32, [0.25, 0.25, 0.25])),
        ),
        tensors=(RawTensor(b"v.patch_embd.weight", (14, 14, 3, 32)),),
    )


def good_imatrix() -> RawGguf:
    """Give an importance matrix of the good model."""
    return RawGguf(
        entries=(
            _entry("general.type", STRING, text("imatrix")),
            _entry("imatrix.datasets", ARRAY, array(STRING, ["notes.txt"])),
            _entry("imatrix.chunk_count", U32, scalar(U32, 3)),
            _entry("imatrix.chunk_size", U32, scalar(U32, 512)),
        ),
        tensors=(
            RawTensor(b"blk.0.attn_q.weight.in_sum2", (N_EMBD, 1)),
            RawTensor(b"blk.0.attn_q.weight.counts", (1, 1)),
        ),
    )


def good_control_vector() -> RawGguf:
    """Give a control vector for the good model."""
    return RawGguf(
        entries=(
            _entry("general.architecture", STRING, text("controlvector")),
            _entry("controlvector.model_hint", STRING, text("llama")),
        ),
        tensors=(RawTensor(b"direction.1", (N_EMBD,)), RawTensor(b"direction.2", (N_EMBD,))),
    )


def good_vocabulary() -> RawGguf:
    """Give a tokenizer without a model."""
    return replace(good_model(), tensors=())
