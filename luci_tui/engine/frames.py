"""The messages between a front end and a worker process, as frozen Pydantic models.

Commands go to the worker, events come back; each is one frame: four bytes of length
(little-endian, unsigned) and that many bytes of UTF-8 JSON. `request_id` is chosen by the client
and joins every event of one request to its command. The same models serve the EchoEngine, so a
front end cannot tell which of the two it talks to.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, TypeAdapter, model_validator

from luci_tui.engine.frame import Frame
from luci_tui.engine.load_spec import LoadSpec, LoraSpec

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""A longer frame is a broken peer, not a message."""


class ContextPolicy(StrEnum):
    """What happens when a prompt or an answer meets the end of the context."""

    REFUSE = "refuse"
    """A prompt that does not fit is an error; an answer that meets the end finishes with LENGTH."""
    SHIFT = "shift"
    """Old tokens after `n_keep` are dropped; the number dropped is reported."""


class FinishReason(StrEnum):
    """Why an answer ended."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CANCELLED = "cancelled"


class SamplingParams(Frame):
    """The sampler chain of one request, in the order in which llama.cpp applies it."""

    temperature: float = Field(default=0.8, ge=0)
    """0 = always the most likely token."""
    top_k: int = Field(default=40, ge=0)
    """0 = off."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """1 = off."""
    min_p: float = Field(default=0.05, ge=0, le=1)
    """0 = off."""
    typical_p: float = Field(default=1.0, gt=0, le=1)
    """1 = off."""
    top_n_sigma: float = -1.0
    """Negative = off."""
    xtc_probability: float = Field(default=0.0, ge=0, le=1)
    xtc_threshold: float = Field(default=0.1, ge=0, le=1)
    repeat_penalty: float = Field(default=1.0, gt=0)
    """1 = off."""
    repeat_last_n: int = Field(default=64, ge=0)
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    dry_multiplier: float = Field(default=0.0, ge=0)
    """0 = off."""
    dry_base: float = Field(default=1.75, ge=0)
    dry_allowed_length: int = Field(default=2, ge=0)
    dry_last_n: int = Field(default=1024, ge=0)
    mirostat: Literal[0, 1, 2] = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    dynatemp_range: float = Field(default=0.0, ge=0)
    dynatemp_exponent: float = 1.0
    seed: int | None = Field(default=None, ge=0, le=2**32 - 2)
    """None = a random seed; the one that was used is in `Done.seed`."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """(token id, value added to its logit)."""
    ignore_eos: bool = False
    grammar: str = ""
    """GBNF; excludes `json_schema`."""
    json_schema: str = ""
    """A JSON schema as text; excludes `grammar`."""
    n_logprobs: int = Field(default=0, ge=0, le=20)
    """Most likely tokens reported with each token; 0 = none."""

    def with_changes(self, changes: Mapping[str, object]) -> SamplingParams:
        """Return the chain with other values for some fields, which are checked.

        Raises:
            ValidationError: a field is not known, or cannot have its value.
        """
        return SamplingParams.model_validate({**self.model_dump(), **changes})


class Generate(Frame):
    """Ask for one answer. Exactly one of `prompt`, `tokens` and `messages_json` is given."""

    kind: Literal["generate"] = "generate"
    request_id: int
    prompt: str | None = None
    """Text as it is: no template, and no control token is read from it."""
    suffix: str | None = None
    """With `prompt`: the answer stands between the two; None = it goes on where the prompt ends."""
    tokens: tuple[int, ...] | None = None
    messages_json: str | None = None
    """OpenAI chat messages as a JSON array, rendered through the model's template. Parts of the
    types `image_url` and `input_audio` hold the whole image or sound, see `engine/media.py`."""
    tools_json: str = ""
    """OpenAI tools as a JSON array; empty = none."""
    tool_choice: Literal["auto", "required", "none"] = "auto"
    parallel_tool_calls: bool = False
    enable_thinking: bool = True
    add_bos: bool = True
    """With `prompt`: put the model's BOS before it, if the model wants one."""
    max_tokens: int = Field(default=-1, ge=-1)
    """-1 = until the model ends or the context is full; 0 = the prompt is only computed."""
    prompt_logprobs: bool = False
    """Report the prompt's own tokens too, with `sampling.n_logprobs` rivals each. All of the prompt
    is then computed, and the token that ends the answer is among `Delta.logprobs`."""
    stop: tuple[str, ...] = ()
    sampling: SamplingParams = SamplingParams()
    context_policy: ContextPolicy = ContextPolicy.REFUSE
    n_keep: int = Field(default=0, ge=0)
    """Tokens at the start that a shift never drops."""
    loras: tuple[LoraSpec, ...] | None = None
    """Scale per adapter of the LoadSpec for this request; None = the scales of the LoadSpec."""
    cache_prompt: bool = True
    delivery_ms: int = Field(default=40, ge=0, le=1000)
    """Least time between two deltas of this request; the first token goes out at once."""


class Embed(Frame):
    """Ask for one vector per text; `texts` and `token_lists` exclude each other."""

    kind: Literal["embed"] = "embed"
    request_id: int
    texts: tuple[str, ...] = ()
    token_lists: tuple[tuple[int, ...], ...] = ()
    """In place of `texts`: tokens as the model gets them, nothing is put before or after."""
    normalize: bool = True
    """Scale each vector to length 1."""

    @model_validator(mode="after")
    def _has_one_kind_of_input(self) -> Self:
        if self.texts and self.token_lists:
            msg = "texts and token_lists exclude each other"
            raise ValueError(msg)
        return self


class Rerank(Frame):
    """Ask how well each document answers the query."""

    kind: Literal["rerank"] = "rerank"
    request_id: int
    query: str
    documents: tuple[str, ...]


class Tokenize(Frame):
    """Ask for the token ids of a text."""

    kind: Literal["tokenize"] = "tokenize"
    request_id: int
    text: str
    add_special: bool = False
    parse_special: bool = False
    with_pieces: bool = False
    """Answer with the text of each token too."""


class Detokenize(Frame):
    """Ask for the text of token ids."""

    kind: Literal["detokenize"] = "detokenize"
    request_id: int
    tokens: tuple[int, ...]
    special: bool = True
    """False = control tokens have no text."""


class StateFile(Frame):
    """Save the slot with the longest match of `tokens`' prefix, or restore a slot, from `path`."""

    kind: Literal["state"] = "state"
    request_id: int
    action: Literal["save", "restore"]
    slot: int = Field(ge=0)
    path: str


class Bench(Frame):
    """Ask the core to measure itself in the worker process, without frames in between."""

    kind: Literal["bench"] = "bench"
    request_id: int
    n_prompt: int = Field(default=512, ge=0)
    n_gen: int = Field(default=128, ge=0)
    n_streams: int = Field(default=1, ge=1)
    repetitions: int = Field(default=5, ge=1)


class Cancel(Frame):
    """End one request; it still answers with Done (CANCELLED) or Failed."""

    kind: Literal["cancel"] = "cancel"
    request_id: int


class Status(Frame):
    """Ask for slots and counters."""

    kind: Literal["status"] = "status"
    request_id: int


class Load(Frame):
    """Load the model; the first command a worker gets, answered by LoadProgress and Loaded."""

    kind: Literal["load"] = "load"
    request_id: int
    spec: LoadSpec


class Shutdown(Frame):
    """Leave; running requests are cancelled first."""

    kind: Literal["shutdown"] = "shutdown"
    request_id: int = 0


Command = Annotated[
    Load
    | Generate
    | Embed
    | Rerank
    | Tokenize
    | Detokenize
    | StateFile
    | Bench
    | Cancel
    | Status
    | Shutdown,
    Field(discriminator="kind"),
]


class MemoryUse(Frame):
    """What a model and its context take, as llama.cpp allocates it, over all devices."""

    weights_bytes: int = 0
    """For a memory-mapped file the range that is mapped."""
    repacked_bytes: int = 0
    """Copies of weights that the CPU back end has rearranged for its kernels."""
    state_bytes: int = 0
    """KV cache and recurrent state of all slots."""
    compute_bytes: int = 0
    """What the largest graph needs between its operations."""
    output_bytes: int = 0
    """Logits of one step; for embeddings those of a whole batch, which the first one allocates."""

    @property
    def total_bytes(self) -> int:
        """All of it."""
        context_bytes = self.state_bytes + self.compute_bytes + self.output_bytes
        return self.weights_bytes + self.repacked_bytes + context_bytes


class ModelInfo(Frame):
    """What a loaded model is."""

    model_path: str
    name: str
    """`general.name` of the file, or its file name."""
    architecture: str
    description: str
    """llama.cpp's short description, e.g. "llama 1B Q4_K - Medium"."""
    size_bytes: int
    n_params: int
    n_vocab: int
    n_ctx: int
    """Tokens of context per slot."""
    n_ctx_train: int
    n_embd: int
    n_slots: int
    """Always 1 for an encoder-decoder model, whatever was asked for."""
    n_threads: int
    has_chat_template: bool
    can_rewind: bool
    """False = recurrent memory: a changed prefix is computed again."""
    takes_images: bool = False
    takes_audio: bool = False
    load_s: float
    bos_token: str = ""
    """Text of the token that begins a text; empty = there is none, or it is not known."""
    eos_token: str = ""
    memory: MemoryUse = MemoryUse()
    """All zero for an engine without a model in memory."""


class LoadProgress(Frame):
    """How much of the model is in memory."""

    kind: Literal["load_progress"] = "load_progress"
    request_id: int
    fraction: float
    """0 to 1."""


class Loaded(Frame):
    """The model answers from now on."""

    kind: Literal["loaded"] = "loaded"
    request_id: int
    info: ModelInfo


class PromptProgress(Frame):
    """How much of the prompt is in the KV cache; sent for prompts that take more than a moment."""

    kind: Literal["prompt_progress"] = "prompt_progress"
    request_id: int
    n_done: int
    n_total: int


class TokenLogprob(Frame):
    """One generated token with its log-probability and its rivals."""

    token: int
    text: str
    logprob: float
    top: tuple[tuple[int, str, float], ...] = ()
    """(token id, text, logprob), most likely first."""


class PromptLogprob(Frame):
    """One token of a prompt with its log-probability and its rivals."""

    token: int
    text: str
    offset: int
    """Character of the prompt's text at which it begins. The text of a prompt that came as tokens
    is what Detokenize answers."""
    logprob: float | None = None
    """None = the first token: nothing stands before it."""
    top: tuple[tuple[int, str, float], ...] = ()
    """(token id, text, logprob), most likely first."""


class ToolCallDelta(Frame):
    """A piece of a tool call; `arguments` is to be appended."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Delta(Frame):
    """New text of an answer since the last delta; whole UTF-8 characters only."""

    kind: Literal["delta"] = "delta"
    request_id: int
    text: str = ""
    """The answer's content."""
    reasoning: str = ""
    """Thinking that the template marks as such."""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    tokens: tuple[int, ...] = ()
    """The token ids behind this delta."""
    logprobs: tuple[TokenLogprob, ...] = ()
    prompt_logprobs: tuple[PromptLogprob, ...] = ()
    """They come while the prompt is computed, in its order and before anything else."""


class Usage(Frame):
    """Tokens of one request."""

    prompt_tokens: int
    cached_tokens: int = 0
    """Of the prompt, taken from the KV cache."""
    completion_tokens: int
    dropped_tokens: int = 0
    """Left out by ContextPolicy.SHIFT, from the prompt or the answer."""
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    """Of the drafted ones."""
    n_ctx: int
    """Context of the slot."""


class Timings(Frame):
    """Durations of one request as the engine saw them."""

    queue_ms: float = 0.0
    prefill_ms: float = 0.0
    """Time in which the prompt was computed."""
    decode_ms: float = 0.0
    """First token to last."""
    ttft_ms: float = 0.0
    """Arrival in the engine to first token."""


class Done(Frame):
    """The answer is complete."""

    kind: Literal["done"] = "done"
    request_id: int
    finish_reason: FinishReason
    stop_text: str = ""
    """The stop string that was met, if one was."""
    usage: Usage
    timings: Timings
    seed: int = 0


class Failed(Frame):
    """The request ended without a full answer; the text that came before stays valid."""

    kind: Literal["failed"] = "failed"
    request_id: int
    code: str
    """Stable word: invalid_request, context_length_exceeded, invalid_grammar, nan_logits, …"""
    message: str


class Embedded(Frame):
    """One vector per text, in their order."""

    kind: Literal["embedded"] = "embedded"
    request_id: int
    vectors: tuple[tuple[float, ...], ...]
    """(n_texts, n_embd)."""
    prompt_tokens: int


class Reranked(Frame):
    """One score per document, in their order; higher fits better."""

    kind: Literal["reranked"] = "reranked"
    request_id: int
    scores: tuple[float, ...]
    prompt_tokens: int


class Tokenized(Frame):
    """The token ids of a text."""

    kind: Literal["tokenized"] = "tokenized"
    request_id: int
    tokens: tuple[int, ...]
    pieces: tuple[str | tuple[int, ...], ...] = ()
    """The text of each token; its bytes where they are no UTF-8 by themselves."""


class Detokenized(Frame):
    """The text of token ids."""

    kind: Literal["detokenized"] = "detokenized"
    request_id: int
    text: str
    """U+FFFD stands for what is no UTF-8."""
    invalid_bytes: tuple[int, ...] = ()
    """All bytes of it, where not all of them are UTF-8; else empty."""


class StateDone(Frame):
    """A slot was saved or restored."""

    kind: Literal["state_done"] = "state_done"
    request_id: int
    n_tokens: int
    size_bytes: int


class BenchResult(Frame):
    """Rates of the bare core, one entry per repetition."""

    kind: Literal["bench_result"] = "bench_result"
    request_id: int
    prefill_tokens_per_s: tuple[float, ...]
    decode_tokens_per_s: tuple[float, ...]
    """Sum over all streams."""


class SlotStatus(Frame):
    """One slot at this moment."""

    slot: int
    state: Literal["idle", "waiting", "prefill", "decode"]
    n_cached: int
    """Tokens in its KV cache."""


class StatusReport(Frame):
    """Counters of the engine since it was loaded."""

    kind: Literal["status_report"] = "status_report"
    request_id: int
    slots: tuple[SlotStatus, ...]
    n_queued: int
    n_steps: int
    prompt_tokens_total: int
    """Computed, without those from the cache."""
    cached_tokens_total: int
    completion_tokens_total: int
    rss_bytes: int


class Heartbeat(Frame):
    """The worker is alive; sent every second while it has work."""

    kind: Literal["heartbeat"] = "heartbeat"
    n_steps: int
    """Steps since the load, as of the last one that ended."""
    n_active: int
    is_stepping: bool
    """True = inside a step, so the same `n_steps` for long means that it is stuck; False = at work
    on a command that counts no steps."""


class Acknowledged(Frame):
    """A command without another answer was carried out."""

    kind: Literal["acknowledged"] = "acknowledged"
    request_id: int


Event = Annotated[
    LoadProgress
    | Loaded
    | PromptProgress
    | Delta
    | Done
    | Failed
    | Embedded
    | Reranked
    | Tokenized
    | Detokenized
    | StateDone
    | BenchResult
    | StatusReport
    | Heartbeat
    | Acknowledged,
    Field(discriminator="kind"),
]

GenerateEvent = PromptProgress | Delta | Done
"""What the iterator of one answer yields; a failure is raised."""

# Prompts and pieces of text do not come again: in Pydantic's cache they would only take memory.
_ONCE = ConfigDict(cache_strings="keys")
command_adapter: TypeAdapter[Command] = TypeAdapter(Command, config=_ONCE)
event_adapter: TypeAdapter[Event] = TypeAdapter(Event, config=_ONCE)
