"""Say what a model file is, from its header alone: what a person wants to know first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from luci_tui.gguf.arrays import strings_at
from luci_tui.gguf.header import GgufHeader

TOKENS_KEY: Final = "tokenizer.ggml.tokens"
TEMPLATE_KEY: Final = "tokenizer.chat_template"
_TOKEN_ID_SUFFIX = "_token_id"
_EXPERT_TENSOR = re.compile(r"\.ffn_(up|gate|down|gate_up)_exps\.")


class FileKind(StrEnum):
    """What can be done with a file."""

    MODEL = "model"
    MMPROJ = "mmproj"
    """The part of a model that turns images or sound into embeddings."""
    LORA = "LoRA adapter"
    CONTROL_VECTOR = "control vector"
    IMATRIX = "importance matrix"
    VOCABULARY = "vocabulary only"


@dataclass(frozen=True)
class TypeShare:
    """How much of a file one quant type makes up."""

    type_name: str
    n_tensors: int
    size_bytes: int
    share: float
    """Of the bytes of all tensors, 0 to 1."""


@dataclass(frozen=True)
class SpecialToken:
    """A token with a role."""

    role: str
    """As the format calls it, without its ending: "bos", "eos", "padding" and so on."""
    token: int
    text: str
    """As it stands in the file; "" where the vocabulary has no such token."""


@dataclass(frozen=True)
class Tokenizer:
    """How text becomes tokens."""

    model: str
    """One of "llama", "gpt2", "bert" and so on; "" = the file has no tokenizer."""
    pre: str
    """Name of the pre-tokenizer."""
    n_tokens: int
    n_merges: int
    special: tuple[SpecialToken, ...]
    adds_bos: bool | None
    """None = the file leaves it to the tokenizer's model."""
    adds_eos: bool | None


@dataclass(frozen=True)
class Template:
    """The chat template of a file."""

    n_chars: int
    names: tuple[str, ...]
    """Further templates beside the default one, such as "tool_use"."""
    mentions_tools: bool
    mentions_system: bool
    mentions_thinking: bool


@dataclass(frozen=True)
class Description:
    """What one model file is."""

    kind: FileKind
    name: str
    architecture: str
    n_params: int
    n_params_active: int
    """Weights that one token uses; less than n_params where only some experts are asked."""
    bits_per_weight: float
    """Over all tensors; 0 for a file without tensors."""
    n_ctx_train: int
    """0 = the file does not say."""
    license: str
    quantization: str
    """Name of the file's type, such as "Q4_K_M"; "" = the file does not say."""
    mix: tuple[TypeShare, ...]
    """Largest share first."""
    tokenizer: Tokenizer
    template: Template | None
    n_layers: int
    n_experts: int
    n_experts_used: int
    size_bytes: int
    n_tensors: int
    n_shards: int
    version: int


def describe(header: GgufHeader) -> Description:
    """Describe a model.

    Raises:
        GgufError: the file has changed since its header was read.
    """
    n_params = sum(tensor.n_values for tensor in header.tensors)
    bits = 8 * header.weights_bytes / n_params if n_params else 0.0
    return Description(
        kind=file_kind(header),
        name=header.text("general.name") or header.text("general.basename"),
        architecture=header.architecture,
        n_params=n_params,
        n_params_active=active_params(header, n_params),
        bits_per_weight=bits,
        n_ctx_train=header.n_ctx_train,
        license=header.text("general.license") or header.text("general.license.name"),
        quantization=file_type_name(header),
        mix=_mix(header),
        tokenizer=_tokenizer(header),
        template=_template(header),
        n_layers=header.n_layers,
        n_experts=header.number("expert_count"),
        n_experts_used=header.number("expert_used_count"),
        size_bytes=header.size_bytes,
        n_tensors=header.n_tensors,
        n_shards=len(header.shard_paths),
        version=header.version,
    )


def file_kind(header: GgufHeader) -> FileKind:
    """Tell what a file is for. Source: the keys that llama.cpp's own loaders ask for."""
    kind = header.text("general.type")
    if kind == "imatrix" or "imatrix.chunk_count" in header.values:
        return FileKind.IMATRIX
    if header.architecture == "controlvector":
        return FileKind.CONTROL_VECTOR
    if kind == "adapter" or "adapter.type" in header.values:
        return FileKind.LORA
    if kind == "mmproj" or header.architecture == "clip":
        return FileKind.MMPROJ
    if not header.tensors and header.count(TOKENS_KEY):
        return FileKind.VOCABULARY
    return FileKind.MODEL


def file_type_name(header: GgufHeader) -> str:
    """Give the name of the file's type, such as "Q4_K_M"; "" where it does not say."""
    return FILE_TYPES.get(-1 if header.file_type is None else header.file_type, "")


def active_params(header: GgufHeader, n_params: int) -> int:
    """Count the weights that one token uses; `n_params` where all of them are."""
    n_experts, n_used = header.number("expert_count"), header.number("expert_used_count")
    if not 0 < n_used < n_experts:
        return n_params
    in_experts = sum(t.n_values for t in header.tensors if _EXPERT_TENSOR.search(t.name))
    return n_params - in_experts * (n_experts - n_used) // n_experts


def _mix(header: GgufHeader) -> tuple[TypeShare, ...]:
    counts: dict[str, list[int]] = {}
    for tensor in header.tensors:
        entry = counts.setdefault(tensor.type_name, [0, 0])
        entry[0] += 1
        entry[1] += tensor.size_bytes
    total = max(1, header.weights_bytes)
    shares = (TypeShare(name, n, size, size / total) for name, (n, size) in counts.items())
    return tuple(sorted(shares, key=lambda share: -share.size_bytes))


def _tokenizer(header: GgufHeader) -> Tokenizer:
    prefix = "tokenizer.ggml."
    roles = {
        key.removeprefix(prefix).removesuffix(_TOKEN_ID_SUFFIX): value
        for key, value in header.values.items()
        if key.startswith(prefix) and key.endswith(_TOKEN_ID_SUFFIX) and isinstance(value, int)
    }
    texts = strings_at(header, TOKENS_KEY, roles.values())
    return Tokenizer(
        model=header.text(f"{prefix}model"),
        pre=header.text(f"{prefix}pre"),
        n_tokens=header.count(TOKENS_KEY),
        n_merges=header.count(f"{prefix}merges"),
        special=tuple(SpecialToken(role, id_, texts.get(id_, "")) for role, id_ in roles.items()),
        adds_bos=_flag(header, f"{prefix}add_bos_token"),
        adds_eos=_flag(header, f"{prefix}add_eos_token"),
    )


def _flag(header: GgufHeader, key: str) -> bool | None:
    value = header.values.get(key)
    return value if isinstance(value, bool) else None


def _template(header: GgufHeader) -> Template | None:
    """Look for the words that a template needs to handle a feature; it is not run."""
    source = header.text(TEMPLATE_KEY)
    names = tuple(
        key.removeprefix(f"{TEMPLATE_KEY}.")
        for key in header.values
        if key.startswith(f"{TEMPLATE_KEY}.")
    )
    if not source and not names:
        return None
    whole = source + "".join(header.text(f"{TEMPLATE_KEY}.{name}") for name in names)
    return Template(
        n_chars=len(source),
        names=names,
        mentions_tools=re.search(r"\btools\b", whole) is not None,
        mentions_system=re.search(r"['\"]system['\"]", whole) is not None,
        mentions_thinking=re.search(r"enable_thinking|<think>|reasoning", whole) is not None,
    )


FILE_TYPES: Final = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4_MOE",
    39: "NVFP4",
    40: "Q1_0",
    41: "Q2_0",
}
"""llama_ftype by number. Source: include/llama.h of the pinned llama.cpp."""
