"""The compute buffer of T5: its decoder's operations, which attend to the answer and to the prompt.

llama.cpp sizes the buffer for the decoder, with as many tokens read by the encoder as the model was
trained with. Sources: src/models/t5.cpp, build_attn_mha and build_pos_bias in src/llama-graph.cpp
of the pinned llama.cpp.
"""

from __future__ import annotations

from typing import Final

from luci_tui.gguf.graph import GraphSizes
from luci_tui.gguf.header import GgufHeader
from luci_tui.gguf.replay import Graph

_REPLAYED_LAYERS: Final = 3
"""All layers are alike."""


class _Decoder:
    def __init__(self, header: GgufHeader, sizes: GraphSizes) -> None:
        n_heads = max(1, max(header.per_layer("attention.head_count"), default=1))
        n_embd = header.number("embedding_length")
        head_size = header.number("attention.key_length") or n_embd // n_heads
        self.graph = Graph()
        self.has_flash_attention = sizes.has_flash_attention
        self.row = 4 * sizes.n_tokens
        self.n_heads, self.n_embd, self.n_values = n_heads, n_embd, n_heads * head_size
        self.n_ff = header.number("feed_forward_length")
        self.is_gated = any(".ffn_gate." in tensor.name for tensor in header.tensors)
        self.n_cells = sizes.n_cells
        self.n_read = header.n_ctx_train
        """Tokens of the prompt."""
        mask_item = 2 if sizes.has_flash_attention else 4
        self.read = self.graph.input(4 * n_embd * self.n_read)
        self.distances = self.graph.input(self.n_cells * self.row)
        self.indexes = self.graph.input(8 * sizes.n_tokens)
        n_stored = 1 if sizes.has_flash_attention else self.n_values
        self.value_indexes = self.graph.input(8 * sizes.n_tokens * n_stored)
        self.mask = self.graph.input(self.n_cells * sizes.n_tokens * mask_item)
        self.read_mask = self.graph.input(self.n_read * sizes.n_tokens * mask_item)

    def build(self, n_vocab: int, n_layers: int) -> Graph:
        graph = self.graph
        tokens = graph.input(self.row)
        # Embeddings could be given in place of tokens; their input is there in any case.
        graph.keep(graph.input(self.n_embd * self.row))
        current = graph.op(self.n_embd * self.row, tokens)
        for _ in range(min(n_layers, _REPLAYED_LAYERS)):
            current = graph.over(self._attend_to_answer(self._norm(current)), current)
            current = graph.over(self._attend_to_prompt(self._norm(current)), current)
            current = graph.over(self._feed_forward(self._norm(current)), current)
        normed = self._norm(current)
        graph.keep(normed)
        graph.keep(graph.op(n_vocab * self.row, normed))
        return graph

    def _norm(self, node: int) -> int:
        return self.graph.over(self.graph.over(node))

    def _attend_to_answer(self, normed: int) -> int:
        """Attend to the KV cache; the bias by distance keeps flash attention away."""
        graph, size = self.graph, self.n_values * self.row
        query, key, value = (graph.op(size, normed) for _ in range(3))
        graph.op(0, key, self.indexes)
        graph.op(0, value, self.value_indexes)
        values = [graph.op(2 * self.n_values * self.n_cells)] if self.has_flash_attention else []
        scores_bytes = self.n_cells * self.n_heads * self.row
        scores = graph.op(scores_bytes, query)
        bias = graph.op(scores_bytes, graph.op(scores_bytes, self.distances))
        weights = graph.over(graph.over(scores, bias), self.mask)
        found = graph.op(size, graph.op(size, *values, weights))
        return graph.op(self.n_embd * self.row, found)

    def _attend_to_prompt(self, normed: int) -> int:
        graph, size = self.graph, self.n_values * self.row
        read_bytes = 4 * self.n_values * self.n_read
        query = graph.op(size, normed)
        key, value = graph.op(read_bytes, self.read), graph.op(read_bytes, self.read)
        if self.has_flash_attention:
            halves = [graph.op(read_bytes // 2, node) for node in (key, value)]
            found = graph.op(size, query, *halves, self.read_mask)
        else:
            turned = graph.op(read_bytes, value)
            scores = graph.op(self.n_read * self.n_heads * self.row, query, key)
            weights = graph.over(scores, self.read_mask)
            found = graph.op(size, graph.op(size, turned, weights))
        return graph.op(self.n_embd * self.row, found)

    def _feed_forward(self, normed: int) -> int:
        graph, size = self.graph, self.n_ff * self.row
        if self.is_gated:
            gate = graph.op(size, normed)
            active = graph.op(size, gate, graph.op(size, normed))
        else:
            active = graph.over(graph.op(size, normed))
        return graph.op(self.n_embd * self.row, active)


def t5_compute_bytes(header: GgufHeader, sizes: GraphSizes) -> int:
    """Give the bytes of the compute buffer of an encoder-decoder model."""
    n_layers = header.number("decoder_block_count") or header.n_layers
    n_vocab = header.count("tokenizer.ggml.tokens")
    return _Decoder(header, sizes).build(n_vocab, n_layers).peak_bytes()
