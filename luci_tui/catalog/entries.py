"""What the catalogue says about one model."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

Name = Annotated[
    str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:+-]*$")
]
RepoId = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}$")
]
FilePath = Annotated[str, Field(min_length=1, max_length=400)]
Sha256 = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
Tier = Annotated[int, Field(ge=0, le=3)]

TIER_NAMES = ("basic", "general", "advanced", "expert")
"""Of the tiers 0 to 3."""


class CatalogEntry(BaseModel):
    """One model that can be installed by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    aliases: tuple[Name, ...] = ()
    repo: RepoId
    """At the hub: owner/name."""
    revision: str = Field(default="main", min_length=1, max_length=100)
    """Branch, tag or commit."""
    files: tuple[FilePath, ...] = Field(min_length=1, max_length=64)
    """One GGUF file, or all shards of a set, the first one first."""
    mmproj: FilePath | None = None
    """Projector that belongs to it, in the same repository."""
    size_bytes: int = Field(gt=0)
    """Of all files together, without the projector."""
    size_is_exact: bool = False
    """False = from a listing that rounds."""
    sha256: Sha256 = ""
    """Of the first file; empty = not known before the hub is asked."""
    parameters_b: float = Field(gt=0)
    """Billions of parameters, all experts included."""
    active_parameters_b: float | None = Field(default=None, gt=0)
    """Billions that one token uses; None = all."""
    n_ctx: int = Field(gt=0)
    """Context that it was trained with, tokens."""
    tier: Tier
    """As declared by the catalogue, not measured."""
    tags: tuple[str, ...] = ()
    """What it is for: chat, code, reasoning, vision, tools, embedding, …"""
    licence: str = Field(min_length=1, max_length=60)
    gated: bool | None = None
    """Whether the hub wants a login and an accepted licence; None = not known."""
    is_runnable: bool = True
    """False = listed, but the pinned llama.cpp does not run it."""
    evidence: str = ""
    """Where repository and file name were found; see docs/catalogue.md."""
    note: str = ""

    @field_validator("files", "mmproj")
    @classmethod
    def _is_plain_path(cls, value: tuple[str, ...] | str | None) -> tuple[str, ...] | str | None:
        for path in value if isinstance(value, tuple) else (value,) if value else ():
            parts = path.split("/")
            if not path.endswith(".gguf") or any(part in ("", ".", "..") for part in parts):
                msg = f"{path!r} is no path of a GGUF file in a repository"
                raise ValueError(msg)
        return value

    @property
    def is_split(self) -> bool:
        """Tell whether the model is a set of shards."""
        return len(self.files) > 1
