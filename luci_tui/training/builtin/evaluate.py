"""Measure the built-in model on the frozen test sets: one table, or `--json`.

    python -m luci_tui.training.builtin.evaluate --run RUN
    python -m luci_tui.training.builtin.evaluate --gguf Q8_0.gguf --against F16.gguf

Only sums are printed, never single items: the sets must stay unseen.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from luci_tui.chat.doubt import doubtful_arguments
from luci_tui.training.builtin.contract import HOME, load_contract
from luci_tui.training.builtin.generator import DECLINE, Generator
from luci_tui.training.builtin.overlap import is_frozen, overlap

Answerer = Callable[[list[str]], list[str]]
"""Gives the greedy answers to requests, in their order."""

_VALUES_SEED = 20_26
_N_VALUES = 1000


@dataclass(frozen=True)
class Item:
    """One request with the answers that count as right."""

    request: str
    accepted: tuple[str, ...]
    by_words: bool
    """Compare the words after shell splitting instead of the text."""


@dataclass(frozen=True)
class Figures:
    """What one set gave; all but `n` are counts of items."""

    n: int
    right: int
    declined: int
    """Answers that are the decline sentence."""
    wrong_command: int
    """Answers that are neither right nor the decline sentence."""
    wrong_flagged: int
    """Wrong commands with an argument that does not stand in the request."""
    right_flagged: int
    """Right commands that are flagged all the same."""


def _lines(name: str) -> list[dict[str, Any]]:
    text = (HOME / "eval" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines() if line]


def load_sets(*, n_values: int = _N_VALUES) -> dict[str, list[Item]]:
    """Give the four test sets: new values, and the three frozen files."""
    sentence = load_contract().decline_sentence
    samples = Generator(_VALUES_SEED, held_out_values=True, reject=is_frozen)
    in_scope = (s for s in samples if s.intent != DECLINE and s.values)
    sets = {
        "new_values": [Item(s.request, (s.command,), False) for s in islice(in_scope, n_values)]
    }
    sets["paraphrases"] = [
        Item(line["request"], (line["command"],), False) for line in _lines("paraphrases")
    ]
    sets["freestyle"] = [
        Item(line["request"], tuple(line["accepted"]), True) for line in _lines("freestyle")
    ]
    sets["out_of_scope"] = [
        Item(line["request"], (sentence,), False) for line in _lines("out_of_scope")
    ]
    return sets


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return [text]


def is_right(item: Item, answer: str) -> bool:
    """Say whether an answer counts as right."""
    if answer in item.accepted:
        return True
    return item.by_words and any(_words(answer) == _words(a) for a in item.accepted)


def measure(items: list[Item], answers: list[str]) -> Figures:
    """Count right answers, declines and flagged arguments."""
    sentence = load_contract().decline_sentence
    pairs = list(zip(items, answers, strict=True))
    right = [(i, a) for i, a in pairs if is_right(i, a)]
    wrong = [(i, a) for i, a in pairs if not is_right(i, a) and a != sentence]
    return Figures(
        n=len(items),
        right=len(right),
        declined=sum(answer == sentence for answer in answers),
        wrong_command=len(wrong),
        wrong_flagged=sum(bool(doubtful_arguments(i.request, a)) for i, a in wrong),
        right_flagged=sum(
            a != sentence and bool(doubtful_arguments(i.request, a)) for i, a in right
        ),
    )


def torch_answerer(run: Path) -> Answerer:
    """Answer with the checkpoint of a training run, in PyTorch."""
    from luci_tui.training.builtin.export import load_checkpoint
    from luci_tui.training.builtin.model import answer_all

    model, codec = load_checkpoint(run)
    return lambda requests: answer_all(model, codec, requests)


def gguf_answerer(path: Path, log: Path) -> Answerer:
    """Answer with a GGUF file in luci's own engine."""
    from luci_tui.training.builtin.gguf_answers import answer_with_engine

    return lambda requests: answer_with_engine(path, requests, log)


def table(figures: dict[str, Figures]) -> str:
    """Give the figures as a Markdown table."""
    rows = [
        "| set | n | right | share | declined | wrong command | of these flagged | right flagged |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, f in figures.items():
        rows.append(
            f"| {name} | {f.n} | {f.right} | {f.right / f.n:.3f} | {f.declined} | "
            f"{f.wrong_command} | {f.wrong_flagged} | {f.right_flagged} |"
        )
    return "\n".join(rows)


def main(argv: list[str] | None = None) -> int:
    """Measure from the command line."""
    parser = argparse.ArgumentParser(
        prog="evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--run", type=Path, help="folder of a training run, in PyTorch")
    source.add_argument("--gguf", type=Path, help="GGUF file, in luci's engine")
    parser.add_argument("--against", type=Path, help="second GGUF: share of equal answers")
    parser.add_argument("--overlap", type=int, default=0, help="compare with this many samples")
    parser.add_argument("--values", type=int, default=_N_VALUES, help="size of new_values")
    parser.add_argument("--log", type=Path, default=Path("evaluate.log"), help="log of the engine")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    args = parser.parse_args(argv)
    report: dict[str, Any] = {}
    if args.run or args.gguf:
        report |= _measure_all(args)
    if args.overlap:
        report["overlap"] = overlap(args.overlap)
    text = json.dumps(report, indent=2) if args.json else _as_text(report)
    sys.stdout.write(text + "\n")
    return 0


def _measure_all(args: argparse.Namespace) -> dict[str, Any]:
    sets = load_sets(n_values=args.values)
    requests = [item.request for items in sets.values() for item in items]
    answerer = torch_answerer(args.run) if args.run else gguf_answerer(args.gguf, args.log)
    answers = answerer(requests)
    figures: dict[str, Figures] = {}
    start = 0
    for name, items in sets.items():
        figures[name] = measure(items, answers[start : start + len(items)])
        start += len(items)
    report: dict[str, Any] = {"sets": {name: asdict(f) for name, f in figures.items()}}
    if args.against:
        others = gguf_answerer(args.against, args.log)(requests)
        n_equal = sum(one == two for one, two in zip(answers, others, strict=True))
        report["agreement"] = {
            "n": len(requests),
            "equal": n_equal,
            "share": n_equal / len(requests),
        }
    return report


def _as_text(report: dict[str, Any]) -> str:
    parts: list[str] = []
    if "sets" in report:
        parts.append(table({name: Figures(**f) for name, f in report["sets"].items()}))
    parts += [f"{name}: {value}" for name, value in report.items() if name != "sets"]
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
