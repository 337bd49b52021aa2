"""The messages between luci and a job process: one specification in, events out.

A job is one piece of long native work on files: validate, quantize and the like. It runs in a
process of its own, so that nothing in a file and nothing in native code can take luci with it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from luci_tui.engine.frames import LoadSpec, MemoryUse
from luci_tui.gguf.findings import FileReport


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ValidateSpec(_Data):
    """Check files against the rules of `luci_tui.gguf.rules`."""

    kind: Literal["validate"] = "validate"
    paths: tuple[str, ...]
    deep: bool = False
    """Also read every tensor block and look for NaN and infinity."""
    sha256: str = ""
    """What the hash of the (single) file has to be, in hexadecimal; "" = not asked for."""


class TensorStatsSpec(_Data):
    """Count over all values of one tensor."""

    kind: Literal["tensor_stats"] = "tensor_stats"
    path: str
    name: str


class CompareSpec(_Data):
    """Measure what quantization cost, tensor by tensor."""

    kind: Literal["compare"] = "compare"
    source: str
    quantized: str


class PlanMemorySpec(_Data):
    """Let llama.cpp work out what a load would allocate, without reading a weight."""

    kind: Literal["plan_memory"] = "plan_memory"
    load: LoadSpec


JobSpec = Annotated[
    ValidateSpec | TensorStatsSpec | CompareSpec | PlanMemorySpec, Field(discriminator="kind")
]
job_spec_adapter: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)


class JobProgress(_Data):
    """How far a job is; comes about ten times a second."""

    kind: Literal["progress"] = "progress"
    what: str
    """The file or tensor that is being worked on."""
    n_done: int
    n_total: int
    """0 = not known."""
    unit: Literal["bytes", "tensors", "chunks", "values"] = "bytes"


class ValidateResult(_Data):
    """One report per file, in the order they were asked for."""

    kind: Literal["validated"] = "validated"
    reports: tuple[FileReport, ...]


class TensorStatsResult(_Data):
    """What one tensor holds; figures are over its finite values, None = it has none."""

    kind: Literal["tensor_stats_done"] = "tensor_stats_done"
    name: str
    shape: tuple[int, ...]
    """As GGUF has it: the first is the length of a row."""
    type_name: str
    size_bytes: int
    n_values: int
    n_nan: int
    n_inf: int
    share_zeros: float
    minimum: float | None
    maximum: float | None
    mean: float | None
    std: float | None
    rms: float | None
    first: tuple[float | None, ...]
    """The first few values; None = NaN or infinite."""


class TensorError(_Data):
    """How far a quantized tensor is from its source; None = a value is NaN or infinite."""

    name: str
    source_type: str
    type_name: str
    n_values: int
    size_bytes: int
    rmse: float | None
    """Root of the mean squared difference."""
    relative_rmse: float | None
    """RMSE over the root mean square of the source."""
    cosine: float | None
    largest_error: float | None


class CompareResult(_Data):
    """Every tensor that both models have in the same shape, in the order of the quantized file."""

    kind: Literal["compared"] = "compared"
    source: str
    quantized: str
    tensors: tuple[TensorError, ...]
    whole: TensorError
    """Over all values together."""
    skipped: tuple[str, ...]
    """Names that only one model has, or in another shape."""


class MemoryPlanned(_Data):
    """What llama.cpp says that a load would take."""

    kind: Literal["memory_planned"] = "memory_planned"
    memory: MemoryUse


class JobFailed(_Data):
    """The job could not be done; the last event."""

    kind: Literal["failed"] = "failed"
    code: str
    message: str
    """One sentence for a person."""


JobResult = ValidateResult | TensorStatsResult | CompareResult | MemoryPlanned
JobEvent = Annotated[
    JobProgress | ValidateResult | TensorStatsResult | CompareResult | MemoryPlanned | JobFailed,
    Field(discriminator="kind"),
]
job_event_adapter: TypeAdapter[JobEvent] = TypeAdapter(JobEvent)
