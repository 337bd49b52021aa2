"""An engine client whose answers a test writes down, and whose pace a test decides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import LuciError


@dataclass
class Gate:
    """A place in a script where the engine waits until the test opens it."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)


Step = frames.PromptProgress | frames.Delta | frames.Done | Gate | LuciError


def text(piece: str) -> frames.Delta:
    return frames.Delta(request_id=1, text=piece, tokens=(1,))


def thought(piece: str) -> frames.Delta:
    return frames.Delta(request_id=1, reasoning=piece, tokens=(1,))


def done(
    finish_reason: frames.FinishReason = frames.FinishReason.STOP, dropped_tokens: int = 0
) -> frames.Done:
    return frames.Done(
        request_id=1,
        finish_reason=finish_reason,
        usage=frames.Usage(
            prompt_tokens=9, completion_tokens=21, dropped_tokens=dropped_tokens, n_ctx=512
        ),
        timings=frames.Timings(prefill_ms=10, decode_ms=400, ttft_ms=12),
        seed=7,
    )


MODEL_INFO = frames.ModelInfo(
    model_path="script.gguf",
    name="script",
    architecture="llama",
    description="llama 1B Q8_0",
    size_bytes=1,
    n_params=1,
    n_vocab=1,
    n_ctx=512,
    n_ctx_train=512,
    n_embd=1,
    n_slots=1,
    n_threads=1,
    has_chat_template=True,
    can_rewind=True,
    load_s=0.0,
)


class ScriptedEngine:
    """Plays one script per answer, in order; also counts what was asked and cancelled."""

    def __init__(self, *scripts: list[Step], load: list[Gate | LuciError] | None = None) -> None:
        self.scripts = list(scripts)
        self.load_steps = load or []
        self.info = MODEL_INFO
        self.requests: list[frames.Generate] = []
        self.n_loads = 0
        self.n_cancelled = 0
        self.is_closed = False

    async def load(self, spec: LoadSpec) -> AsyncGenerator[frames.LoadProgress | frames.Loaded]:
        self.n_loads += 1
        yield frames.LoadProgress(request_id=0, fraction=0.5)
        steps, self.load_steps = self.load_steps, []
        for step in steps:
            if isinstance(step, LuciError):
                raise step
            await step.opened.wait()
        yield frames.Loaded(
            request_id=0, info=self.info.model_copy(update={"model_path": spec.model_path})
        )

    async def generate(self, request: frames.Generate) -> AsyncGenerator[frames.GenerateEvent]:
        self.requests.append(request)
        is_complete = False
        try:
            for step in self.scripts.pop(0):
                match step:
                    case LuciError():
                        is_complete = True
                        raise step
                    case Gate():
                        await step.opened.wait()
                    case _:
                        is_complete = isinstance(step, frames.Done)
                        yield step
        finally:
            self.n_cancelled += not is_complete

    async def ask(self, command: frames.Command) -> frames.Event:
        return frames.Acknowledged(request_id=command.request_id)

    async def close(self) -> None:
        self.is_closed = True
