"""Let transformers answer greedily: `python -m tests.support.hf_greedy FOLDER N < PROMPTS`.

PROMPTS is a JSON array of arrays of token ids; for each stdout gets `tokens`, at most N of them and
without the end token, and `margins`, by how much the logit of each was above the next.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers


def greedy(folder: Path, prompts: list[list[int]], n_tokens: int) -> list[dict[str, Any]]:
    """Give the answers of an encoder-decoder model in 32-bit floats."""
    model: Any = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32)
    answers: list[dict[str, Any]] = []
    for prompt in prompts:
        made = model.generate(
            torch.tensor([prompt]),
            max_new_tokens=n_tokens,
            do_sample=False,
            num_beams=1,
            output_logits=True,
            return_dict_in_generate=True,
        )
        best = [torch.topk(step[0], 2).values for step in made.logits]
        # The first token is the one that the decoder begins from.
        tokens = [int(token) for token in made.sequences[0][1:]]
        if tokens and tokens[-1] == model.config.eos_token_id:
            tokens.pop()
        margins = [float(first - second) for first, second in best]
        answers.append({"tokens": tokens, "margins": margins})
    return answers


if __name__ == "__main__":
    result = greedy(Path(sys.argv[1]), json.load(sys.stdin), int(sys.argv[2]))
    json.dump(result, sys.stdout)
