"""What a bench is to measure: as a person asks for it, and as it is measured then."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from luci_tui.errors import ConfigError

SPARE_TOKENS = 8
"""Context beyond the longest test: its prompt's first token and room for the core's own."""
N_PROMPT, N_GEN = 512, 128
"""What is measured where the model's context has room for it."""
MAX_STREAMS = 256


@dataclass(frozen=True)
class BenchPlan:
    """What to measure."""

    n_prompt: int = N_PROMPT
    n_gen: int = N_GEN
    streams: tuple[int, ...] = (1,)
    rounds: int = 5
    temperature: float = 0.0
    n_cancels: int = 20
    seed: int = 1
    """Of the random prompt tokens."""

    @property
    def n_ctx(self) -> int:
        """Context per slot that holds every test."""
        return max(self.n_prompt, self.n_gen) + SPARE_TOKENS

    @property
    def n_steps(self) -> int:
        """How many steps are told before the report."""
        per_test = 2 * (self.rounds + 1)
        n_counts = len({1, *self.streams})
        # Each number of streams is loaded for and decoded with; prefill and cancel are of one.
        return n_counts * (1 + per_test) + per_test + 1


class BenchSpec(BaseModel):
    """A bench that somebody asks for; the options are those of `luci bench`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["bench"] = "bench"
    model: str = Field(min_length=1, max_length=4096)
    """"builtin", a name of the library, or an absolute path."""
    pp: int | None = Field(default=None, ge=1, le=1_048_576)
    """Tokens of the prompt; None = 512, or what fits."""
    tg: int | None = Field(default=None, ge=2, le=1_048_576)
    """Tokens to generate; None = 128, or what fits."""
    streams: tuple[Annotated[int, Field(ge=1, le=MAX_STREAMS)], ...] = Field(
        default=(1,), min_length=1, max_length=16
    )
    rounds: int = Field(default=5, ge=1, le=100)
    temperature: float = Field(default=0.0, ge=0, le=100, allow_inf_nan=False)
    """0 = greedy."""
    threads: int = Field(default=0, ge=0, le=1024)
    """0 = one per physical core."""
    force: bool = False
    """Load even if memory is short."""

    def plan(self, n_ctx: int) -> BenchPlan:
        """Say what is measured of a model that is loaded with so much context."""
        # A small model may know less context than the usual tests need; the test's name says so.
        n_fitting = max(2, n_ctx - SPARE_TOKENS)
        return BenchPlan(
            n_prompt=self.pp or min(N_PROMPT, n_fitting),
            n_gen=self.tg or min(N_GEN, n_fitting),
            streams=self.streams,
            rounds=self.rounds,
            temperature=self.temperature,
        )


DEFAULT_OPTIONS = "--streams 1 --rounds 5"
"""What a person begins with who is asked for the options."""
_FLAGS = ("pp", "tg", "streams", "rounds", "temperature", "threads")


def spec_of(model: str, options: str) -> BenchSpec:
    """Read options as they are written behind `luci bench`.

    Raises:
        ConfigError: one of them is not known, or has a value that cannot be used.
    """
    values: dict[str, object] = {"model": model}
    try:
        words = iter(shlex.split(options))
    except ValueError as error:
        msg = f"The options cannot be read ({str(error).lower()}). Close every quotation mark."
        raise ConfigError(msg) from error
    for word in words:
        flag, _, value = word.removeprefix("--").partition("=")
        if word == "--force":
            values["force"] = True
            continue
        if not word.startswith("--") or flag not in _FLAGS:
            known = ", ".join(f"--{one}" for one in (*_FLAGS, "force"))
            msg = f"{word[:40]!r} is no option of a bench. Known are {known}."
            raise ConfigError(msg)
        value = value or next(words, "")
        values[flag] = value.split(",") if flag == "streams" else value
    return checked_spec(values)


def checked_spec(values: Mapping[str, object]) -> BenchSpec:
    """Make the bench of its fields.

    Raises:
        ConfigError: one of them cannot be used.
    """
    try:
        return BenchSpec.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        option = str(first["loc"][0])
        msg = f"--{option} {str(first['input'])[:40]!r} cannot be used: {first['msg'].lower()}."
        raise ConfigError(msg) from error
