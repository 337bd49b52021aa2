"""A GGML file from before GGUF goes through the whole conversion; its script needs no torch."""

from __future__ import annotations

import struct
from contextlib import aclosing
from pathlib import Path

import gguf
import numpy as np
import pytest

from luci_tui.engine.job_frames import JobProgress
from luci_tui.errors import EngineError, GgufError
from luci_tui.library.convert import ConvertResult, ConvertSpec, convert
from luci_tui.library.convert_source import SourceKind
from tests.support import core
from tests.support.jobs import names_in

pytestmark = pytest.mark.native

N_EMBD, N_FF, N_HEAD, GGJT_VERSION = 64, 128, 4, 3


def write_ggjt(path: Path) -> Path:
    """Write a llama of one layer in the last format before GGUF: GGJT 3, all weights F32."""
    words = [b"<unk>", b"<s>", b"</s>", *(bytes([value]) for value in range(256)), b" the"]
    head = (len(words), N_EMBD, 32, N_HEAD, 1, N_EMBD // N_HEAD, 0)
    parts = [b"tjgg", struct.pack("<I7I", GGJT_VERSION, *head)]
    parts += [struct.pack("<I", len(word)) + word + struct.pack("<f", 0.0) for word in words]
    layer = "layers.0."
    shapes = {
        "tok_embeddings.weight": (N_EMBD, len(words)),
        "norm.weight": (N_EMBD,),
        "output.weight": (N_EMBD, len(words)),
        **{f"{layer}attention.w{one}.weight": (N_EMBD, N_EMBD) for one in "qkvo"},
        f"{layer}attention_norm.weight": (N_EMBD,),
        f"{layer}feed_forward.w1.weight": (N_EMBD, N_FF),
        f"{layer}feed_forward.w2.weight": (N_FF, N_EMBD),
        f"{layer}feed_forward.w3.weight": (N_EMBD, N_FF),
        f"{layer}ffn_norm.weight": (N_EMBD,),
    }
    chance = np.random.default_rng(3)
    data = b"".join(parts)
    for name, shape in shapes.items():
        data += struct.pack(f"<3I{len(shape)}I", len(shape), len(name), 0, *shape) + name.encode()
        data += bytes(-len(data) % 32)
        data += chance.standard_normal(shape, dtype=np.float32).tobytes()
    path.write_bytes(data)
    return path


async def converted(source: Path, output: Path, log_path: Path) -> ConvertResult:
    spec = ConvertSpec(source=str(source), output=str(output), outtype="f32")
    async with aclosing(convert(spec, log_path)) as events:
        async for event in events:
            if not isinstance(event, JobProgress):
                return event
    raise AssertionError


async def test_legacy_file_is_converted_validated_and_answers(tmp_path: Path) -> None:
    source = write_ggjt(tmp_path / "old.bin")
    folder = tmp_path / "out"
    folder.mkdir()
    result = await converted(source, folder / "new.gguf", tmp_path / "log")
    assert result.source_kind is SourceKind.LEGACY
    assert (result.architecture, result.n_warnings, result.check) == ("llama", 0, None)
    assert names_in(folder) == ["new.gguf", "new.md"]
    assert "Converted from" in (folder / "new.md").read_text()
    assert len(gguf.GGUFReader(folder / "new.gguf").tensors) == 12
    engine = core.load(folder / "new.gguf", n_ctx=64)
    assert len(core.answer(engine, core.request("the", max_tokens=4)).tokens) == 4


async def test_legacy_file_that_is_cut_off_leaves_nothing(tmp_path: Path) -> None:
    source = write_ggjt(tmp_path / "old.bin")
    source.write_bytes(source.read_bytes()[:-2000])
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(GgufError, match="came out damaged and was not kept"):
        await converted(source, folder / "new.gguf", tmp_path / "log")
    source.write_bytes(source.read_bytes()[:500])
    with pytest.raises(EngineError, match="converter stopped"):
        await converted(source, folder / "new.gguf", tmp_path / "log")
    assert names_in(folder) == []
