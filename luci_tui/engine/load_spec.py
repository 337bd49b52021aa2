"""What a worker loads: the model, its context, and what goes with them."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from pydantic import Field

from luci_tui.engine.frame import Frame


class FlashAttention(StrEnum):
    """When the attention kernel that never stores the whole score matrix is used."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"


class Speculation(StrEnum):
    """How tokens are guessed ahead of the model; each guess is checked, so output is unchanged."""

    NONE = "none"
    NGRAM = "ngram"
    DRAFT = "draft"


class LoraSpec(Frame):
    """One LoRA adapter file and the scale it is applied with."""

    path: str
    scale: float = 1.0
    """0 = loaded, but without effect until a request names another scale."""


class LoadSpec(Frame):
    """What a worker loads: one model, one context, `n_slots` slots."""

    model_path: str
    n_ctx: int = Field(default=0, ge=0)
    """Tokens of context per slot; 0 = what the model was trained with, at most 8,192."""
    n_slots: int = Field(default=1, ge=1, le=256)
    n_batch: int = Field(default=2048, ge=1)
    """Most tokens in one llama_decode."""
    n_ubatch: int = Field(default=512, ge=1)
    """Most tokens computed at once."""
    n_threads: int = Field(default=0, ge=0)
    """0 = one per physical core."""
    n_gpu_layers: int = -1
    """-1 = all; without effect in a CPU build."""
    kv_type_k: str = "f16"
    kv_type_v: str = "f16"
    flash_attention: FlashAttention = FlashAttention.AUTO
    kv_unified: bool = False
    """One KV buffer that all slots share, instead of one for each."""
    use_mmap: bool = True
    use_mlock: bool = False
    loras: tuple[LoraSpec, ...] = ()
    embedding: bool = False
    """True = the engine embeds and reranks and does not generate."""
    pooling: Literal["model", "mean", "cls", "last", "rank"] = "model"
    """How token vectors become one per text; "model" = as the file says, else mean."""
    speculation: Speculation = Speculation.NONE
    draft_model_path: str = ""
    draft_n_max: int = Field(default=8, ge=1, le=64)
    mmproj_path: str = ""
    """Projector (mmproj) that lets the model see or hear; empty = text alone."""
    chat_template: str = ""
    """Jinja source that replaces the model's own; empty = the model's."""
    rpc_servers: tuple[str, ...] = ()
    """host:port of llama.cpp RPC servers that take a share of the model; they are neither
    authenticated nor encrypted, see docs/models.md."""
    force: bool = False
    """Load even when the memory estimate says that it does not fit, or n_ctx is beyond training."""
