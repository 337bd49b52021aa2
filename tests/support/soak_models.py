"""The models of the soak: five small ones in a home folder that is told to hold three of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from luci_tui import paths
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.tiny_vocab import CHATML_TEMPLATE
from tests.support.watched_host import LIMIT_FILE

MAIN: Final = "main"
"""Pinned, so that one worker lives from the beginning to the end."""
EMBEDDER: Final = "embedder"
OTHERS: Final = ("qwen", "experts", "shell")
TALKERS: Final = (MAIN, *OTHERS)
N_CTX: Final = 1024
"""Of the pinned model."""

MIB: Final = 1024 * 1024
LIMIT_BYTES: Final = 300 * MIB
"""The pinned model, the embedder and two of the others, which take 105 to 130 MiB each; a third one
makes others leave."""

N_CTX_LARGE: Final = 65_536
"""Makes the KV cache large, and nothing slow."""

_TOML: Final = """
[[model]]
name = "main"
path = "models/llama.gguf"
pinned = true
load = {{ n_ctx = {n_ctx}, n_slots = 6, n_threads = 1 }}

[[model]]
name = "qwen"
path = "models/qwen3.gguf"
load = {{ n_ctx = {n_ctx_large}, n_slots = 2, n_threads = 1, n_batch = 64, n_ubatch = 64 }}

[[model]]
name = "experts"
path = "models/llama-moe.gguf"
load = {{ n_ctx = {n_ctx_large}, n_slots = 3, n_threads = 1, n_batch = 64, n_ubatch = 64 }}

[[model]]
name = "shell"
path = "{builtin}"
load = {{ n_ctx = 512, n_slots = 32, n_threads = 1, n_batch = 64, n_ubatch = 64 }}

[[model]]
name = "embedder"
path = "models/bert.gguf"
load = {{ n_ctx = 256, n_slots = 2, n_threads = 1, embedding = true }}
"""


def prepare_home(home: Path) -> None:
    """Write the models, what luci is to know about them, and how much memory there is."""
    folder = home / "models"
    folder.mkdir(parents=True)
    for arch in (TinyArch.LLAMA, TinyArch.QWEN3, TinyArch.LLAMA_MOE):
        write_arch_model(
            arch,
            folder / f"{arch.value}.gguf",
            chat_template=CHATML_TEMPLATE,
            n_ctx_train=N_CTX_LARGE,
        )
    write_arch_model(
        TinyArch.BERT,
        folder / "bert.gguf",
    )
    builtin = paths.builtin_model_file()
    if builtin is None:
        msg = "the soak needs the built-in model, which this installation has not"
        raise FileNotFoundError(msg)
    toml = _TOML.format(n_ctx=N_CTX, n_ctx_large=N_CTX_LARGE, builtin=builtin)
    (home / "models.toml").write_text(toml, encoding="utf-8")
    (home / LIMIT_FILE).write_text(str(LIMIT_BYTES))
