"""The SentencePiece BPE tokenizer: 2,048 pieces in which a name is split the same everywhere.

The space mark and all punctuation are pieces of their own, so the letters of a file name fall
into the same pieces in the request and in the command. That is what makes copying easy to learn.
"""

import argparse
import io
import sys
from pathlib import Path
from random import Random

import sentencepiece as spm

from luci_tui.training.builtin.generator import Generator

USER_MARK = "<|user|>"
ASSISTANT_MARK = "<|assistant|>"
VOCAB_SIZE = 2048
_SINGLES = list("▁./-_'\",:;?!*`@()=+~#$%&|<>{}[]\\^")


def train_tokenizer(path: Path, *, n_samples: int = 60_000, seed: int = 7) -> None:
    """Train on generated samples and write a SentencePiece `.model` file.

    Args:
        path: the file to write.
        n_samples: how many generated requests and commands to read.
        seed: of the samples.
    """
    generator = iter(Generator(seed))
    rng = Random(seed)
    lines: list[str] = []
    for _ in range(n_samples):
        sample = next(generator)
        lines.append(sample.request)
        if sample.values or rng.random() < 0.2:
            lines.append(sample.command)
    model = io.BytesIO()
    spm.SentencePieceTrainer.train(  # pyright: ignore[reportUnknownMemberType]
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=VOCAB_SIZE,
        byte_fallback=True,
        split_digits=True,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        character_coverage=0.9999,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        control_symbols=[USER_MARK, ASSISTANT_MARK],
        user_defined_symbols=_SINGLES,
        num_threads=2,
        minloglevel=1,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())


class Codec:
    """Turns requests and commands into token ids and back."""

    def __init__(self, path: Path) -> None:
        self._pieces = spm.SentencePieceProcessor(model_file=str(path))
        self.bos: int = self._pieces.piece_to_id("<s>")
        self.eos: int = self._pieces.piece_to_id("</s>")
        self.user: int = self._pieces.piece_to_id(USER_MARK)
        self.assistant: int = self._pieces.piece_to_id(ASSISTANT_MARK)
        self.n_vocab: int = self._pieces.vocab_size()

    def prompt(self, request: str) -> list[int]:
        """Give `<s><|user|>request<|assistant|>` as ids."""
        return [self.bos, self.user, *self._pieces.encode(request), self.assistant]

    def answer(self, command: str) -> list[int]:
        """Give `command</s>` as ids."""
        return [*self._pieces.encode(command), self.eos]

    def decode(self, ids: list[int]) -> str:
        """Give the text of an answer, without `</s>`."""
        return self._pieces.decode([i for i in ids if i != self.eos])


def main(argv: list[str] | None = None) -> int:
    """Train the tokenizer from the command line."""
    parser = argparse.ArgumentParser(prog="tokenizer", description=__doc__)
    parser.add_argument("path", type=Path, help="the .model file to write")
    parser.add_argument("--samples", type=int, default=60_000)
    args = parser.parse_args(argv)
    train_tokenizer(args.path, n_samples=args.samples)
    sys.stderr.write(f"wrote {args.path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
