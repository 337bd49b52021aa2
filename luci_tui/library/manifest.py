"""What `luci install` leaves beside a model's files, and where both lie.

    models/installed/NAME/model.json         the manifest: which version is in use
    models/installed/NAME/VERSION/*.gguf     its files, and `*.part` of what is being fetched

Writing the manifest is the moment at which a version is installed: before it, the old version is
in use whole, and after it the new one.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from luci_tui.download.plan import FileName, ModelName, Plan, Role, Sha256
from luci_tui.errors import GgufError

MANIFEST_NAME = "model.json"
MAX_MANIFEST_BYTES = 1024 * 1024


class InstalledFile(BaseModel):
    """One file of an installed model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: FileName
    size_bytes: int = Field(ge=0)
    sha256: Sha256
    """Of what was written."""
    was_promised: bool
    """True = the catalogue or the hub named this sum before."""
    url: str
    role: Role = Role.MODEL


class Manifest(BaseModel):
    """An installed model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    name: ModelName
    version: str = Field(pattern=r"^[0-9a-f]{12}$")
    """Folder of its files, see `Plan.version`."""
    source: str
    repo: str = ""
    revision: str = ""
    catalog_name: str = ""
    files: tuple[InstalledFile, ...] = Field(min_length=1)
    installed_at: datetime

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(file.size_bytes for file in self.files)


def version_folder(models_folder: Path, plan: Plan) -> Path:
    """Return where the files of a plan are written."""
    return model_folder(models_folder, plan.name) / plan.version


def model_folder(models_folder: Path, name: str) -> Path:
    """Return the folder of one installed model."""
    return models_folder / "installed" / name


def write_manifest(models_folder: Path, plan: Plan, files: tuple[InstalledFile, ...]) -> Manifest:
    """Make the files of a plan the model's version in use, whole or not at all.

    Raises:
        OSError: the disk is full or fails; the old version stays in use.
    """
    manifest = Manifest(
        name=plan.name,
        version=plan.version,
        source=plan.source,
        repo=plan.repo,
        revision=plan.revision,
        catalog_name=plan.catalog_name,
        files=files,
        installed_at=datetime.now(UTC),
    )
    folder = model_folder(models_folder, plan.name)
    new = folder / f"{MANIFEST_NAME}.new"
    with new.open("wb") as file:
        file.write(manifest.model_dump_json(indent=2).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / MANIFEST_NAME)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return manifest


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a model's folder; None = there is none, so nothing is installed there.

    Raises:
        GgufError: it cannot be read, or it is not one.
    """
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            data = file.read(MAX_MANIFEST_BYTES + 1)
        manifest = Manifest.model_validate_json(data)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        msg = f"{path} cannot be read as a model's manifest. Install the model again."
        raise GgufError(msg, code="manifest") from error
    if manifest.name != folder.name:
        msg = f"{path} is the manifest of {manifest.name}. Give the folder its name back."
        raise GgufError(msg, code="manifest")
    return manifest
