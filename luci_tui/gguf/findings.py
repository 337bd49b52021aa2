"""What the validator says about a file: findings, and the verdict that follows from them."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """The file is rejected: it breaks the format, or loading it could harm."""
    WARNING = "warning"
    """The file can be loaded; a person should know this about it."""


class Verdict(StrEnum):
    """What becomes of a file."""

    OK = "ok"
    WARNING = "warning"
    REJECTED = "rejected"


class Finding(BaseModel):
    """One thing that is wrong or odd in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    """Stable name of the rule, such as "S21"; `rules.py` says what each stands for."""
    severity: Severity
    offset: int
    """Byte of the file that the finding is about; the file's size where something is missing."""
    message: str
    """One sentence. Names from the file are in it with control characters escaped."""


class FileReport(BaseModel):
    """Everything that was found in one file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    verdict: Verdict
    findings: tuple[Finding, ...] = ()
    """Errors first, each kind in the order of the file."""

    @property
    def first_error(self) -> Finding | None:
        """The reason for a rejection; None = the file is not rejected."""
        errors = (one for one in self.findings if one.severity is Severity.ERROR)
        return next(errors, None)
