"""Measure llama-cpp-python; a script for its own interpreter, which has nothing of luci installed.

Reads one JSON object from stdin: {"model", "n_threads", "n_ctx", "n_batch", "n_ubatch", "prompts":
[[token, …], …], "n_new"}; answers the prompts one after the other and writes a JSON list of
[sent_s, first_s, last_s, n_tokens] to stdout.
"""

from __future__ import annotations

import importlib
import json
import sys
import time

_llama_cpp = importlib.import_module("llama_cpp")


def main() -> None:
    """Answer the prompts of one job."""
    job = json.load(sys.stdin)
    llama = _llama_cpp.Llama(
        model_path=job["model"],
        n_ctx=job["n_ctx"],
        n_batch=job["n_batch"],
        n_ubatch=job["n_ubatch"],
        n_threads=job["n_threads"],
        n_threads_batch=job["n_threads"],
        flash_attn=True,  # as all others have it by themselves; off, decode is a sixth slower
        verbose=False,
    )
    # The first decode of a process pays for page faults; the other contenders warm up too.
    list(llama.create_completion([1, 300], max_tokens=2, stream=True, seed=1))
    llama.reset()
    rows: list[tuple[float, float, float, int]] = []
    for prompt in job["prompts"]:
        sent_s = time.perf_counter()
        first_s = 0.0
        n_tokens = 0
        for _ in llama.create_completion(prompt, max_tokens=job["n_new"], stream=True, seed=1):
            if not first_s:
                first_s = time.perf_counter()
        last_s = time.perf_counter()
        n_tokens = int(llama.n_tokens) - len(prompt) + 1
        rows.append((sent_s, first_s, last_s, n_tokens))
    sys.stdout.write(json.dumps(rows))


main()
