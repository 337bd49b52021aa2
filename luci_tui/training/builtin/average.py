"""Average the weights of runs that began from the same weights.

    python -m luci_tui.training.builtin.average RUN OTHER_RUN OUT

The mean of weights in one basin is often a little better than each of them. Source: Wortsman et al.
2022, "Model soups", https://arxiv.org/abs/2203.05482. Whether it is shall be decided with the
development sets, not with those in `eval/`.
"""

import argparse
import shutil
import sys
from pathlib import Path

import torch

from luci_tui.errors import TrainingError


def average(runs: list[Path], out: Path) -> None:
    """Write a run folder whose checkpoint has the mean of the weights of all runs.

    Args:
        runs: folders with `checkpoint.pt`; the tokenizer and the counters are those of the last.
        out: folder to write `checkpoint.pt` and `tokenizer.model` into.

    Raises:
        TrainingError: the runs are models of different shapes.
    """
    states = [torch.load(run / "checkpoint.pt", weights_only=True) for run in runs]
    models = [state["model"] for state in states]
    shapes = [{name: tensor.shape for name, tensor in model.items()} for model in models]
    if any(shape != shapes[0] for shape in shapes):
        msg = "The runs are models of different shapes. Average runs of one model."
        raise TrainingError(msg)
    mean = {
        name: torch.stack([model[name].float() for model in models]).mean(0) for name in models[0]
    }
    out.mkdir(parents=True, exist_ok=True)
    torch.save({**states[-1], "model": mean}, out / "checkpoint.pt")
    shutil.copyfile(runs[-1] / "tokenizer.model", out / "tokenizer.model")


def main(argv: list[str] | None = None) -> int:
    """Average from the command line."""
    parser = argparse.ArgumentParser(
        prog="average", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", help="folders of the runs, then that to write"
    )
    args = parser.parse_args(argv)
    average(args.runs[:-1], args.runs[-1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
