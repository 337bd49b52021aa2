"""Tiny projector files (mmproj) with random weights, one for each way a model sees or hears.

Tensor names, keys and shapes are those that the pinned llama.cpp asks for in tools/mtmd/clip.cpp
and tools/mtmd/models/*.cpp. The weights are large enough that another picture makes another answer.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.support.arch_models import TinyArch
from tests.support.arch_parts import TINY

N_EMBD = 64
N_FF = 128
N_HEAD = 4
N_LAYERS = 2
PATCH = 14
WHISPER_FRAMES = 1500
"""Positions of Whisper's encoder: 30 s of sound, two hundredths of a second each."""
N_MEL = 80
STACK = 4
"""Frames that Ultravox joins into one embedding."""


class TinyProjector(StrEnum):
    """A projector that this module can write."""

    LLAVA = "mlp"
    """A fixed number of embeddings that see what stood before them, as text does."""
    GEMMA3 = "gemma3"
    """The embeddings of a picture see each other: one ubatch without a causal mask."""
    QWEN2VL = "qwen2vl_merger"
    """M-RoPE: fewer positions than embeddings, and their number depends on the picture."""
    ULTRAVOX = "ultravox"
    """Sound."""


ARCH_OF = {
    TinyProjector.LLAVA: TinyArch.LLAMA,
    TinyProjector.GEMMA3: TinyArch.GEMMA3,
    TinyProjector.QWEN2VL: TinyArch.QWEN2VL,
    TinyProjector.ULTRAVOX: TinyArch.LLAMA,
}
"""The tiny text model that each projector belongs to."""

_IMAGE_SIZE = {
    TinyProjector.LLAVA: 4 * PATCH,
    TinyProjector.GEMMA3: 8 * PATCH,
    TinyProjector.QWEN2VL: 8 * PATCH,
}


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    """As NumPy has it."""
    is_norm: bool = False
    gain: float = 1.0


def write_projector(
    kind: TinyProjector, path: Path, *, seed: int = 1, n_embd_text: int = TINY.n_embd
) -> Path:
    """Write one projector and return its path.

    Args:
        kind: Which one.
        path: The new file; its folder must exist.
        seed: Of the weights.
        n_embd_text: Width of the text model; a wrong one makes a projector of another model.
    """
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_name(f"tiny projector {kind.value} {seed}")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_string("clip.projector_type", kind.value)
    is_audio = kind is TinyProjector.ULTRAVOX
    part = "audio" if is_audio else "vision"
    writer.add_bool(f"clip.has_{part}_encoder", True)
    for key, number in {
        "embedding_length": N_EMBD,
        "feed_forward_length": N_FF,
        "block_count": N_LAYERS,
        "projection_dim": n_embd_text,
        "attention.head_count": N_HEAD,
    }.items():
        writer.add_uint32(f"clip.{part}.{key}", number)
    writer.add_float32(f"clip.{part}.attention.layer_norm_epsilon", 1e-5)
    if is_audio:
        writer.add_uint32("clip.audio.num_mel_bins", N_MEL)
        writer.add_uint32("clip.audio.projector.stack_factor", STACK)
        tensors = list(_audio(n_embd_text))
    else:
        writer.add_uint32("clip.vision.image_size", _IMAGE_SIZE[kind])
        writer.add_uint32("clip.vision.patch_size", PATCH)
        writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
        writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
        writer.add_bool("clip.use_gelu", True)
        if kind is TinyProjector.GEMMA3:
            writer.add_uint32("clip.vision.projector.scale_factor", 2)
        tensors = list(_vision(kind, n_embd_text))
    random = np.random.default_rng(seed)
    for tensor in tensors:
        writer.add_tensor(tensor.name, _values(tensor, random))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def png(width: int = 60, height: int = 60, seed: int = 1) -> bytes:
    """Draw a picture of coloured noise, the same for the same seed."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.NEAREST)
    file = BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def wav(seconds: float = 1.0, hertz: float = 440.0, rate: int = 16000) -> bytes:
    """Play one tone: 16 bit, one channel."""
    times = np.arange(int(seconds * rate)) / rate
    samples = (np.sin(2 * math.pi * hertz * times) * 20000).astype("<i2").tobytes()
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + len(samples), b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16),
        *(b"data", len(samples)),
    )
    return head + samples


def _values(tensor: _Tensor, random: np.random.Generator) -> NDArray[np.float32]:
    noise = random.standard_normal(tensor.shape, dtype=np.float32)
    if tensor.is_norm:
        return np.float32(1.0) + np.float32(0.1) * noise
    if len(tensor.shape) == 1:
        return np.float32(0.1) * noise
    n_inputs = math.prod(tensor.shape[1:])
    return noise * np.float32(tensor.gain * 1.5 / math.sqrt(n_inputs))


def _layers(prefix: str, *, has_key_bias: bool) -> Iterator[_Tensor]:
    for layer in range(N_LAYERS):
        at = f"{prefix}.blk.{layer}"
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            yield _Tensor(f"{at}.{name}.weight", (N_EMBD, N_EMBD))
            if name != "attn_k" or has_key_bias:
                yield _Tensor(f"{at}.{name}.bias", (N_EMBD,))
        for name in ("ln1", "ln2"):
            yield from _norm(f"{at}.{name}")
        yield from _linear(f"{at}.ffn_up", N_FF, N_EMBD)
        yield from _linear(f"{at}.ffn_down", N_EMBD, N_FF)


def _norm(name: str) -> Iterator[_Tensor]:
    yield _Tensor(f"{name}.weight", (N_EMBD,), is_norm=True)
    yield _Tensor(f"{name}.bias", (N_EMBD,))


def _linear(name: str, n_out: int, n_in: int) -> Iterator[_Tensor]:
    yield _Tensor(f"{name}.weight", (n_out, n_in))
    yield _Tensor(f"{name}.bias", (n_out,))


def _vision(kind: TinyProjector, n_embd_text: int) -> Iterator[_Tensor]:
    n_patches = (_IMAGE_SIZE[kind] // PATCH) ** 2
    yield _Tensor("v.patch_embd.weight", (N_EMBD, 3, PATCH, PATCH))
    yield from _layers("v", has_key_bias=True)
    match kind:
        case TinyProjector.LLAVA:
            yield _Tensor("v.class_embd", (N_EMBD,))
            yield _Tensor("v.position_embd.weight", (n_patches + 1, N_EMBD))
            yield from _norm("v.pre_ln")
            yield from _linear("mm.0", n_embd_text, N_EMBD)
            yield from _linear("mm.2", n_embd_text, n_embd_text)
        case TinyProjector.GEMMA3:
            yield _Tensor("v.position_embd.weight", (n_patches, N_EMBD))
            yield from _norm("v.post_ln")
            # Gemma multiplies the embeddings of its tokens by the root of the width, pictures not.
            yield _Tensor("mm.input_projection.weight", (N_EMBD, n_embd_text), gain=N_EMBD**0.5)
            yield _Tensor("mm.soft_emb_norm.weight", (N_EMBD,), is_norm=True)
        case _:
            yield _Tensor("v.patch_embd.weight.1", (N_EMBD, 3, PATCH, PATCH))
            yield from _norm("v.post_ln")
            yield from _linear("mm.0", 4 * N_EMBD, 4 * N_EMBD)
            yield from _linear("mm.2", n_embd_text, 4 * N_EMBD)


def _audio(n_embd_text: int) -> Iterator[_Tensor]:
    yield _Tensor("a.position_embd.weight", (WHISPER_FRAMES, N_EMBD))
    yield _Tensor("a.conv1d.1.weight", (N_EMBD, N_MEL, 3))
    yield _Tensor("a.conv1d.1.bias", (N_EMBD, 1))
    yield _Tensor("a.conv1d.2.weight", (N_EMBD, N_EMBD, 3))
    yield _Tensor("a.conv1d.2.bias", (N_EMBD, 1))
    yield from _layers("a", has_key_bias=False)
    yield from _norm("a.post_ln")
    yield _Tensor("mm.a.norm_pre.weight", (STACK * N_EMBD,), is_norm=True)
    yield _Tensor("mm.a.mlp.1.weight", (2 * N_FF, STACK * N_EMBD))
    yield _Tensor("mm.a.norm_mid.weight", (N_FF,), is_norm=True)
    yield _Tensor("mm.a.mlp.2.weight", (n_embd_text, N_FF))
