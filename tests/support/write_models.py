"""Write the tiny models that the C++ tests load: `python -m tests.support.write_models FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.lora import write_lora
from tests.support.tiny_vocab import CHATML_TEMPLATE


def main(folder: Path) -> None:
    """Write one model for each architecture, named after it, and a LoRA adapter for llama."""
    folder.mkdir(parents=True, exist_ok=True)
    for arch in TinyArch:
        template = CHATML_TEMPLATE if arch is TinyArch.LLAMA else None
        write_arch_model(arch, folder / f"{arch.value}.gguf", chat_template=template)
    write_lora(folder / "lora.gguf")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
