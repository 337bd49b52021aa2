"""What an install will fetch: files with addresses, sizes and sums, known before the first byte."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

VERSION_KEY_LENGTH = 12

Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
ModelName = Annotated[
    str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:+-]*$")
]
FileName = Annotated[
    str, Field(min_length=6, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._:+()-]*\.gguf$")
]
"""A plain name in the model's folder; the hub's folders are left away."""


class Role(StrEnum):
    """What a file is to its model."""

    MODEL = "model"
    """The GGUF file, or one shard of it."""
    MMPROJ = "mmproj"
    """Projector for images or sound."""


class PlannedFile(BaseModel):
    """One file to fetch."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: FileName
    url: str
    """Without secrets: a token is added when the file is asked for, and never written down."""
    size_bytes: int | None = Field(default=None, ge=0)
    """None = not known before the server answers."""
    sha256: Sha256 = ""
    """Empty = nobody says; only the length can be checked then."""
    role: Role = Role.MODEL

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if not value.startswith(("https://", "http://")):
            msg = "is no http or https address"
            raise ValueError(msg)
        return value


class Plan(BaseModel):
    """All files of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: ModelName
    """Under which it is installed."""
    source: str
    """As a person would write it: "hf:owner/repo", or an address."""
    repo: str = ""
    """At the hub; empty = not from a hub."""
    revision: str = ""
    """Commit, 40 hexadecimal digits; empty = not from a hub."""
    catalog_name: str = ""
    """Of the catalogue's entry it was made from; empty = of none."""
    files: tuple[PlannedFile, ...] = Field(min_length=1, max_length=65)
    """The model, the first shard first; then its projector, if it has one."""

    @field_validator("files")
    @classmethod
    def _names_differ(cls, value: tuple[PlannedFile, ...]) -> tuple[PlannedFile, ...]:
        names = {file.name.lower() for file in value}
        if len(names) < len(value) or value[0].role is not Role.MODEL:
            msg = "need different names, and the model comes first"
            raise ValueError(msg)
        return value

    @property
    def size_bytes(self) -> int:
        """Return what is known of the size of all files together."""
        return sum(file.size_bytes or 0 for file in self.files)

    @property
    def version(self) -> str:
        """Return 12 hexadecimal digits that differ when any file does.

        The files of a version lie in a folder of this name, so that a new version never touches
        the one in use, and the same plan finds its own parts again.
        """
        facts = [(file.name, file.url, file.size_bytes, file.sha256) for file in self.files]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:VERSION_KEY_LENGTH]
