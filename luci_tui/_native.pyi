"""The compiled core, with shapes and units. Only luci_tui/engine/native*.py import it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

LLAMA_COMMIT: str
ACCELERATOR: str

class NativeError(RuntimeError): ...
class ModelLoadError(NativeError): ...
class ContextError(NativeError): ...
class QuantizeError(NativeError): ...

class RequestError(NativeError):
    """`args[0]` is "code: sentence"."""

class Device:
    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def total_bytes(self) -> int: ...
    @property
    def free_bytes(self) -> int: ...

def list_devices() -> list[Device]: ...
def system_info() -> str: ...
def take_log() -> list[tuple[int, str]]:
    """Lines that llama.cpp logged since the last call: (ggml level 1 debug .. 4 error, text)."""

class ValidateProgress:
    """Shared with a running validate(...) from another thread."""

    def __init__(self) -> None: ...
    @property
    def done_bytes(self) -> int: ...
    @property
    def total_bytes(self) -> int:
        """0 until the tensors are known."""

    def cancel(self) -> None: ...

def validate(
    path: bytes, progress: ValidateProgress, deep: bool = False, n_threads: int = 0
) -> list[tuple[str, bool, int, bytes]]:
    """(code, is an error, byte offset, sentence) of each finding, errors first.

    `n_threads` is for the deep check; 0 = one per CPU. Raises NativeError when cancelled.
    """

class BufferMemory:
    """Bytes in one kind of buffer."""

    @property
    def name(self) -> str:
        """Ggml's name, such as "CPU", "CPU_REPACK" or "CUDA0"; "output" for the logits."""
    @property
    def is_host(self) -> bool: ...
    @property
    def is_repacked(self) -> bool:
        """Weights that the CPU back end has rearranged."""
    @property
    def weights_bytes(self) -> int: ...
    @property
    def state_bytes(self) -> int:
        """KV cache and recurrent state."""
    @property
    def compute_bytes(self) -> int: ...
    @property
    def output_bytes(self) -> int: ...

def plan_memory(params: LoadParams) -> list[BufferMemory]:
    """What a load would allocate, from the header alone, without the GIL.

    Raises ModelLoadError, ContextError, RequestError. LoRA adapters and a draft are not in it.
    """

class RepackedType:
    """A tensor type that the CPU back end rearranges, and the shapes it does that for."""

    @property
    def type(self) -> int:
        """Ggml's number of the type."""
    @property
    def is_expert(self) -> bool: ...
    @property
    def row_length_step(self) -> int: ...
    @property
    def n_rows_step(self) -> int: ...
    @property
    def size_ratio(self) -> float:
        """Bytes of the copy per byte of the tensor."""

def repacked_types() -> list[RepackedType]:
    """What this build rearranges on this CPU; the first that fits a tensor holds for it."""

class LoadProgress:
    """Shared with a running Engine(...) from another thread."""

    def __init__(self) -> None: ...
    @property
    def fraction(self) -> float: ...
    def cancel(self) -> None: ...

class LoadParams:
    """Field names and meanings are those of frames.LoadSpec."""

    def __init__(self) -> None: ...
    model_path: str
    n_ctx: int
    n_slots: int
    n_batch: int
    n_ubatch: int
    n_threads: int
    n_gpu_layers: int
    kv_type_k: str
    kv_type_v: str
    flash_attention: str
    kv_unified: bool
    use_mmap: bool
    use_mlock: bool
    loras: list[tuple[str, float]]
    embedding: bool
    pooling: str
    speculation: str
    draft_model_path: str
    draft_n_max: int
    mmproj_path: str
    chat_template: str
    rpc_servers: list[str]
    force: bool
    """Allow n_ctx beyond the trained context."""

class SamplingParams:
    """Field names and meanings are those of frames.SamplingParams."""

    def __init__(self) -> None: ...
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    typical_p: float
    top_n_sigma: float
    xtc_probability: float
    xtc_threshold: float
    repeat_penalty: float
    repeat_last_n: int
    frequency_penalty: float
    presence_penalty: float
    dry_multiplier: float
    dry_base: float
    dry_allowed_length: int
    dry_last_n: int
    mirostat: int
    mirostat_tau: float
    mirostat_eta: float
    dynatemp_range: float
    dynatemp_exponent: float
    seed: int | None
    logit_bias: Sequence[tuple[int, float]]
    ignore_eos: bool
    grammar: str
    json_schema: str
    n_logprobs: int

class Request:
    """Fields are those of frames.Generate; exactly one source of the prompt is set."""

    def __init__(self) -> None: ...
    prompt: str | None
    suffix: str | None
    tokens: Sequence[int] | None
    messages_json: str | None
    media: Sequence[tuple[bool, str, bytes, int, int]]
    """(is it sound, id, bytes, width, height); an image is RGB, rows from the top."""
    tools_json: str
    tool_choice: str
    parallel_tool_calls: bool
    enable_thinking: bool
    add_bos: bool
    max_tokens: int
    prompt_logprobs: bool
    stop: Sequence[str]
    sampling: SamplingParams
    shift_context: bool
    n_keep: int
    lora_scales: Sequence[float] | None
    """One per LoadParams.loras, in their order; None = the scales given there."""
    cache_prompt: bool
    delivery_ms: int

class ModelInfo:
    """Field names and meanings are those of frames.ModelInfo."""

    @property
    def name(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...
    @property
    def n_params(self) -> int: ...
    @property
    def n_vocab(self) -> int: ...
    @property
    def n_ctx(self) -> int: ...
    @property
    def n_ctx_train(self) -> int: ...
    @property
    def n_embd(self) -> int: ...
    @property
    def n_slots(self) -> int: ...
    @property
    def n_threads(self) -> int: ...
    @property
    def bos_token(self) -> str: ...
    @property
    def eos_token(self) -> str: ...
    @property
    def has_chat_template(self) -> bool: ...
    @property
    def can_rewind(self) -> bool: ...
    @property
    def takes_images(self) -> bool: ...
    @property
    def takes_audio(self) -> bool: ...

class TokenLogprob:
    @property
    def token(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def logprob(self) -> float: ...
    @property
    def top(self) -> list[tuple[int, str, float]]: ...

class PromptLogprob(TokenLogprob):
    @property
    def is_first(self) -> bool:
        """It has neither a log-probability nor rivals."""
    @property
    def offset(self) -> int:
        """Character of the prompt's text at which it begins."""

class ToolCallDelta:
    @property
    def index(self) -> int: ...
    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def arguments(self) -> str: ...

class Event:
    """kind "progress", "delta", "done" or "failed"; only the fields of that kind mean something."""

    @property
    def kind(self) -> str: ...
    @property
    def id(self) -> int:
        """What submit() returned."""
    # progress
    @property
    def n_done(self) -> int: ...
    @property
    def n_total(self) -> int: ...
    # delta
    @property
    def text(self) -> str: ...
    @property
    def reasoning(self) -> str: ...
    @property
    def tool_calls(self) -> list[ToolCallDelta]: ...
    @property
    def tokens(self) -> list[int]: ...
    @property
    def logprobs(self) -> list[TokenLogprob]: ...
    @property
    def prompt_logprobs(self) -> list[PromptLogprob]: ...
    # done
    @property
    def finish_reason(self) -> str: ...
    @property
    def stop_text(self) -> str: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def cached_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...
    @property
    def dropped_tokens(self) -> int: ...
    @property
    def drafted_tokens(self) -> int: ...
    @property
    def accepted_tokens(self) -> int: ...
    @property
    def queue_ms(self) -> float: ...
    @property
    def prefill_ms(self) -> float: ...
    @property
    def decode_ms(self) -> float: ...
    @property
    def ttft_ms(self) -> float: ...
    @property
    def seed(self) -> int: ...
    # failed
    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...

class EngineStatus:
    @property
    def slots(self) -> list[tuple[int, str, int]]:
        """(slot, "idle" | "waiting" | "prefill" | "decode", tokens in its KV cache)."""
    @property
    def n_queued(self) -> int: ...
    @property
    def n_active(self) -> int: ...
    @property
    def n_steps(self) -> int: ...
    @property
    def prompt_tokens_total(self) -> int: ...
    @property
    def cached_tokens_total(self) -> int: ...
    @property
    def completion_tokens_total(self) -> int: ...

class Engine:
    def __init__(self, params: LoadParams, progress: LoadProgress) -> None:
        """Load without the GIL. Raises ModelLoadError, ContextError, RequestError (bad value)."""
    def info(self) -> ModelInfo: ...
    def submit(self, request: Request) -> int:
        """Queue a request and return its id. Raises RequestError for what can be seen at once."""
    def cancel(self, request_id: int) -> None:
        """End a request before the next decode; its "done" says cancelled. Unknown ids: ignored."""
    def run(self, max_ms: float) -> list[Event]:
        """Step until events are due, max_ms passed, interrupt() was called or no work is left.

        Releases the GIL. Returns at once with [] when there is no request.
        """
    def interrupt(self) -> None:
        """Make a running or the next `run` return after the present step. Any thread."""
    def memory(self) -> list[BufferMemory]:
        """The buffers of the model and its context; a draft model's are not in it."""
    def has_work(self) -> bool: ...
    def status(self) -> EngineStatus: ...
    def tokenize(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        """Any thread."""
    def pieces(self, tokens: Sequence[int], special: bool = False) -> list[bytes]:
        """The bytes of each token; those of control tokens only with `special`. Any thread.

        Raises RequestError for an id outside the vocabulary.
        """
    def detokenize(self, tokens: Sequence[int], special: bool = False) -> bytes:
        """The same in one piece. Any thread."""
    def embed(self, texts: Sequence[str], normalize: bool) -> tuple[list[list[float]], int]:
        """(vectors (n_texts, n_embd), prompt tokens). Needs LoadParams.embedding."""
    def embed_tokens(
        self, inputs: Sequence[Sequence[int]], normalize: bool
    ) -> tuple[list[list[float]], int]:
        """The same for tokens as the model gets them; nothing is put before or after."""
    def rerank(self, query: str, documents: Sequence[str]) -> tuple[list[float], int]:
        """(a score per document, prompt tokens). Needs a reranking model and pooling "rank"."""
    def save_state(self, slot: int, path: str) -> tuple[int, int]:
        """Write an idle slot's KV cache and tokens; returns (n_tokens, size_bytes)."""
    def restore_state(self, slot: int, path: str) -> tuple[int, int]:
        """Read what save_state wrote for the same model; returns (n_tokens, size_bytes)."""
    def bench(self, n_prompt: int, n_gen: int, n_streams: int) -> tuple[float, float]:
        """One repetition like llama-bench: (prefill tokens/s, decode tokens/s over all streams).

        0 where the count is 0. All slots must be idle; their caches are cleared.
        """

class QuantizeType:
    """A quant type of whole files; native/include/luci/quantize.h says more of all of these."""

    @property
    def name(self) -> str: ...
    @property
    def ftype(self) -> int: ...
    @property
    def bits_per_weight(self) -> float:
        """About; 0 = as the source."""

    @property
    def alias_of(self) -> str:
        """Empty unless it is another name of a type."""

    @property
    def description(self) -> str: ...

def quantize_types() -> list[QuantizeType]:
    """Every type that this llama.cpp writes, from few bits to many, second names and COPY last."""

def quantize_tensor_types() -> list[str]:
    """Names of the types that one tensor can be made."""

class TensorPlan:
    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> list[int]:
        """Ggml's order: the row length first."""

    @property
    def source_type(self) -> str: ...
    @property
    def target_type(self) -> str: ...
    @property
    def refused_type(self) -> str:
        """What the row length does not allow, so that target_type stands in; or ""."""

    @property
    def source_bytes(self) -> int: ...
    @property
    def target_bytes(self) -> int: ...
    @property
    def needs_imatrix(self) -> bool:
        """llama.cpp refuses, or aborts, without data for it."""

class QuantizePlan:
    @property
    def tensors(self) -> list[TensorPlan]: ...
    @property
    def file_bytes(self) -> list[int]:
        """Exact size of each file that quantize() would write."""

    @property
    def n_params(self) -> int: ...
    @property
    def source_bytes(self) -> int: ...
    @property
    def target_bytes(self) -> int: ...

class QuantizeParams:
    """Names are those of frames.QuantizeSpec where they mean the same."""

    def __init__(self) -> None: ...
    sources: Sequence[str]
    """The shards in order."""
    destination: str
    """With keep_split the path without "-00001-of-00002.gguf"."""
    type: str
    tensor_types: Sequence[tuple[str, str]]
    output_type: str
    embedding_type: str
    pure: bool
    leave_output: bool
    allow_requantize: bool
    keep_split: bool
    n_threads: int
    imatrix_path: str
    imatrix_dataset: str
    imatrix_chunks: int
    def add_imatrix_entry(self, name: str, values: NDArray[np.float32]) -> None:
        """Copies the mean squares: (n_experts * n_columns,) float32."""

class QuantizeProgress:
    """Shared with a running quantize(...) from another thread."""

    def __init__(self) -> None: ...
    @property
    def n_done(self) -> int:
        """Tensors."""

    @property
    def n_total(self) -> int:
        """0 until the source is read."""

    @property
    def bytes_done(self) -> int:
        """Of the source's tensors."""

    @property
    def bytes_total(self) -> int: ...
    @property
    def tensor(self) -> str:
        """Name of the one in work."""

    def cancel(self) -> None:
        """End the work before the next tensor."""

def plan_quantize(params: QuantizeParams) -> QuantizePlan:
    """Reads the header only. Releases the GIL. Raises QuantizeError."""

def quantize(params: QuantizeParams, progress: QuantizeProgress) -> None:
    """Writes the destination. Releases the GIL. Raises QuantizeError."""

class ImatrixParams:
    def __init__(self) -> None: ...
    model_path: str
    text: bytes
    dataset: str
    """Name of the text, written into the file."""
    out_path: str
    n_ctx: int
    """Tokens of a chunk."""
    n_chunks: int
    """0 = all."""
    n_threads: int
    n_gpu_layers: int

class ImatrixSummary:
    @property
    def n_chunks(self) -> int: ...
    @property
    def n_entries(self) -> int:
        """Weights with data."""

    @property
    def n_partial_entries(self) -> int:
        """Of these, weights with an expert that saw no token."""

class ImatrixProgress:
    """Shared with a running make_imatrix(...) from another thread."""

    def __init__(self) -> None: ...
    @property
    def n_done(self) -> int:
        """Chunks."""

    @property
    def n_total(self) -> int:
        """0 until the text is tokenized."""

    def cancel(self) -> None:
        """End the work before the next chunk."""

def make_imatrix(params: ImatrixParams, progress: ImatrixProgress) -> ImatrixSummary:
    """Writes out_path. Releases the GIL. Raises QuantizeError or ModelLoadError."""

class TextScoreParams:
    """What score_text runs; native/include/luci/text_score.h says more of all of these."""

    def __init__(self) -> None: ...
    model_path: str
    text: bytes
    n_ctx: int
    """Tokens of a chunk; its second half is what counts."""
    n_chunks: int
    """0 = all."""
    n_threads: int
    n_gpu_layers: int
    write_base_path: str
    read_base_path: str

class TextScore:
    @property
    def n_chunks(self) -> int: ...
    @property
    def n_scored(self) -> int:
        """Tokens whose probability was looked at."""

    @property
    def n_vocab(self) -> int: ...
    @property
    def mean_nll(self) -> float: ...
    @property
    def perplexity(self) -> float: ...
    @property
    def perplexity_error(self) -> float: ...
    @property
    def mean_kld(self) -> float:
        """This and what follows only with read_base_path; else 0."""

    @property
    def kld_error(self) -> float: ...
    @property
    def max_kld(self) -> float: ...
    @property
    def top_agreement(self) -> float:
        """0 to 1."""

    @property
    def top_agreement_error(self) -> float: ...

class TextScoreProgress:
    """Shared with a running score_text(...) from another thread."""

    def __init__(self) -> None: ...
    @property
    def n_done(self) -> int:
        """Chunks."""

    @property
    def n_total(self) -> int:
        """0 until the text is tokenized."""

    def cancel(self) -> None:
        """End the work before the next chunk."""

def score_text(params: TextScoreParams, progress: TextScoreProgress) -> TextScore:
    """Releases the GIL. Raises ModelLoadError, ContextError or RequestError."""

def tokenize_all(
    params: LoadParams, texts: Sequence[str], add_special: bool, parse_special: bool
) -> list[list[int]]:
    """Releases the GIL. Raises ModelLoadError or RequestError."""

def all_logits(params: LoadParams, tokens: Sequence[int]) -> NDArray[np.float32]:
    """(n_tokens * n_vocab,) float32: the logits after each token; of T5 after all of them.

    Releases the GIL. Raises ModelLoadError, ContextError or RequestError.
    """
