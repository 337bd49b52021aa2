"""The compute buffer of a model: the operations of one ubatch, as llama.cpp lines them up.

Only sizes count here, so one list of operations stands for many architectures; what a layer has is
read from the names and shapes of its tensors. Sources: build_attn, build_ffn and build_moe_ffn in
src/llama-graph.cpp, src/models/mamba-base.cpp and delta-net-base.cpp of the pinned llama.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from luci_tui.gguf.header import GgufHeader, TensorInfo
from luci_tui.gguf.layers import LayerMemory
from luci_tui.gguf.replay import Graph

MAX_LAYERS: Final = 8
"""Layers that are replayed: the ends, and enough of the middle to meet each kind twice."""

_QUANTIZED_KV: Final = frozenset({"q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"})


@dataclass(frozen=True)
class GraphSizes:
    """What a context makes of what was asked; see `luci_tui.gguf.estimate.graph_sizes`."""

    n_tokens: int
    """Tokens of one ubatch."""
    n_outputs: int
    """Rows of logits of one ubatch."""
    n_slots: int
    n_streams: int
    """KV buffers: 1 where all slots share one."""
    n_cells: int
    """Tokens that one KV buffer holds."""
    n_window_cells: int
    """The same for layers with a sliding window; 0 = the model has none."""
    has_memory: bool
    """False = an encoder, which sees a whole text at once."""
    has_flash_attention: bool
    is_embedding: bool
    kv_type_k: str
    kv_type_v: str


def compute_bytes(header: GgufHeader, sizes: GraphSizes, layers: tuple[LayerMemory, ...]) -> int:
    """Give the bytes of the compute buffer; `layers` has one entry per layer."""
    builder = _Builder(header, sizes)
    return builder.build(layers).peak_bytes()


class _Builder:
    """Lists the operations of one model; sizes are bytes of one ubatch in float of 32 bits."""

    def __init__(self, header: GgufHeader, sizes: GraphSizes) -> None:
        self.header = header
        self.sizes = sizes
        self.graph = Graph()
        self.shapes = {tensor.name: tensor for tensor in header.tensors}
        self.n_embd = header.number("embedding_length")
        self.row = 4 * sizes.n_tokens

    # --- shapes -----------------------------------------------------------------------------

    def _tensor(self, layer: int, name: str) -> TensorInfo | None:
        return self.shapes.get(f"blk.{layer}.{name}.weight")

    def _has(self, layer: int, *names: str) -> bool:
        return any(self._tensor(layer, name) is not None for name in names)

    def _width(self, layer: int, *names: str) -> int:
        """Values per token that the first of these matrices gives; 0 = none is there."""
        for name in names:
            tensor = self._tensor(layer, name)
            if tensor is not None and len(tensor.shape) > 1:
                return tensor.shape[1]
        return 0

    @cached_property
    def _n_vocab(self) -> int:
        return self.header.count("tokenizer.ggml.tokens")

    # --- the whole graph --------------------------------------------------------------------

    def build(self, layers: tuple[LayerMemory, ...]) -> Graph:
        sizes, graph = self.sizes, self.graph
        tokens = graph.input(self.row)
        # Embeddings could be given in place of tokens; their input is there in any case.
        graph.keep(graph.input(self.n_embd * self.row))
        current = graph.op(self.n_embd * self.row, tokens)
        self.embedded, self.layer_inputs = current, -1
        self.looked_up = self._look_up_layer_inputs(tokens)
        self.positions = graph.input(self.row)
        kept = _representatives(layers)
        self._add_inputs([layers[layer] for layer in kept])
        if not sizes.has_memory:
            current = self._encoder_start(current)
        for layer in kept:
            is_last = layer == kept[-1]
            if not layers[layer].attends:
                current = self._recurrent_layer(layer, current, is_last)
            else:
                current = self._attention_layer(layer, layers[layer], current, is_last)
        self._end(current)
        return graph

    def _add_inputs(self, kinds: list[LayerMemory]) -> None:
        sizes, graph = self.sizes, self.graph
        mask_item = 2 if sizes.has_flash_attention else 4
        attends = [kind for kind in kinds if kind.attends]
        self.masks: dict[bool, int] = {}
        self.indexes: dict[bool, int] = {}
        self.value_indexes: dict[bool, int] = {}
        for is_windowed in (False, True):
            if not any(kind.is_windowed is is_windowed for kind in attends):
                continue
            n_cells = sizes.n_window_cells if is_windowed else sizes.n_cells
            self.indexes[is_windowed] = graph.input(8 * sizes.n_tokens)
            n_stored = 1 if sizes.has_flash_attention else self._n_values_stored()
            self.value_indexes[is_windowed] = graph.input(8 * sizes.n_tokens * n_stored)
            self.masks[is_windowed] = graph.input(n_cells * sizes.n_tokens * mask_item)
        self.out_ids = graph.input(4 * sizes.n_outputs)

    def _look_up_layer_inputs(self, tokens: int) -> int:
        """Add what Gemma 3n and 4 look up for all layers at once; -1 = the model has no such."""
        matrix = self.shapes.get("per_layer_token_embd.weight")
        if matrix is None or not matrix.shape:
            return -1
        return self.graph.over(self.graph.op(matrix.shape[0] * self.row, tokens))

    def _plus_layer_input(self, layer: int, result: int) -> int:
        """Add a layer's own input to its result."""
        width = self._width(layer, "inp_gate")
        if self.looked_up < 0 or not width:
            return result
        graph = self.graph
        gate = graph.over(graph.op(width * self.row, result))
        if self.layer_inputs < 0:
            # The first layer that wants one joins what was looked up and a view of the tokens.
            size = graph.nodes[self.looked_up].size_bytes
            seen = graph.over(graph.over(graph.over(graph.op(size, self.embedded))))
            joined = graph.over(graph.over(seen, self.looked_up))
            self.layer_inputs = graph.op(size, joined)
        gate = graph.over(gate, self.layer_inputs)
        found = self._norm(graph.op(graph.nodes[result].size_bytes, gate))
        return graph.over(result, found)

    def _encoder_start(self, current: int) -> int:
        """Add the positions' embeddings and the first norm."""
        graph = self.graph
        places = graph.op(self.n_embd * self.row, self.positions)
        return self._norm(graph.over(current, places))

    def _n_values_stored(self) -> int:
        """Widest row of values: without flash attention each value is stored by an index."""
        heads = self.header.per_layer("attention.head_count_kv") or self.header.per_layer(
            "attention.head_count"
        )
        n_embd_head = self.n_embd // max(
            1, max(self.header.per_layer("attention.head_count"), default=1)
        )
        return max(heads, default=1) * (self.header.number("attention.value_length") or n_embd_head)

    def _end(self, current: int) -> None:
        graph, n_outputs = self.graph, self.sizes.n_outputs
        normed = graph.op(4 * self.n_embd * n_outputs, current)
        graph.keep(normed)
        if self.sizes.has_memory:
            graph.keep(graph.op(4 * self._n_vocab * n_outputs, normed))
        if self.sizes.is_embedding:
            # Pooling turns the tokens' vectors and multiplies them with a matrix of means.
            turned = graph.op(4 * self.n_embd * n_outputs, normed)
            means = graph.input(4 * n_outputs * self.sizes.n_slots)
            graph.keep(graph.op(4 * self.n_embd * self.sizes.n_slots, turned, means))

    def _norm(self, node: int) -> int:
        """Add a norm and its weight; a decoder's RMS norm may write over its source as well."""
        graph = self.graph
        if self.sizes.has_memory:
            return graph.over(graph.over(node))
        return graph.over(graph.op(graph.nodes[node].size_bytes, node))

    # --- one layer --------------------------------------------------------------------------

    def _attention_layer(self, layer: int, kind: LayerMemory, current: int, is_last: bool) -> int:
        is_encoder = not self.sizes.has_memory
        normed = current if is_encoder else self._norm(current)
        attended = self._attention(layer, kind, normed)
        if self._has(layer, "post_attention_norm") and self._has(layer, "post_ffw_norm"):
            attended = self._norm(attended)
        return self._finish_layer(layer, current, attended, is_last)

    def _finish_layer(self, layer: int, current: int, attended: int, is_last: bool) -> int:
        """Add the residual and the feed-forward network; the last layer drops most rows."""
        graph, sizes = self.graph, self.sizes
        if is_last and sizes.n_outputs < sizes.n_tokens:
            wanted = 4 * self.n_embd * sizes.n_outputs
            attended = graph.op(wanted, attended, self.out_ids)
            current = graph.op(wanted, current, self.out_ids)
            self.row = 4 * sizes.n_outputs
        residual = self._sum(attended, current)
        if not self._has(layer, "ffn_up", "ffn_gate", "ffn_up_exps", "ffn_gate_up_exps"):
            return residual
        if not sizes.has_memory:
            residual = self._norm(residual)
        normed = residual if not sizes.has_memory else self._norm(residual)
        found = self._feed_forward(layer, normed)
        if self._has(layer, "post_ffw_norm"):
            found = self._norm(found)
        result = self._plus_layer_input(layer, self._sum(found, residual))
        return result if sizes.has_memory else self._norm(result)

    def _sum(self, found: int, residual: int) -> int:
        """Add a layer's result to what went into it; Jamba's graph names them in other order."""
        if self.header.architecture == "jamba":
            return self.graph.over(residual, found)
        return self.graph.over(found, residual)

    def _attention(self, layer: int, kind: LayerMemory, normed: int) -> int:
        graph, row = self.graph, self.row
        n_query, n_key, n_value = self._projections(layer)
        has_gate = n_query == 2 * self._n_query_values(layer) > 0
        query = graph.op(n_query * row, normed)
        joint = query
        if has_gate:
            n_query //= 2
            query = graph.op(n_query * row, query)
        query = graph.over(query)  # norm or RoPE
        stored: tuple[int, ...] = ()
        if kind.n_key_values or not self.sizes.has_memory:
            value = graph.op(n_value * row, normed)
            stored = (graph.over(graph.op(n_key * row, normed)), value)
        query, *kept = self._rotated(query, *stored)
        mask = self.masks[kind.is_windowed]
        if kept and self.sizes.has_memory:
            # Storing into the KV cache needs no memory, but it is the last use of both.
            graph.op(0, kept[0], self.indexes[kind.is_windowed])
            graph.op(0, kept[1], self.value_indexes[kind.is_windowed])
        found = self._weighted(query, kept, mask, kind)
        if self._is_rotated:
            found = graph.op(graph.nodes[found].size_bytes, found)
        if has_gate:
            gate = graph.over(graph.op(n_query * row, joint))
            found = graph.over(found, gate)
        return graph.op(self.n_embd * row, found)

    @property
    def _is_rotated(self) -> bool:
        """A quantized KV cache is turned by a Hadamard matrix where heads are 64 wide."""
        head = self.header.number("attention.key_length")
        return self.sizes.kv_type_k in _QUANTIZED_KV and head > 0 and head % 64 == 0

    def _rotated(self, *nodes: int) -> tuple[int, ...]:
        if not self._is_rotated:
            return nodes
        return tuple(self.graph.op(self.graph.nodes[n].size_bytes, n) for n in nodes)

    def _weighted(self, query: int, stored: Sequence[int], mask: int, kind: LayerMemory) -> int:
        """Add the attention itself: in one operation, or through all products at once.

        `stored` is the keys and the values, or nothing where both are those of another layer.
        """
        graph, sizes = self.graph, self.sizes
        n_heads = max(1, max(self.header.per_layer("attention.head_count"), default=1))
        size = graph.nodes[query].size_bytes
        if sizes.has_flash_attention:
            if sizes.has_memory:
                return graph.op(size, query, mask)
            in_f16 = [graph.op(graph.nodes[node].size_bytes // 2, node) for node in stored]
            return graph.op(size, query, *in_f16, mask)
        n_cells = sizes.n_window_cells if kind.is_windowed else sizes.n_cells
        products = graph.op(n_cells * n_heads * self.row, query, *stored[:1])
        products = graph.over(products, mask)
        values = list(stored[1:])
        if not sizes.has_memory:
            values = [graph.op(graph.nodes[node].size_bytes, node) for node in values]
        return graph.op(size, graph.op(size, products, *values))

    def _n_query_values(self, layer: int) -> int:
        heads = self.header.per_layer("attention.head_count")
        n_heads = heads[layer] if layer < len(heads) else 0
        return n_heads * self.header.number("attention.key_length")

    def _projections(self, layer: int) -> tuple[int, int, int]:
        """Values per token of queries, keys and values."""
        n_query = self._width(layer, "attn_q", "attn_q_b")
        n_key, n_value = self._width(layer, "attn_k"), self._width(layer, "attn_v")
        joint = self._width(layer, "attn_qkv")
        if joint and not n_query:
            return joint, 0, 0
        return n_query or self.n_embd, n_key or self.n_embd, n_value or n_key or self.n_embd

    def _feed_forward(self, layer: int, normed: int) -> int:
        if self._has(layer, "ffn_gate_inp"):
            return self._experts(layer, normed)
        return self._dense(layer, normed, "")

    def _dense(self, layer: int, normed: int, suffix: str) -> int:
        graph, row = self.graph, self.row
        n_ff = self._width(layer, f"ffn_up{suffix}") * row
        if self._has(layer, f"ffn_gate{suffix}"):
            gate = graph.op(n_ff, normed)
            active = graph.op(n_ff, gate, graph.op(n_ff, normed))
        else:
            active = graph.over(graph.op(n_ff, normed))
        return graph.op(self.n_embd * row, active)

    def _experts(self, layer: int, normed: int) -> int:
        graph, row = self.graph, self.row
        n_experts = self.header.number("expert_count")
        n_used = max(1, self.header.number("expert_used_count"))
        logits = graph.over(graph.op(n_experts * row, normed))
        order = graph.op(n_experts * row, logits)
        weights = graph.op(n_used * row, logits, order)
        weights = graph.over(weights, graph.op(row, weights))
        n_ff = self._width(layer, "ffn_up_exps", "ffn_gate_up_exps") * n_used * row
        gate = graph.op(n_ff, normed, order)
        if self._has(layer, "ffn_gate_up_exps"):
            active = graph.op(n_ff // 2, gate)
        else:
            active = graph.op(n_ff, gate, graph.op(n_ff, normed, order))
        found = graph.over(graph.op(self.n_embd * n_used * row, active, order), weights)
        total = graph.op(self.n_embd * row, found) if n_used > 1 else found
        if not self._has(layer, "ffn_up_shexp"):
            return total
        shared = self._dense(layer, normed, "_shexp")
        if self._has(layer, "ffn_gate_inp_shexp"):
            shared = graph.over(shared, graph.over(graph.op(row, normed)))
        return graph.over(total, shared)

    # --- recurrent layers -------------------------------------------------------------------

    def _recurrent_layer(self, layer: int, current: int, is_last: bool) -> int:
        normed = self._norm(current)
        is_delta_net = self._has(layer, "ssm_ba", "attn_gate")
        found = self._delta_net(normed) if is_delta_net else self._mamba(layer, normed)
        return self._finish_layer(layer, current, found, is_last)

    def _mamba(self, layer: int, normed: int) -> int:
        graph, header, row = self.graph, self.header, self.row
        inner, state = header.number("ssm.inner_size"), header.number("ssm.state_size")
        n_conv = max(0, header.number("ssm.conv_kernel") - 1)
        n_slots, n_rank = self.sizes.n_slots, header.number("ssm.time_step_rank")
        old = graph.op(4 * n_conv * inner * n_slots, self.positions)
        both = graph.op(2 * inner * row, normed)
        padded = graph.op(inner * row + 4 * n_conv * inner * n_slots, old, both)
        inside = graph.over(graph.op(inner * row, padded))
        parts = graph.op((n_rank + 2 * state) * row, inside)
        rank = graph.op(n_rank * row, parts)
        step = graph.over(graph.op(inner * row, rank))
        if self._has(layer, "ssm_b_norm"):
            groups = [self._sized_norm(state * row, parts) for _ in range(2)]
        else:
            groups = [parts]
        scan = graph.op(inner * row + 4 * state * inner * n_slots, inside, step, *groups)
        skip = graph.op(inner * row, inside)
        mixed = graph.op(inner * row, scan, skip)
        gated = graph.op(inner * row, graph.op(inner * row, both), mixed)
        return graph.op(self.n_embd * row, gated)

    def _sized_norm(self, size_bytes: int, node: int) -> int:
        return self.graph.over(self.graph.op(size_bytes, node))

    def _delta_net(self, normed: int) -> int:
        graph, header, row = self.graph, self.header, self.row
        inner, state = header.number("ssm.inner_size"), header.number("ssm.state_size")
        n_groups, n_heads = header.number("ssm.group_count"), header.number("ssm.time_step_rank")
        n_conv, n_slots = max(0, header.number("ssm.conv_kernel") - 1), self.sizes.n_slots
        channels = inner + 2 * n_groups * state
        mixed = graph.op(channels * row, normed)
        gate = graph.op(inner * row, normed)
        rates = graph.op(2 * n_heads * row, normed)
        beta, alpha = graph.op(n_heads * row, rates), graph.op(n_heads * row, rates)
        old = graph.op(4 * n_conv * channels * n_slots, self.positions)
        padded = graph.op(channels * row + 4 * n_conv * channels * n_slots, old, mixed)
        before = graph.op(4 * state * inner * n_slots, self.positions)
        conv = graph.over(graph.op(channels * row, padded))
        query = self._repeated(graph.op(n_groups * state * row, conv), n_heads, n_groups)
        key = self._repeated(graph.op(n_groups * state * row, conv), n_heads, n_groups)
        size = inner * row + 4 * state * inner * n_slots
        found = graph.op(size, query, key, conv, alpha, beta, before)
        normalized = graph.over(graph.op(inner * row, found))
        active = graph.op(inner * row, gate)
        return graph.op(self.n_embd * row, graph.over(normalized, active))

    def _repeated(self, node: int, n_heads: int, n_groups: int) -> int:
        if n_groups in (0, n_heads):
            return node
        return self.graph.op(self.graph.nodes[node].size_bytes * n_heads // n_groups, node)


def _representatives(layers: tuple[LayerMemory, ...]) -> list[int]:
    """Choose layers that stand for all: two periods from the start, and the last one."""
    if len(layers) <= MAX_LAYERS:
        return list(range(len(layers)))
    return [*range(MAX_LAYERS - 1), len(layers) - 1]
