"""Replay how ggml places the tensors of a graph in one buffer, to know how large it must be.

A graph is a list of operations. Each has a result of some bytes, and an earlier result may be
written over by the operation that uses it last. ggml takes the smallest gap that fits, or the end
of the buffer; gaps between tensors that live longer stay empty, so the peak is more than the sum.

Source: ggml/src/ggml-alloc.c of the pinned llama.cpp (ggml_gallocr_alloc_graph_impl and
ggml_dyn_tallocr_alloc).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

ALIGNMENT: Final = 32
"""Of tensors in a CPU buffer."""


@dataclass
class _Node:
    size_bytes: int
    sources: tuple[int, ...]
    can_overwrite: bool
    is_input: bool
    is_kept: bool
    n_users: int = 0
    offset: int = -1


@dataclass
class Graph:
    """Operations in the order in which they run; a result is named by its number."""

    nodes: list[_Node] = field(default_factory=list[_Node])

    def input(self, size_bytes: int) -> int:
        """Add a tensor that is filled before the graph runs."""
        return self._add(_Node(size_bytes, (), can_overwrite=False, is_input=True, is_kept=False))

    def op(self, size_bytes: int, *sources: int) -> int:
        """Add an operation whose result needs memory of its own."""
        return self._add(_Node(size_bytes, sources, False, False, is_kept=False))

    def over(self, *sources: int) -> int:
        """Add an operation that may write over the first source of which it is the last user."""
        size_bytes = self.nodes[sources[0]].size_bytes
        return self._add(_Node(size_bytes, sources, True, False, is_kept=False))

    def keep(self, node: int) -> None:
        """Never free a result: it is read when the graph has run."""
        self.nodes[node].is_kept = True

    def peak_bytes(self) -> int:
        """Place everything and give the bytes of the buffer."""
        buffer = _Buffer()
        for node in self.nodes:
            for source in node.sources:
                self.nodes[source].n_users += 1
        for node in self.nodes:
            if node.is_input and (node.n_users or node.is_kept):
                node.offset = buffer.take(node.size_bytes)
        for node in self.nodes:
            if not node.is_input:
                self._place(node, buffer)
                self._release(node.sources, buffer)
        return buffer.peak_bytes

    def _add(self, node: _Node) -> int:
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _place(self, node: _Node, buffer: _Buffer) -> None:
        if node.can_overwrite:
            for source in node.sources:
                parent = self.nodes[source]
                is_alike = parent.size_bytes == node.size_bytes and not parent.is_kept
                if is_alike and parent.n_users == 1 and parent.offset >= 0:
                    node.offset, parent.offset = parent.offset, -1
                    return
        node.offset = buffer.take(node.size_bytes)

    def _release(self, sources: Sequence[int], buffer: _Buffer) -> None:
        for source in sources:
            parent = self.nodes[source]
            parent.n_users -= 1
            if parent.n_users == 0 and parent.offset >= 0 and not parent.is_kept:
                buffer.give_back(parent.offset, parent.size_bytes)
                parent.offset = -1


class _Buffer:
    """Free gaps below the end, and the end, which can grow."""

    def __init__(self) -> None:
        self.peak_bytes = 0
        self._end = 0
        self._gaps: list[tuple[int, int]] = []

    def take(self, size_bytes: int) -> int:
        size = -(-size_bytes // ALIGNMENT) * ALIGNMENT
        fitting = [gap for gap in self._gaps if gap[1] >= size]
        if fitting:
            # Of equal gaps ggml takes the last one.
            gap = min(reversed(fitting), key=lambda one: one[1])
            self._gaps.remove(gap)
            if gap[1] > size:
                self._gaps.append((gap[0] + size, gap[1] - size))
                self._gaps.sort()
            return gap[0]
        offset = self._end
        self._end += size
        self.peak_bytes = max(self.peak_bytes, self._end)
        return offset

    def give_back(self, offset: int, size_bytes: int) -> None:
        size = -(-size_bytes // ALIGNMENT) * ALIGNMENT
        merged: list[tuple[int, int]] = []
        for start, length in sorted([*self._gaps, (offset, size)]):
            if merged and merged[-1][0] + merged[-1][1] == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((start, length))
        if merged and merged[-1][0] + merged[-1][1] == self._end:
            self._end = merged.pop()[0]
        self._gaps = merged
