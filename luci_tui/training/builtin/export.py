"""Write a trained checkpoint as a Hugging Face folder and convert it to GGUF.

    python -m luci_tui.training.builtin.export RUN OUT --llama-cpp TREE

`TREE` is a llama.cpp source tree; its converter runs in this Python, which needs `gguf`.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import torch
from transformers import LlamaForCausalLM

from luci_tui.errors import TrainingError
from luci_tui.training.builtin.model import N_CTX, build_model
from luci_tui.training.builtin.tokenizer import ASSISTANT_MARK, USER_MARK, Codec

CHAT_TEMPLATE = (
    "{{- bos_token -}}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}"
    "{{- '" + USER_MARK + "' + message['content'] -}}"
    "{%- elif message['role'] == 'system' and not message['content'] is defined -%}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{- '" + ASSISTANT_MARK + "' + message['content'] + eos_token -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '" + ASSISTANT_MARK + "' -}}{%- endif -%}"
)
"""Renders a chat as the model was trained; system messages are left out.

The empty branch touches a system message's content without printing it: an engine that sees no
use of it at all would put it in front of the user's request instead.
"""

MODEL_NAME = "luci builtin shell"
_DESCRIPTION = "Turns one request in English into one shell command, or declines."


def load_checkpoint(run: Path) -> tuple[LlamaForCausalLM, Codec]:
    """Give the model of a training run with its weights, and its tokenizer.

    Raises:
        TrainingError: the folder holds no checkpoint.
    """
    path = run / "checkpoint.pt"
    if not path.exists():
        raise TrainingError(f"{run} holds no checkpoint.pt; train a model into it first")
    codec = Codec(run / "tokenizer.model")
    weights = torch.load(path, weights_only=True)["model"]
    n_layers = 1 + max(int(key.split(".")[2]) for key in weights if ".layers." in key)
    hidden = weights["model.embed_tokens.weight"].shape[1]
    model = build_model(codec.n_vocab, hidden=hidden, n_layers=n_layers)
    model.load_state_dict(weights)
    model.eval()
    return model, codec


def write_hf_folder(run: Path, folder: Path) -> None:
    """Write weights, configuration, tokenizer and chat template as a Hugging Face model."""
    model, _ = load_checkpoint(run)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    shutil.copyfile(run / "tokenizer.model", folder / "tokenizer.model")
    config = {
        "tokenizer_class": "LlamaTokenizer",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "add_bos_token": True,
        "add_eos_token": False,
        "add_prefix_space": False,
        "legacy": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": N_CTX,
        "chat_template": CHAT_TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    metadata = {
        "general.name": MODEL_NAME,
        "general.description": _DESCRIPTION,
        "general.languages": ["en"],
        "general.version": "1",
    }
    card = "---\nlicense: mit\nlanguage:\n- en\n---\n"
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "metadata.json").write_text(json.dumps(metadata, indent=2), encoding="utf-8")


def convert(folder: Path, out: Path, outtype: str, llama_cpp: Path) -> None:
    """Convert a Hugging Face folder to GGUF.

    Args:
        folder: what `write_hf_folder` wrote.
        out: the .gguf file to write.
        outtype: f32, f16 or q8_0.
        llama_cpp: a llama.cpp source tree.

    Raises:
        TrainingError: the converter is missing or fails.
    """
    script = llama_cpp / "convert_hf_to_gguf.py"
    if not script.exists():
        raise TrainingError(f"{llama_cpp} has no convert_hf_to_gguf.py; name a llama.cpp tree")
    command = [sys.executable, str(script), str(folder), "--outfile", str(out)]
    command += ["--outtype", outtype, "--metadata", str(folder / "metadata.json")]
    out.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise TrainingError(f"the converter failed on {folder}: {last[0]}")


def main(argv: list[str] | None = None) -> int:
    """Export from the command line."""
    parser = argparse.ArgumentParser(
        prog="export", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a training run")
    parser.add_argument(
        "out", type=Path, help="folder for hf/, luci-shell-f16.gguf and luci-shell.gguf"
    )
    parser.add_argument("--llama-cpp", type=Path, required=True, help="a llama.cpp source tree")
    args = parser.parse_args(argv)
    write_hf_folder(args.run, args.out / "hf")
    for name, outtype in (("luci-shell-f16.gguf", "f16"), ("luci-shell.gguf", "q8_0")):
        convert(args.out / "hf", args.out / name, outtype, args.llama_cpp)
        size = (args.out / name).stat().st_size
        sys.stderr.write(f"{args.out / name}: {size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
