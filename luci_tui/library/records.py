"""What the library knows about a model: where it lies, what its header says, what a person set."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

_MODEL: Final = "model"
"""FileKind.MODEL of gguf/describe.py, which takes longer to import than a list may take."""


class ModelKind(StrEnum):
    """How a model came here."""

    INSTALLED = "installed"
    """By `luci install`, with a manifest."""
    CUSTOM = "custom"
    """Put into models/custom_models or a folder of config.toml by a person."""
    PLAIN = "plain"
    """A file right in the models folder."""
    FOREIGN = "foreign"
    """In the store of another program; it is only read."""

    @property
    def is_enabled_by_itself(self) -> bool:
        """Tell whether such a model can be used before a person says anything about it."""
        return self in (ModelKind.INSTALLED, ModelKind.PLAIN)


class ModelState(StrEnum):
    """Whether the files are what they should be."""

    OK = "ok"
    INCOMPLETE = "incomplete"
    """Cut off, a shard is missing, or it is still being written."""
    BROKEN = "broken"
    """No model file, or one that the validator rejects."""
    OTHER = "no model"
    """A GGUF file of another kind: an adapter, a projector, an importance matrix."""


class TierSource(StrEnum):
    """Who says which tier a model is of."""

    USER = "user"
    CATALOGUE = "catalogue"
    COMPUTED = "computed"
    """From the number of parameters, see catalog/tiers.py."""
    DEFAULT = "default"
    """The file says too little."""


@dataclass(frozen=True)
class Stamp:
    """What changes when a file does."""

    size_bytes: int
    """Of all files of a set."""
    mtime_ns: int
    """Of the youngest one."""
    inode: int
    """Of the first one."""


@dataclass(frozen=True)
class FoundModel:
    """A model as folders and manifests have it; its files were not opened."""

    name: str
    """Unique in the library."""
    kind: ModelKind
    files: tuple[Path, ...]
    """All shards in order; the first one is what is loaded."""
    stamp: Stamp
    mmproj: Path | None = None
    """Projector that belongs to it."""
    mmproj_bytes: int = 0
    store: str = "luci"
    """Whose folder it is in: "luci", "Hugging Face", "Ollama", "LM Studio", "~/.luciferai"."""
    repo: str = ""
    """At the hub, owner/name; empty = not known."""
    repo_file: str = ""
    """Path of the first file in it."""
    catalog_name: str = ""
    """Of the catalogue's entry that it is; empty = of none."""
    aliases: tuple[str, ...] = ()
    sha256: str = ""
    """Of the first file, where a manifest or the file's name says it."""
    problem: str = ""
    """One sentence where a glance at the folder shows that it is not complete."""
    is_readable: bool = True
    """False = there is no first file to read."""

    @property
    def path(self) -> Path:
        """The file that is loaded."""
        return self.files[0]


@dataclass(frozen=True)
class HeaderFacts:
    """What the header of a model says, as far as the library shows it."""

    kind: str = ""
    """A FileKind; empty = it could not be read."""
    title: str = ""
    """The name that the file gives itself."""
    architecture: str = ""
    n_params: int = 0
    n_params_active: int = 0
    quantization: str = ""
    bits_per_weight: float = 0.0
    n_ctx_train: int = 0
    license: str = ""
    needed_bytes: int = 0
    """Memory of a load with its defaults, estimated; 0 = no model, or not to be estimated."""
    problem_code: str = ""
    """Why it could not be read; empty = it could."""
    problem: str = ""

    @property
    def is_model(self) -> bool:
        """Tell whether it can answer, as adapters and projectors cannot."""
        return self.kind == _MODEL


@dataclass(frozen=True)
class LibraryModel:
    """One model of the library."""

    found: FoundModel
    header: HeaderFacts
    state: ModelState
    problem: str
    """One sentence where the state is not ok; empty otherwise."""
    is_enabled: bool
    """Whether it can be used by name."""
    tier: int
    """0 to 3, as declared."""
    tier_source: TierSource
    measured_tier: int | None
    """What tier tests found; None = none was run."""
    aliases: tuple[str, ...]
    notes: str

    @property
    def name(self) -> str:
        """The name by which it is asked for."""
        return self.found.name

    @property
    def path(self) -> Path:
        """The file that is loaded."""
        return self.found.path

    @property
    def size_bytes(self) -> int:
        """Of all its files, the projector included."""
        return self.found.stamp.size_bytes + self.found.mmproj_bytes

    @property
    def card(self) -> Path | None:
        """The model card beside the first file, NAME.md; None = there is none."""
        path = self.path.with_suffix(".md")
        return path if self.found.is_readable and path.is_file() else None

    def to_json(self) -> dict[str, object]:
        """Give everything as plain data."""
        found, header = self.found, self.header
        return {
            "name": found.name,
            "aliases": list(self.aliases),
            "kind": found.kind.value,
            "store": found.store,
            "enabled": self.is_enabled,
            "state": self.state.value,
            "problem": self.problem,
            "path": str(found.path),
            "files": [str(path) for path in found.files],
            "mmproj": None if found.mmproj is None else str(found.mmproj),
            "card": None if self.card is None else str(self.card),
            "size_bytes": self.size_bytes,
            "architecture": header.architecture,
            "title": header.title,
            "file_kind": header.kind,
            "n_params": header.n_params,
            "n_params_active": header.n_params_active,
            "quantization": header.quantization,
            "bits_per_weight": round(header.bits_per_weight, 4),
            "n_ctx_train": header.n_ctx_train,
            "license": header.license,
            "needed_bytes": header.needed_bytes,
            "tier": self.tier,
            "tier_source": self.tier_source.value,
            "measured_tier": self.measured_tier,
            "catalog_name": found.catalog_name,
            "repo": found.repo,
            "notes": self.notes,
        }
