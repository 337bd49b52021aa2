"""Train the built-in model from scratch: a plain loop that can be stopped and resumed.

    python -m luci_tui.training.builtin.train OUT --steps 9000
    torchrun --nproc-per-node 2 -m luci_tui.training.builtin.train OUT --steps 9000 --threads 1

The second form shares each batch between processes that meet once per step, where two threads
meet after each matrix product: other work on the machine disturbs it far less. Every step sees
fresh samples. SIGINT to the first process writes a checkpoint and ends the run; the same command
resumes it. The learning rate depends on the step alone, so a paused run loses nothing.
"""

import argparse
import json
import math
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import FrameType

import torch
import torch.distributed as dist
from transformers import LlamaForCausalLM

from luci_tui.errors import TrainingError
from luci_tui.training.builtin.devset import dev_score
from luci_tui.training.builtin.generator import DECLINE, Generator
from luci_tui.training.builtin.model import build_model, make_batches, to_tensors
from luci_tui.training.builtin.overlap import is_frozen
from luci_tui.training.builtin.selection import hardest
from luci_tui.training.builtin.tokenizer import Codec, train_tokenizer

Pair = tuple[list[int], list[int]]
_POOL = 4096
"""Samples that are drawn together and sorted into batches of similar length."""

_SHORT_DECLINE = 5
"""Most declines are learnt on their first tokens only: the sentence is fixed and long."""


@dataclass
class Recipe:
    """What a run is made of."""

    steps: int
    peak_lr: float
    warmup: int
    tokens_per_batch: int
    seed: int
    hidden: int
    n_layers: int
    plateau: float
    """Share of the steps before the learning rate begins to fall."""
    hard_share: float = 1.0
    """Share of the samples to learn from, the hardest first; 1 = all."""

    def lr_at(self, step: int) -> float:
        """Give the learning rate of a step: warm-up, plateau, then a straight line to zero.

        A run whose `steps` are changed while it is on the plateau goes on as if nothing
        happened, so its length can be fitted to a machine that others use too.
        """
        if step < self.warmup:
            return self.peak_lr * (step + 1) / self.warmup
        first = max(self.warmup, int(self.steps * self.plateau))
        left = (self.steps - step) / max(1, self.steps - first)
        return self.peak_lr * min(1.0, max(0.01, left))


def batches(
    recipe: Recipe, codec: Codec, first_pool: int, team: "Team", model: LlamaForCausalLM
) -> Iterator[tuple[int, list[Pair]]]:
    """Give (index of the pool, batch) without end.

    A pool depends on its index and the process alone; what is kept of it also on the model.
    """
    pool = first_pool
    while True:
        index = pool * team.size + team.rank
        generator = iter(Generator(recipe.seed * 1_000_003 + index, reject=is_frozen))
        rng = Random(index)
        pairs: list[Pair] = []
        for _ in range(_POOL):
            sample = next(generator)
            answer = codec.answer(sample.command)
            if sample.intent == DECLINE and rng.random() < 0.9:
                answer = answer[:_SHORT_DECLINE]
            pairs.append((codec.prompt(sample.request), answer))
        pairs = hardest(model, pairs, recipe.hard_share, rng)
        share = recipe.tokens_per_batch // team.size
        made = make_batches(pairs, tokens_per_batch=share, rng=rng)
        # All processes take the same number, so that none waits while another looks for samples.
        for batch in made[: team.least(len(made))]:
            yield pool, batch
        pool += 1


def make_optimizer(model: LlamaForCausalLM) -> torch.optim.AdamW:
    """Give AdamW with weight decay on the matrices only."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), eps=1e-8, fused=True)


class Team:
    """The processes that share a batch; one, if they were not started by torchrun."""

    def __init__(self) -> None:
        self.is_shared = dist.is_torchelastic_launched()
        if self.is_shared:
            dist.init_process_group("gloo")
        self.rank = dist.get_rank() if self.is_shared else 0
        self.size = dist.get_world_size() if self.is_shared else 1

    def least(self, number: int) -> int:
        """Give the smallest of the numbers that the processes name."""
        if not self.is_shared:
            return number
        least = torch.tensor(number)
        dist.all_reduce(least, op=dist.ReduceOp.MIN)
        return int(least)

    def average(
        self, parameters: list[torch.nn.Parameter], n_labels: int, *, is_stopping: bool
    ) -> bool:
        """Average the gradients over all labels of all processes; True = one wants to stop."""
        if not self.is_shared:
            return is_stopping
        gradients = [p.grad for p in parameters if p.grad is not None]
        facts = torch.tensor([float(n_labels), float(is_stopping)])
        flat = torch.cat([g.flatten() * n_labels for g in gradients] + [facts])
        dist.all_reduce(flat)
        at = 0
        for gradient in gradients:
            mean = flat[at : at + gradient.numel()] / flat[-2]
            gradient.copy_(mean.view_as(gradient))
            at += gradient.numel()
        return bool(flat[-1] > 0)


class Run:
    """One training run in a folder: tokenizer, checkpoint and log."""

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.recipe = recipe
        self.team = Team()
        if not (folder / "tokenizer.model").exists():
            train_tokenizer(folder / "tokenizer.model")
        self.codec = Codec(folder / "tokenizer.model")
        torch.manual_seed(recipe.seed)
        self.model = build_model(self.codec.n_vocab, hidden=recipe.hidden, n_layers=recipe.n_layers)
        self.optimizer = make_optimizer(self.model)
        self.step = 0
        self.pool = 0
        self.n_tokens = 0
        self.is_stopping = False

    def resume(self, path: Path, *, weights_only: bool = False) -> None:
        """Continue from a checkpoint, or start a new schedule from its weights."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.pool = state["pool"] + 1
        if not weights_only:
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.n_tokens = state["step"], state["n_tokens"]

    def save(self) -> None:
        """Write the checkpoint under a temporary name and rename it; the first process does."""
        if self.team.rank:
            return
        part = self.folder / "checkpoint.pt.part"
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "pool": self.pool,
            "n_tokens": self.n_tokens,
        }
        torch.save(state, part)
        part.rename(self.folder / "checkpoint.pt")

    def log(self, **figures: float | str) -> None:
        """Append one line to `log.jsonl` and show it; the first process does."""
        if self.team.rank:
            return
        line = json.dumps({"step": self.step, **figures})
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        sys.stderr.write(line + "\n")

    def stop(self, _signal: int, _frame: FrameType | None) -> None:
        """Ask the loop to write a checkpoint and end."""
        self.is_stopping = True

    def one_step(self, batch: list[Pair]) -> tuple[float, int]:
        """Learn one batch; gives the loss and the number of tokens."""
        ids, labels = to_tensors(batch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.lr_at(self.step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = self.model.model(input_ids=ids).last_hidden_state[:, :-1]
            targets = labels[:, 1:]
            wanted = targets != -100
            logits = self.model.lm_head(hidden[wanted])
        loss = torch.nn.functional.cross_entropy(logits.float(), targets[wanted])
        if not math.isfinite(loss.item()):
            raise TrainingError(
                f"the loss is {loss.item()} at step {self.step}; resume with a smaller --lr"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.is_stopping = self.team.average(
            list(self.model.parameters()), int(wanted.sum()), is_stopping=self.is_stopping
        )
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.item(), ids.numel() * self.team.size

    def train(self, *, save_every_s: float, eval_every: int) -> None:
        """Run until the last step or until SIGINT."""
        signal.signal(signal.SIGINT, self.stop)
        self.model.train()
        losses: list[float] = []
        started = saved = time.monotonic()
        tokens_before = self.n_tokens
        for pool, batch in batches(self.recipe, self.codec, self.pool, self.team, self.model):
            self.pool = pool
            if self.step >= self.recipe.steps or self.is_stopping:
                break
            loss, n_tokens = self.one_step(batch)
            losses.append(loss)
            self.step += 1
            self.n_tokens += n_tokens
            if self.step % 50 == 0:
                now = time.monotonic()
                rate = (self.n_tokens - tokens_before) / (now - started)
                mean = sum(losses[-50:]) / 50
                self.log(loss=round(mean, 4), tok_s=round(rate), lr=self.recipe.lr_at(self.step))
                started, tokens_before = now, self.n_tokens
            is_due = self.step % eval_every == 0 or self.step == self.recipe.steps
            if is_due and self.team.rank == 0:
                self.model.eval()
                self.log(**dev_score(self.model, self.codec, seed=self.recipe.seed))
                self.model.train()
            if time.monotonic() - saved > save_every_s:
                self.save()
                saved = time.monotonic()
        self.save()


def main(argv: list[str] | None = None) -> int:
    """Train from the command line."""
    parser = argparse.ArgumentParser(
        prog="train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder of the run; a run in it is resumed")
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--lr", type=float, default=2e-3, help="peak learning rate")
    parser.add_argument("--warmup", type=int, default=200, help="steps")
    parser.add_argument("--plateau", type=float, default=0.2, help="share of steps at the peak")
    parser.add_argument("--tokens", type=int, default=3072, help="tokens of a batch")
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=float, default=180.0, help="seconds")
    parser.add_argument("--eval-every", type=int, default=500, help="steps")
    parser.add_argument(
        "--hard", type=float, default=1.0, help="share of the samples to learn from, hardest first"
    )
    parser.add_argument("--weights", type=Path, help="start a new schedule from this checkpoint")
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    recipe = Recipe(
        steps=args.steps,
        peak_lr=args.lr,
        warmup=args.warmup,
        tokens_per_batch=args.tokens,
        seed=args.seed,
        hidden=args.hidden,
        n_layers=args.layers,
        plateau=args.plateau,
        hard_share=args.hard,
    )
    run = Run(args.out, recipe)
    if (args.out / "checkpoint.pt").exists():
        run.resume(args.out / "checkpoint.pt")
    elif args.weights:
        run.resume(args.weights, weights_only=True)
    run.train(save_every_s=args.save_every, eval_every=args.eval_every)
    return 0


if __name__ == "__main__":
    sys.exit(main())
