"""The messages between luci and a job process: one specification in, events out.

A job is one piece of long native work on files: validate, quantize and the like. It runs in a
process of its own, so that nothing in a file and nothing in native code can take luci with it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

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


JobSpec = ValidateSpec
job_spec_adapter: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)


class JobProgress(_Data):
    """How far a job is; comes about ten times a second."""

    kind: Literal["progress"] = "progress"
    what: str
    """The file or tensor that is being worked on."""
    n_done: int
    n_total: int
    """0 = not known."""
    unit: Literal["bytes", "tensors", "chunks"] = "bytes"


class ValidateResult(_Data):
    """One report per file, in the order they were asked for."""

    kind: Literal["validated"] = "validated"
    reports: tuple[FileReport, ...]


class JobFailed(_Data):
    """The job could not be done; the last event."""

    kind: Literal["failed"] = "failed"
    code: str
    message: str
    """One sentence for a person."""


JobResult = ValidateResult
JobEvent = Annotated[JobProgress | ValidateResult | JobFailed, Field(discriminator="kind")]
job_event_adapter: TypeAdapter[JobEvent] = TypeAdapter(JobEvent)
