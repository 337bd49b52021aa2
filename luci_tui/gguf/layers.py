"""What each layer of a model keeps between two steps: a KV cache, a recurrent state, or both.

Sources, all of the pinned llama.cpp: llama_model::create_memory, llama_hparams (has_kv, is_recr,
n_embd_k_gqa, n_embd_v_gqa, n_embd_r, n_embd_s) and load_arch_hparams in src/models/*.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from luci_tui.gguf.header import GgufHeader

_WINDOW_PATTERNS: Final = {
    "afmoe": (4, False),
    "cohere2": (4, False),
    "cohere2moe": (4, True),
    "exaone-moe": (4, False),
    "exaone4": (4, False),
    "gemma2": (2, False),
    "gemma3": (6, False),
    "gemma3n": (5, False),
    "gpt-oss": (2, False),
    "llama4": (4, False),
    "mellum": (4, False),
    "muse-glimmer": (4, False),
    "olmo2": (4, False),
    "plamo3": (8, False),
    "smallthinker": (4, True),
}
"""(period, the full layer comes first) of the layers with a sliding window, where the file does not
say. Source: load_swa_pattern in src/models/*.cpp."""

_WINDOWS: Final = {"exaone-moe": 128, "gemma2": 4096, "llama4": 8192, "smallthinker": 4096}
"""Windows that llama.cpp assumes where the file has none."""

_EXAONE4_WINDOWED_LAYERS: Final = 64
"""Only EXAONE 4 32B, which has so many, has a sliding window."""

_ALL_RECURRENT: Final = frozenset({"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
"""No layer attends. Source: llm_arch_is_recurrent."""

_FULL_ATTENTION_INTERVALS: Final = {
    "minimax-01": 8,
    "qwen35": 4,
    "qwen35moe": 4,
    "qwen3next": 4,
    "qwen4exp": 4,
}
"""Every so many layers one attends, and the others are recurrent, where the file does not say."""

_GEMMA3N_LAYERS_WITH_KV: Final = 20
"""The rest read the cache of the last of these with a window, or without. It is no key of the file.
Source: load_arch_hparams in src/models/gemma3n.cpp."""


@dataclass(frozen=True)
class LayerMemory:
    """What one layer keeps."""

    is_recurrent: bool
    """It has a state of fixed size per slot."""
    is_windowed: bool
    """Its KV cache, if it has one, keeps only the sliding window."""
    n_key_values: int
    """Values per token in the cache of keys; 0 = it has no KV cache of its own."""
    n_value_values: int
    """Values per token in the cache of values."""
    n_indexer_values: int = 0
    """Values per token in the cache of a sparse attention's indexer, in the type of the keys."""

    @property
    def attends(self) -> bool:
        """Tell whether the layer's graph is one of attention."""
        return not self.is_recurrent or self.n_key_values > 0


def layers_of(header: GgufHeader) -> tuple[LayerMemory, ...]:
    """Give what each layer keeps, without those that only predict further tokens."""
    n_layers = header.n_layers
    windows, recurrent = window_layers(header), _recurrent_layers(header)
    widths = _kv_widths(header, windows)
    caching = _caching_layers(header, recurrent)
    indexers = _indexer_widths(header)
    layers: list[LayerMemory] = []
    for layer in range(min(n_layers, _n_trunk_layers(header))):
        keys, values = widths[layer] if caching[layer] else (0, 0)
        indexer = indexers[layer] if keys and not windows[layer] else 0
        layers.append(LayerMemory(recurrent[layer], windows[layer], keys, values, indexer))
    return tuple(layers)


def has_indexer(header: GgufHeader) -> bool:
    """Tell whether attention is sparse; the buffers of its scores are not estimated."""
    return header.number("attention.indexer.key_length") > 0


def sliding_window(header: GgufHeader) -> int:
    """Give the tokens that layers with a sliding window see; 0 = the model has no such layers."""
    architecture = header.architecture
    pattern = header.values.get(f"{architecture}.attention.sliding_window_pattern")
    if architecture == "exaone4" and header.n_layers != _EXAONE4_WINDOWED_LAYERS:
        return 0
    if architecture not in _WINDOW_PATTERNS and not isinstance(pattern, tuple):
        return 0
    return header.number("attention.sliding_window") or _WINDOWS.get(architecture, 0)


def window_layers(header: GgufHeader) -> tuple[bool, ...]:
    """Tell for each layer whether it has a sliding window."""
    n_layers = header.n_layers
    if not sliding_window(header):
        return (False,) * n_layers
    pattern = header.values.get(f"{header.architecture}.attention.sliding_window_pattern")
    if isinstance(pattern, tuple):
        told = tuple(bool(entry) for entry in pattern[:n_layers])
        return told + (False,) * (n_layers - len(told))
    period, full_is_first = _WINDOW_PATTERNS[header.architecture]
    if isinstance(pattern, int):
        period = pattern
    if period == 0:
        return (True,) * n_layers
    full = 0 if full_is_first else period - 1
    return tuple(layer % period != full for layer in range(n_layers))


def recurrent_bytes(header: GgufHeader) -> int:
    """Bytes of one recurrent layer's state for one slot, in float of 32 bits."""
    number = header.number
    n_embd, n_heads = number("embedding_length"), _first(header.per_layer("attention.head_count"))
    if head_size := number("wkv.head_size"):
        return 4 * n_embd * ((number("token_shift_count") or 2) + head_size)
    if n_cached := number("shortconv.l_cache"):
        return 4 * n_embd * (n_cached - 1)
    n_conv = max(0, number("ssm.conv_kernel") - 1)
    if head_size := number("kda.head_dim"):
        return 4 * n_heads * head_size * (3 * (n_conv or 3) + head_size)
    if header.architecture == "minimax-01":
        return 4 * n_heads * number("attention.key_length") ** 2
    inner, state = number("ssm.inner_size"), number("ssm.state_size")
    return 4 * (n_conv * (inner + 2 * number("ssm.group_count") * state) + state * inner)


def _n_trunk_layers(header: GgufHeader) -> int:
    """Count the layers that compute every token: the last ones may be there for drafts only."""
    n_layers, n_nextn = header.n_layers, header.number("nextn_predict_layers")
    return n_layers - n_nextn if 0 < n_nextn < n_layers else n_layers


def _recurrent_layers(header: GgufHeader) -> list[bool]:
    n_layers, architecture = header.n_layers, header.architecture
    if architecture in _ALL_RECURRENT or architecture == "falcon-h1":
        return [True] * n_layers
    told = header.values.get(f"{architecture}.attention.recurrent_layers")
    if isinstance(told, tuple) and len(told) >= n_layers:
        return [bool(entry) for entry in told[:n_layers]]
    interval = header.number("full_attention_interval")
    interval = interval or _FULL_ATTENTION_INTERVALS.get(architecture, 0)
    if interval:
        return [(layer + 1) % interval != 0 for layer in range(n_layers)]
    keys = ("ssm.conv_kernel", "wkv.head_size", "shortconv.l_cache", "kda.head_dim")
    if not any(header.number(key) for key in keys):
        return [False] * n_layers
    n_heads_kv = _padded(header.per_layer("attention.head_count_kv"), n_layers)
    widths = _padded(header.per_layer("feed_forward_length"), n_layers)
    if architecture.startswith("nemotron_h"):
        return [not heads and not width for heads, width in zip(n_heads_kv, widths, strict=True)]
    return [not heads for heads in n_heads_kv]


def _caching_layers(header: GgufHeader, recurrent: list[bool]) -> list[bool]:
    """Tell which layers have a KV cache of their own."""
    n_layers, architecture = header.n_layers, header.architecture
    if architecture in _ALL_RECURRENT:
        return [False] * n_layers
    if architecture == "falcon-h1":
        return [True] * n_layers
    if architecture.startswith("nemotron_h"):
        widths = _padded(header.per_layer("feed_forward_length"), n_layers)
        return [not state and not width for state, width in zip(recurrent, widths, strict=True)]
    n_caching = n_layers
    if architecture == "gemma3n":
        n_caching = _GEMMA3N_LAYERS_WITH_KV
    elif architecture == "gemma4":
        n_caching = n_layers - header.number("attention.shared_kv_layers")
    return [layer < n_caching and not is_recurrent for layer, is_recurrent in enumerate(recurrent)]


def _kv_widths(header: GgufHeader, windows: tuple[bool, ...]) -> list[tuple[int, int]]:
    """Give the values per token of keys and of values, for each layer as if it had a cache."""
    n_layers = header.n_layers
    n_heads_kv = header.per_layer("attention.head_count_kv") or header.per_layer(
        "attention.head_count"
    )
    n_heads_kv = _padded(n_heads_kv, n_layers)
    full, windowed = _head_lengths(header)
    lengths = [windowed if is_windowed else full for is_windowed in windows]
    return [(n * key, n * value) for n, (key, value) in zip(n_heads_kv, lengths, strict=True)]


def _head_lengths(header: GgufHeader) -> tuple[tuple[int, int], tuple[int, int]]:
    """Give the lengths of a key and a value: in full layers, and in those with a window."""
    number = header.number
    n_heads = max(1, _first(header.per_layer("attention.head_count")))
    default = number("embedding_length") // n_heads
    key = number("attention.key_length") or default
    value = number("attention.value_length") or default
    key_windowed = number("attention.key_length_swa") or key
    value_windowed = number("attention.value_length_swa") or value
    if number("attention.key_length_mla") and number("attention.value_length_mla"):
        # Multi-head latent attention reads the values from the keys' cache.
        value = value_windowed = 0
    return (key, value), (key_windowed, value_windowed)


def _indexer_widths(header: GgufHeader) -> list[int]:
    """Give what a sparse attention's indexer keeps per token, for each layer."""
    n_layers, width = header.n_layers, header.number("attention.indexer.key_length")
    if header.number("attention.indexer.kpool") > 0:
        width *= 3
    first = header.number("leading_dense_block_count") if header.architecture == "minimax-m3" else 0
    types = header.values.get(f"{header.architecture}.attention.indexer.types")
    has_one = [layer >= first for layer in range(n_layers)]
    if isinstance(types, tuple):
        told = [bool(entry) for entry in types[:n_layers]]
        has_one[: len(told)] = told
    return [width if is_there else 0 for is_there in has_one]


def _padded(entries: tuple[int, ...], n_layers: int) -> tuple[int, ...]:
    return entries[:n_layers] + (0,) * (n_layers - len(entries))


def _first(entries: tuple[int, ...]) -> int:
    return entries[0] if entries else 0
