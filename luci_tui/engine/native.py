"""The only importer of the compiled core: frames in, frames out, errors from our own tree.

Importing this module does not load the extension, so that everything but the worker runs without
it; the first call that needs it does.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from json.encoder import encode_basestring
from pathlib import Path
from typing import TYPE_CHECKING

from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec, LoraSpec
from luci_tui.engine.media import refuse_media, take_media
from luci_tui.errors import EngineError, ModelLoadError, RequestError
from luci_tui.gguf.weights import RepackedType, Repacking
from luci_tui.units import format_parameters

if TYPE_CHECKING:
    from luci_tui import _native

Events = Sequence["_native.Event"]
"""What one run of the core has to say."""

_MODULE = "luci_tui._native"

# `json.dumps` makes an encoder at each call that asks for more than its defaults.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True)
class DeviceInfo:
    """One thing that this build can compute on."""

    name: str
    """ggml's name, e.g. "CPU" or "CUDA0"."""
    description: str
    kind: str
    """cpu, gpu, igpu or accel."""
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class BuildInfo:
    """What the extension was built from and for."""

    accelerator: str
    """cpu, cuda, metal, vulkan or hip."""
    llama_commit: str
    cpu_features: str


def native_available() -> bool:
    """Tell whether the extension is installed, without loading it."""
    return importlib.util.find_spec(_MODULE) is not None


def require_native() -> None:
    """Load the extension.

    Raises:
        EngineError: it is missing or cannot be loaded; code "no_native_core".
    """
    if not native_available():
        raise EngineError(
            f"The native core ({_MODULE}) is not built for this Python. "
            "Run `pip install .` in luci's source folder; it needs CMake and a C++ compiler.",
            code="no_native_core",
        )
    try:
        importlib.import_module(_MODULE)
    except ImportError as error:
        raise EngineError(
            f"The native core cannot be loaded ({error}). "
            "Build it again on this machine with `pip install --force-reinstall .`.",
            code="no_native_core",
        ) from error


def devices() -> list[DeviceInfo]:
    """List what this build can compute on.

    Raises:
        EngineError: the extension is missing.
    """
    require_native()
    from luci_tui import _native as core

    return [
        DeviceInfo(
            name=device.name,
            description=device.description,
            kind=device.kind,
            total_bytes=device.total_bytes,
            free_bytes=device.free_bytes,
        )
        for device in core.list_devices()
    ]


def system_info() -> BuildInfo:
    """Tell what the extension was built from and for.

    Raises:
        EngineError: the extension is missing.
    """
    require_native()
    from luci_tui import _native as core

    return BuildInfo(core.ACCELERATOR, core.LLAMA_COMMIT, core.system_info())


def take_log() -> list[tuple[int, str]]:
    """Give what llama.cpp logged since the last call: (ggml level, 1 debug to 4 error, text)."""
    if _MODULE not in sys.modules:
        return []
    from luci_tui import _native as core

    return core.take_log()


def repacking() -> Repacking:
    """Tell which weights this build copies into a layout of its own on this machine.

    Raises:
        EngineError: the extension is missing.
    """
    require_native()
    from luci_tui import _native as core

    return tuple(
        RepackedType(
            type_number=one.type,
            is_expert=one.is_expert,
            row_length_step=one.row_length_step,
            n_rows_step=one.n_rows_step,
            size_ratio=one.size_ratio,
        )
        for one in core.repacked_types()
    )


def plan_memory(spec: LoadSpec) -> frames.MemoryUse:
    """Let llama.cpp work out what a load would allocate; it reads the header, not the weights.

    llama.cpp may end the process on a broken file, so this runs in a job process.

    Raises:
        ModelLoadError: the model or the context could not be made.
        EngineError: the extension is missing.
    """
    require_native()
    from luci_tui import _native as core

    with _translated():
        return _memory_use(core.plan_memory(_load_params(spec)))


class LoadMonitor:
    """Watches and stops a load that runs in another thread."""

    def __init__(self) -> None:
        from luci_tui import _native as core

        self.shared = core.LoadProgress()
        self.is_cancelled = False

    @property
    def fraction(self) -> float:
        """0 to 1: how much of the model is in memory."""
        return self.shared.fraction

    def cancel(self) -> None:
        """Make the load fail soon."""
        self.is_cancelled = True
        self.shared.cancel()


class Core:
    """The native engine behind frames.

    One thread calls all but `interrupt`, `tokenize` and `detokenize`.
    """

    def __init__(self, spec: LoadSpec, monitor: LoadMonitor) -> None:
        """Load the model; takes as long as it takes, and releases the GIL meanwhile.

        Raises:
            ModelLoadError: the model or the context cannot be made, or the load was cancelled.
        """
        from luci_tui import _native as core

        self._spec = spec
        try:
            with _translated():
                self._engine = core.Engine(_load_params(spec), monitor.shared)
        except (EngineError, MemoryError) as error:
            raise _load_error(spec, error, is_cancelled=monitor.is_cancelled) from error
        self._n_ctx = self._engine.info().n_ctx
        self.interrupt = self._engine.interrupt
        """Make a running or the next `run` return after the present step. Any thread."""

    def info(self, load_s: float) -> frames.ModelInfo:
        """Describe the loaded model."""
        info = self._engine.info()
        return frames.ModelInfo(
            model_path=self._spec.model_path,
            name=info.name or Path(self._spec.model_path).stem,
            architecture=info.architecture,
            # llama.cpp names the sizes that it knows by heart and calls all others "?B".
            description=info.description.replace("?B", format_parameters(info.n_params)),
            size_bytes=info.size_bytes,
            n_params=info.n_params,
            n_vocab=info.n_vocab,
            n_ctx=info.n_ctx,
            n_ctx_train=info.n_ctx_train,
            n_embd=info.n_embd,
            n_slots=info.n_slots,
            n_threads=info.n_threads,
            bos_token=info.bos_token,
            eos_token=info.eos_token,
            has_chat_template=info.has_chat_template,
            can_rewind=info.can_rewind,
            takes_images=info.takes_images,
            takes_audio=info.takes_audio,
            load_s=load_s,
            memory=_memory_use(self._engine.memory()),
        )

    def submit(self, request: frames.Generate) -> int:
        """Queue a request and return the core's id of it.

        Raises:
            RequestError: the request is refused.
        """
        with _translated():
            return self._engine.submit(_request(request, self._spec))

    def cancel(self, native_id: int) -> None:
        """End a request before the next decode; unknown ids are ignored."""
        self._engine.cancel(native_id)

    def run(self, max_ms: float) -> Events:
        """Step until something is due; see `_native.Engine.run`."""
        return self._engine.run(max_ms)

    def event_payload(self, event: _native.Event, request_id: int) -> bytes:
        """Turn an event of the core into the payload of a frame."""
        match event.kind:
            case "delta":
                return _delta_payload(request_id, event)
            case "progress":
                progress = {"n_done": event.n_done, "n_total": event.n_total}
                return _dump("prompt_progress", request_id, progress)
            case "done":
                return _dump("done", request_id, _done_fields(event, self._n_ctx))
            case _:
                failed = {"code": event.code, "message": event.message}
                return _dump("failed", request_id, failed)

    def has_work(self) -> bool:
        """Tell whether a request waits or runs."""
        return self._engine.has_work()

    def counters(self) -> tuple[int, int]:
        """Give (steps since the load, requests that wait or run)."""
        status = self._engine.status()
        return status.n_steps, status.n_active + status.n_queued

    def status(self, request_id: int, rss_bytes: int) -> frames.StatusReport:
        """Report slots and counters."""
        status = self._engine.status()
        return frames.StatusReport.model_validate(
            {
                "request_id": request_id,
                "slots": [
                    {"slot": slot, "state": state, "n_cached": n_cached}
                    for slot, state, n_cached in status.slots
                ],
                "n_queued": status.n_queued,
                "n_steps": status.n_steps,
                "prompt_tokens_total": status.prompt_tokens_total,
                "cached_tokens_total": status.cached_tokens_total,
                "completion_tokens_total": status.completion_tokens_total,
                "rss_bytes": rss_bytes,
            }
        )

    def tokenize(self, command: frames.Tokenize) -> bytes:
        """Answer with a Tokenized payload. Any thread."""
        answer: dict[str, object] = {}
        with _translated():
            tokens = self._engine.tokenize(command.text, command.add_special, command.parse_special)
            if command.with_pieces:
                answer["pieces"] = [_piece(one) for one in self._engine.pieces(tokens, True)]
        return _dump("tokenized", command.request_id, {"tokens": tokens, **answer})

    def detokenize(self, command: frames.Detokenize) -> bytes:
        """Answer with a Detokenized payload. Any thread."""
        with _translated():
            data = self._engine.detokenize(command.tokens, command.special)
        text = data.decode("utf-8", errors="replace")
        answer: dict[str, object] = {"text": text}
        if text.encode() != data:
            answer["invalid_bytes"] = list(data)
        return _dump("detokenized", command.request_id, answer)

    def embed(self, command: frames.Embed) -> bytes:
        """Answer with an Embedded payload."""
        with _translated():
            if command.token_lists:
                made = self._engine.embed_tokens(command.token_lists, command.normalize)
            else:
                made = self._engine.embed(command.texts, command.normalize)
        vectors, n_tokens = made
        answer = {"vectors": vectors, "prompt_tokens": n_tokens}
        return _dump("embedded", command.request_id, answer)

    def rerank(self, command: frames.Rerank) -> bytes:
        """Answer with a Reranked payload."""
        with _translated():
            scores, n_tokens = self._engine.rerank(command.query, command.documents)
        return _dump("reranked", command.request_id, {"scores": scores, "prompt_tokens": n_tokens})

    def state_file(self, command: frames.StateFile) -> bytes:
        """Save or restore a slot and answer with a StateDone payload."""
        engine = self._engine
        move = engine.save_state if command.action == "save" else engine.restore_state
        with _translated():
            n_tokens, size_bytes = move(command.slot, command.path)
        answer = {"n_tokens": n_tokens, "size_bytes": size_bytes}
        return _dump("state_done", command.request_id, answer)

    def bench_once(self, command: frames.Bench) -> tuple[float, float]:
        """Measure once: (prefill tokens/s, decode tokens/s)."""
        with _translated():
            return self._engine.bench(command.n_prompt, command.n_gen, command.n_streams)


def _memory_use(buffers: Sequence[_native.BufferMemory]) -> frames.MemoryUse:
    return frames.MemoryUse(
        weights_bytes=sum(one.weights_bytes for one in buffers if not one.is_repacked),
        repacked_bytes=sum(one.weights_bytes for one in buffers if one.is_repacked),
        state_bytes=sum(buffer.state_bytes for buffer in buffers),
        compute_bytes=sum(buffer.compute_bytes for buffer in buffers),
        output_bytes=sum(buffer.output_bytes for buffer in buffers),
    )


def _dump(kind: str, request_id: int, fields: Mapping[str, object]) -> bytes:
    """Write one event as JSON, past Pydantic: the core's values need no second check."""
    return _encode({"kind": kind, "request_id": request_id, **fields}).encode()


def _delta_payload(request_id: int, event: _native.Event) -> bytes:
    """Write a Delta. What is text and tokens alone, as most are, takes the short way.

    Between two steps this holds up every answer, 16 of them for as many streams.
    """
    fields = _rare_fields(event)
    if fields:
        return _dump("delta", request_id, {"text": event.text, "tokens": event.tokens, **fields})
    text = encode_basestring(event.text)
    message = f'{{"kind":"delta","request_id":{request_id},"text":{text},"tokens":{event.tokens}}}'
    return message.encode()


def _rare_fields(event: _native.Event) -> dict[str, object]:
    """Give the fields of a Delta beside text and tokens that are not empty."""
    fields: dict[str, object] = {}
    if reasoning := event.reasoning:
        fields["reasoning"] = reasoning
    if tool_calls := event.tool_calls:
        fields["tool_calls"] = [
            {"index": call.index, "id": call.id, "name": call.name, "arguments": call.arguments}
            for call in tool_calls
        ]
    if logprobs := event.logprobs:
        fields["logprobs"] = [
            {"token": one.token, "text": one.text, "logprob": one.logprob, "top": one.top}
            for one in logprobs
        ]
    if prompt_logprobs := event.prompt_logprobs:
        fields["prompt_logprobs"] = [
            {
                "token": one.token,
                "text": one.text,
                "offset": one.offset,
                "logprob": None if one.is_first else one.logprob,
                "top": one.top,
            }
            for one in prompt_logprobs
        ]
    return fields


def _piece(data: bytes) -> str | list[int]:
    """Give a token's text, or its bytes where they are no text."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)


def _done_fields(event: _native.Event, n_ctx: int) -> dict[str, object]:
    return {
        "finish_reason": event.finish_reason,
        "stop_text": event.stop_text,
        "usage": {
            "prompt_tokens": event.prompt_tokens,
            "cached_tokens": event.cached_tokens,
            "completion_tokens": event.completion_tokens,
            "dropped_tokens": event.dropped_tokens,
            "drafted_tokens": event.drafted_tokens,
            "accepted_tokens": event.accepted_tokens,
            "n_ctx": n_ctx,
        },
        "timings": {
            "queue_ms": event.queue_ms,
            "prefill_ms": event.prefill_ms,
            "decode_ms": event.decode_ms,
            "ttft_ms": event.ttft_ms,
        },
        "seed": event.seed,
    }


def _load_params(spec: LoadSpec) -> _native.LoadParams:
    """Copy every field under its own name."""
    from luci_tui import _native as core

    params = core.LoadParams()
    for name in LoadSpec.model_fields.keys() - {"loras", "rpc_servers"}:
        value: object = getattr(spec, name)
        setattr(params, name, value.value if isinstance(value, StrEnum) else value)
    params.loras = [(lora.path, lora.scale) for lora in spec.loras]
    if spec.rpc_servers:
        params.rpc_servers = list(spec.rpc_servers)
    return params


_REQUEST_FIELDS = frozenset(frames.Generate.model_fields) - {
    *("kind", "request_id", "sampling", "context_policy", "loras", "messages_json"),
}


def _request(command: frames.Generate, spec: LoadSpec) -> _native.Request:
    from luci_tui import _native as core

    sampling = core.SamplingParams()
    for name in frames.SamplingParams.model_fields:
        setattr(sampling, name, getattr(command.sampling, name))
    request = core.Request()
    for name in _REQUEST_FIELDS:
        setattr(request, name, getattr(command, name))
    if not spec.mmproj_path:
        refuse_media(command.messages_json)
    request.messages_json, media = take_media(command.messages_json)
    request.media = [(one.is_audio, one.id, one.data, one.width, one.height) for one in media]
    request.sampling = sampling
    request.shift_context = command.context_policy is frames.ContextPolicy.SHIFT
    request.lora_scales = _lora_scales(command.loras, spec.loras)
    return request


def _lora_scales(
    wanted: Sequence[LoraSpec] | None, loaded: Sequence[LoraSpec]
) -> list[float] | None:
    """Give one scale per loaded adapter; one that the request does not name has no effect."""
    if wanted is None:
        return None
    scales = {lora.path: lora.scale for lora in wanted}
    unknown = scales.keys() - {lora.path for lora in loaded}
    if unknown:
        raise RequestError(
            f"The LoRA adapter {min(unknown)} is not loaded with this model. "
            "Load the model with it first.",
            code="invalid_request",
        )
    return [scales.get(lora.path, 0.0) for lora in loaded]


@contextmanager
def _translated() -> Generator[None]:
    """Turn the core's exceptions into ours."""
    from luci_tui import _native as core

    try:
        yield
    except core.RequestError as error:
        code, _, sentence = str(error).partition(": ")
        raise RequestError(sentence or code, code=code if sentence else None) from error
    except core.ContextError as error:
        raise ModelLoadError(str(error), code="context") from error
    except core.ModelLoadError as error:
        raise ModelLoadError(str(error)) from error
    except core.NativeError as error:
        raise EngineError(str(error)) from error


def _load_error(
    spec: LoadSpec, error: EngineError | MemoryError, *, is_cancelled: bool
) -> ModelLoadError:
    name = Path(spec.model_path).name
    if is_cancelled:
        return ModelLoadError(f"Loading {name} was cancelled.", code="cancelled")
    if isinstance(error, MemoryError):
        return ModelLoadError(
            f"Loading {name} ran out of memory. Choose a smaller model or a smaller n_ctx.",
            code="out_of_memory",
        )
    return ModelLoadError(error.message, code=error.code)
