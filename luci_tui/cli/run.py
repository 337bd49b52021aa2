"""`luci run`: one prompt, one answer on stdout."""

from __future__ import annotations

import sys
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, cast

import typer
from pydantic import ValidationError

from luci_tui.chat.answer import truth_line
from luci_tui.chat.decline import is_decline
from luci_tui.chat.model import ModelSpec, Turn
from luci_tui.chat.request import build_request
from luci_tui.cli.main import Invocation
from luci_tui.cli.output import ModelText, Progress, Thoughts, narrate, print_json
from luci_tui.cli.session import loaded_model, read_text, run_async
from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoraSpec
from luci_tui.engine.media import media_part
from luci_tui.errors import ConfigError, EngineError
from luci_tui.host.wiring import EngineKind, choose_model, option_error, reviewer

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci run builtin "list the files in src"
  luci run model.gguf "Why is the sky blue?" --temperature 0.2 --seed 7
  git diff | luci run model.gguf --system "Write a commit message." > message.txt
  luci run model.gguf "Name a colour." --json-schema @colour.json --json
  luci run gemma-3-4b.gguf "What is this?" --mmproj mmproj-gemma-3-4b.gguf --image photo.jpg
"""


@dataclass
class Answer:
    """What one answer has brought so far."""

    text: list[str] = field(default_factory=list[str])
    reasoning: list[str] = field(default_factory=list[str])
    done: frames.Done | None = None


@dataclass(frozen=True)
class Job:
    """Everything that one call of `luci run` does."""

    engine: EngineKind
    model: ModelSpec
    prompt: str
    media: list[dict[str, object]]
    is_raw: bool
    enable_thinking: bool
    is_json: bool


# The signature is the list of options, which makes this function long.
@app.command(epilog=EPILOG)
def run(
    ctx: typer.Context,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help='A name, a GGUF file, or "builtin".')
    ],
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help='"-" or nothing reads stdin.')
    ] = None,
    system: Annotated[str, typer.Option(help="System message.")] = "",
    temperature: Annotated[
        float | None, typer.Option(help="0 = always the likeliest token. [0.8; builtin: 0]")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Keep the k likeliest; 0 = off. [40]")] = None,
    top_p: Annotated[float | None, typer.Option(help="Keep this mass; 1 = off. [0.95]")] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Drop what is less likely than this share. [0.05]")
    ] = None,
    repeat_penalty: Annotated[
        float | None, typer.Option(help="Divide the logits of recent tokens; 1 = off. [1]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same answer. [random]")] = None,
    max_tokens: Annotated[
        int, typer.Option(min=-1, help="-1 = until the model ends or the context is full.")
    ] = -1,
    grammar: Annotated[str, typer.Option(help="GBNF text, or @FILE.")] = "",
    json_schema: Annotated[str, typer.Option(help="JSON schema text, or @FILE.")] = "",
    n_ctx: Annotated[
        int | None, typer.Option(min=0, help="Tokens of context; 0 = all it was trained with.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="0 = one per physical core.")] = 0,
    lora: Annotated[
        list[str] | None, typer.Option(metavar="FILE[=SCALE]", help="LoRA adapter; repeatable.")
    ] = None,
    mmproj: Annotated[
        str, typer.Option(metavar="FILE", help="Projector that lets the model see or hear.")
    ] = "",
    image: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="Picture to look at, needs --mmproj; repeatable."),
    ] = None,
    audio: Annotated[
        list[str] | None,
        typer.Option(metavar="FILE", help="WAV or MP3 to listen to, needs --mmproj; repeatable."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Load even if memory is short.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="No chat template.")] = False,
    think: Annotated[bool, typer.Option(help="Let a reasoning model think first.")] = True,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask MODEL once and stream its answer to stdout.

    The built-in model answers with the bare command and nothing else; where it has none, it says
    so and the exit code is 1. Into a pipe the text is what the model wrote; on a terminal control
    characters are removed.
    """
    if grammar and json_schema:
        msg = "--grammar and --json-schema exclude each other: give one of them."
        raise ConfigError(msg)
    kind = cast("Invocation", ctx.obj).engine
    load_options = {
        "n_threads": threads,
        "force": force,
        "loras": _loras(lora or []),
        "mmproj_path": str(Path(mmproj).expanduser()) if mmproj else "",
    }
    if raw and (image or audio):
        msg = "--raw sends the prompt without messages, which carry --image and --audio. Omit it."
        raise ConfigError(msg)
    chosen = choose_model(model, kind=kind, n_ctx=n_ctx, **load_options)
    asked_sampling: dict[str, object] = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repeat_penalty": repeat_penalty,
        "seed": seed,
        "grammar": _text_or_file(grammar, "--grammar"),
        "json_schema": _text_or_file(json_schema, "--json-schema"),
    }
    job = Job(
        engine=kind,
        model=replace(
            chosen,
            sampling=_sampling(chosen.sampling, asked_sampling),
            system=system or chosen.system,
            max_tokens=max_tokens,
        ),
        prompt=read_text(prompt, "prompt"),
        media=_media(image or [], audio or []),
        is_raw=raw,
        enable_thinking=think,
        is_json=json_output,
    )
    if run_async(_run(job)):
        raise typer.Exit(1)


async def _run(job: Job) -> bool:
    """Do the job; True = the model has no command for the request."""
    async with loaded_model(job.engine, job.model.load) as (engine, info):
        if not (info.has_chat_template or job.is_raw or job.media):
            narrate("luci: this model has no chat template; the prompt is sent as it is.")
        request = build_request(
            job.model,
            info,
            [Turn("user", job.prompt)],
            raw=job.is_raw,
            enable_thinking=job.enable_thinking,
            media=job.media,
        )
        answer = Answer()
        async with aclosing(engine.generate(request)) as events:
            sink = _Sink(job.is_json)
            try:
                async for event in events:
                    sink.show(event, answer)
            finally:
                sink.end()
    _report(job, info, answer)
    return job.model.answers_with_command and is_decline("".join(answer.text))


class _Sink:
    """Shows the events of one answer: text on stdout, the rest on stderr if it is a terminal."""

    def __init__(self, is_json: bool) -> None:
        self._progress = Progress()
        self._text = None if is_json else ModelText()
        self._thoughts = Thoughts()

    def show(self, event: frames.GenerateEvent, answer: Answer) -> None:
        match event:
            case frames.PromptProgress():
                self._progress.show(f"reading the prompt {event.n_done}/{event.n_total} tokens")
            case frames.Delta():
                self._progress.clear()
                answer.text.append(event.text)
                answer.reasoning.append(event.reasoning)
                self._thoughts.write(event.reasoning)
                if event.text and self._text:
                    self._thoughts.end()
                    self._text.write(event.text)
            case frames.Done():
                answer.done = event

    def end(self) -> None:
        self._progress.clear()
        self._thoughts.end()
        if self._text:
            self._text.end()


def _report(job: Job, info: frames.ModelInfo, answer: Answer) -> None:
    text = "".join(answer.text)
    review = reviewer(job.model)
    doubtful = review(job.prompt, text) if review else ()
    for argument in doubtful:
        narrate(f"doubtful: '{argument}' is not in your request")
    done = answer.done
    if done is None:
        msg = "The engine ended the answer without saying why; it may be incomplete. Try again."
        raise EngineError(msg)
    if done.usage.dropped_tokens:
        narrate(
            f"luci: {done.usage.dropped_tokens} tokens did not fit the context and were left out."
        )
    if _met_context_end(job, done):
        narrate(f"luci: the answer met the end of the context ({done.usage.n_ctx} tokens).")
    if job.is_json:
        print_json(
            {
                "model": info.name,
                "text": text,
                "reasoning": "".join(answer.reasoning),
                "doubtful": list(doubtful),
                "declined": job.model.answers_with_command and is_decline(text),
                "finish_reason": done.finish_reason.value,
                "seed": done.seed,
                "usage": done.usage.model_dump(),
                "timings": done.timings.model_dump(),
            }
        )
    elif sys.stderr.isatty():
        narrate(truth_line(done))


def _met_context_end(job: Job, done: frames.Done) -> bool:
    asked = job.model.max_tokens
    return done.finish_reason is frames.FinishReason.LENGTH and (
        asked < 0 or done.usage.completion_tokens < asked
    )


def _text_or_file(value: str, option: str) -> str:
    if not value.startswith("@"):
        return value
    try:
        return Path(value[1:]).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{option} names a file that cannot be read as text: {value[1:]}."
        raise ConfigError(msg) from error


def _media(images: list[str], sounds: list[str]) -> list[dict[str, object]]:
    """Return the parts of the message that carry the files."""
    wanted = [("--image", "image_url", "PNG, JPEG, GIF, WebP or BMP", name) for name in images]
    wanted += [("--audio", "input_audio", "WAV or MP3", name) for name in sounds]
    parts: list[dict[str, object]] = []
    for option, kind, formats, name in wanted:
        try:
            part = media_part(Path(name).expanduser().read_bytes())
        except OSError as error:
            msg = f"{option} {name} cannot be read ({error.strerror}). Check the path."
            raise ConfigError(msg) from error
        if part is None or part["type"] != kind:
            msg = f"{option} {name} is no {formats} file. Give one of these."
            raise ConfigError(msg)
        parts.append(part)
    return parts


def _loras(options: list[str]) -> tuple[LoraSpec, ...]:
    return tuple(_lora(option) for option in options)


def _lora(option: str) -> LoraSpec:
    path, equals, scale = option.rpartition("=")
    if not equals:
        return LoraSpec(path=option)
    try:
        return LoraSpec(path=path, scale=float(scale))
    except ValueError:
        # The "=" is part of a file name.
        return LoraSpec(path=option)


def _sampling(defaults: frames.SamplingParams, asked: dict[str, object]) -> frames.SamplingParams:
    given = {name: value for name, value in asked.items() if value is not None}
    try:
        return frames.SamplingParams.model_validate({**defaults.model_dump(), **given})
    except ValidationError as error:
        raise option_error(error) from error
