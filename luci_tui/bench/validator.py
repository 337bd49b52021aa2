"""Measure the validator: `python -m luci_tui.bench.validator [--deep-gib 2]`.

The structure is checked of a sparse file of 100 GB with a vocabulary of 32,000 tokens, the data of
a file that fits into memory, with one thread and with all. Each figure is a process of its own, so
that its memory is that of the check alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from luci_tui.units import format_bytes

N_TOKENS = 32_000
N_TENSORS = 400
SPARSE_BYTES = 100_000_000_000
_CHILD = """
import json, os, resource, sys, time
from luci_tui import _native
path, deep, n_threads = sys.argv[1], sys.argv[2] == "deep", int(sys.argv[3])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
findings = _native.validate(os.fsencode(path), _native.ValidateProgress(), deep, n_threads)
elapsed = time.perf_counter() - started
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([elapsed, (after - before) * 1024, [row[0] for row in findings]]))
"""


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _number(key: str, value: int) -> bytes:
    return _text(key) + struct.pack("<II", 4, value)


def _header(tensor_values: int) -> bytes:
    """Give a model's header: 32,000 tokens, N_TENSORS tensors of Q8_0 with so many values each."""
    tokens = b"".join(_text(f"token{i}") for i in range(N_TOKENS))
    pairs = [
        _text("general.architecture") + struct.pack("<I", 8) + _text("llama"),
        _text("tokenizer.ggml.model") + struct.pack("<I", 8) + _text("llama"),
        _text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, N_TOKENS) + tokens,
        _text("tokenizer.ggml.scores")
        + struct.pack("<IIQ", 9, 6, N_TOKENS)
        + struct.pack("<f", -1.0) * N_TOKENS,
        _number("llama.block_count", 1),
        _number("llama.context_length", 4096),
        _number("llama.embedding_length", 32),
        _number("general.quantization_version", 2),
    ]
    n_bytes = tensor_values // 32 * 34
    infos = b"".join(
        _text(f"blk.0.part{i}.weight")
        + struct.pack("<IQQIQ", 2, 32, tensor_values // 32, 8, i * n_bytes)
        for i in range(N_TENSORS)
    )
    start = b"GGUF" + struct.pack("<IQQ", 3, N_TENSORS, len(pairs)) + b"".join(pairs) + infos
    return start + b"\0" * (-len(start) % 32)


def write_model(path: Path, data_bytes: int, *, sparse: bool) -> None:
    """Write a model with about `data_bytes` of tensors, as a hole or as data."""
    tensor_values = data_bytes // N_TENSORS // (34 * 32) * 32 * 32
    header = _header(tensor_values)
    n_bytes = tensor_values // 32 * 34 * N_TENSORS
    with path.open("wb") as file:
        file.write(header)
        if sparse:
            file.truncate(len(header) + n_bytes)
            return
        piece = (b"\x10\x20" + bytes(range(1, 33))) * 32_000
        for start in range(0, n_bytes, len(piece)):
            file.write(piece[: n_bytes - start])


def measure(path: Path, *, deep: bool, n_threads: int) -> tuple[float, int]:
    """Give (seconds, bytes of memory) of one check in a fresh process, the file cached."""
    command = [sys.executable, "-c", _CHILD, str(path), "deep" if deep else "quick", str(n_threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    elapsed_s, memory_bytes, codes = json.loads(done.stdout)
    if "S21" in codes:
        sys.exit(f"the file that was written is not the file that was meant: {codes}")
    return elapsed_s, memory_bytes


def show(line: str) -> None:
    """Print one figure as soon as it is there."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m luci_tui.bench.validator")
    parser.add_argument("--deep-gib", type=float, default=2.0, help="size of the deep check's file")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        path = Path(name) / "sparse.gguf"
        write_model(path, SPARSE_BYTES, sparse=True)
        rows = [measure(path, deep=False, n_threads=1) for _ in range(options.rounds)]
        elapsed_s = statistics.median(row[0] for row in rows)
        memory = max(row[1] for row in rows)
        size = format_bytes(path.stat().st_size)
        show(f"structure of {size}: {1000 * elapsed_s:.1f} ms, {format_bytes(memory)}")
        path = Path(name) / "deep.gguf"
        write_model(path, int(options.deep_gib * 1024**3), sparse=False)
        n_bytes = path.stat().st_size
        started_s = time.perf_counter()
        with path.open("rb") as file:
            while file.read(1 << 22):
                pass
        plain = n_bytes / (time.perf_counter() - started_s)
        show(f"reading {format_bytes(n_bytes)} and doing nothing: {plain / 1e9:.2f} GB/s")
        for n_threads in sorted({1, psutil.cpu_count() or 1}):
            rate = n_bytes / statistics.median(
                measure(path, deep=True, n_threads=n_threads)[0] for _ in range(options.rounds)
            )
            show(f"deep, {n_threads} threads: {rate / 1e9:.2f} GB/s")


if __name__ == "__main__":
    main()
