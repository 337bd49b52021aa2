"""Write the tiny models that the C++ tests load: `python -m tests.support.write_models FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from luci_tui.gguf.quant import TENSOR_TYPES
from tests.support import raw_gguf, split_model
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.lora import write_lora
from tests.support.projectors import TinyProjector, wav, write_projector
from tests.support.tiny_vocab import CHATML_TEMPLATE
from tests.support.wide_models import write_wide_model


def main(folder: Path) -> None:
    """Write a model for each architecture, named after it, and what goes with them."""
    folder.mkdir(parents=True, exist_ok=True)
    for arch in TinyArch:
        template = CHATML_TEMPLATE if arch is TinyArch.LLAMA else None
        write_arch_model(arch, folder / f"{arch.value}.gguf", chat_template=template)
    write_lora(folder / "lora.gguf")
    _write_projectors(folder / "projectors")
    for number, hertz in enumerate((440.0, 1300.0), start=1):
        (folder / f"tone{number}.wav").write_bytes(wav(hertz=hertz))
    _write_seeds(folder / "seeds")
    _write_wide(folder / "wide")


def _write_projectors(folder: Path) -> None:
    """Write a projector of each kind; apart, because what loads every model cannot load them."""
    folder.mkdir(exist_ok=True)
    for kind in TinyProjector:
        write_projector(kind, folder / f"{kind.value}.gguf")
    write_projector(TinyProjector.LLAVA, folder / "other-width.gguf", n_embd_text=96)


def _write_wide(folder: Path) -> None:
    """Write what is quantized; apart, because the fuzzers read every model beside theirs."""
    folder.mkdir(exist_ok=True)
    write_wide_model(folder / "wide.gguf")
    write_wide_model(folder / "wide-moe.gguf", has_experts=True, n_layers=1)


def _write_seeds(folder: Path) -> None:
    """Write one small good file of each kind, which the fuzzers damage."""
    folder.mkdir(exist_ok=True)
    kinds = {
        "model": raw_gguf.good_model(),
        "lora": raw_gguf.good_lora(),
        "projector": raw_gguf.good_projector(),
        "imatrix": raw_gguf.good_imatrix(),
        "control-vector": raw_gguf.good_control_vector(),
        "vocabulary": raw_gguf.good_vocabulary(),
        "shard": split_model.shards(3)[1],
    }
    for number, kind in TENSOR_TYPES.items():
        data = bytes(1 + i % 43 for i in range(kind.block_bytes * 8))
        tensor = raw_gguf.RawTensor(b"v.x.weight", (kind.block_values * 2, 4), number, data)
        kinds[kind.name] = raw_gguf.good_projector().plus_tensor(tensor)
    for name, file in kinds.items():
        (folder / f"{name}.gguf").write_bytes(file.build())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
