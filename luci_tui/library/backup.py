"""Copy luci's own models to another folder: whole files with their sums, resumable, checked.

The copy has the form of the home folder (`models/…`, `library.toml`, `models.toml`,
`catalog.toml`), so that copying it back is the restore. `SHA256SUMS` lists every file in the form
that `sha256sum -c` reads.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from luci_tui.errors import ConfigError, GgufError
from luci_tui.library.places import Places
from luci_tui.library.records import LibraryModel, ModelKind, ModelState
from luci_tui.units import format_bytes
from luci_tui.whole_file import sync_folder, write_whole

SUMS_NAME: Final = "SHA256SUMS"
CHUNK_BYTES: Final = 4 * 1024 * 1024
SPARE_BYTES: Final = 64 * 1024 * 1024
"""Room that stays free on the disk of the copy."""
_SETTINGS: Final = ("library.toml", "models.toml", "catalog.toml")

OnBytes = Callable[[str, int, int], None]
"""(file, bytes done of all, bytes of all)."""


@dataclass(frozen=True)
class BackupFile:
    """One file to copy."""

    source: Path
    relative: Path
    """Below the copy's folder, as below the home folder."""
    size_bytes: int
    mtime_ns: int
    sha256: str = ""
    """What it has to be, where a manifest says so."""


@dataclass(frozen=True)
class BackupPlan:
    """What will be copied."""

    destination: Path
    files: tuple[BackupFile, ...]
    """Manifests after the files that they name."""
    n_models: int
    present: frozenset[Path]
    """Relative paths of those that are there already and are as they should be."""

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(one.size_bytes for one in self.files)

    @property
    def to_copy_bytes(self) -> int:
        """Of those that are not there yet."""
        return sum(one.size_bytes for one in self.files if one.relative not in self.present)


@dataclass
class BackupReport:
    """What was done."""

    n_copied: int = 0
    n_present: int = 0
    copied_bytes: int = 0
    problems: list[str] = field(default_factory=list[str])


def plan_backup(
    home: Path, places: Places, models: Iterable[LibraryModel], destination: Path
) -> BackupPlan:
    """Say what a copy would hold: installed, plain and custom models, and a person's settings.

    Raises:
        ConfigError: the destination cannot be used.
    """
    _check_destination(home, places, destination)
    files: dict[Path, BackupFile] = {}
    n_models = 0
    for model in models:
        if model.found.kind is ModelKind.FOREIGN or not model.found.is_readable:
            continue
        if model.state is ModelState.INCOMPLETE:
            continue
        n_models += 1
        for one in _files_of(model, home, places):
            files.setdefault(one.relative, one)
    for name in _SETTINGS:
        if (home / name).is_file():
            files[Path(name)] = _file(home / name, Path(name))
    sums = _read_sums(destination)
    present = {one.relative for one in files.values() if _is_present(destination, one, sums)}
    return BackupPlan(destination, tuple(files.values()), n_models, frozenset(present))


def run_backup(plan: BackupPlan, on_bytes: OnBytes) -> BackupReport:
    """Copy what is not there yet; a file that is damaged here or there is told and left out.

    Breaking it off loses nothing: the next call goes on in the middle of the file.

    Raises:
        ConfigError: the destination cannot be written, or its disk is full.
    """
    report = BackupReport(n_present=len(plan.present))
    try:
        plan.destination.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(plan.destination).free
        if plan.to_copy_bytes + SPARE_BYTES > free + _part_bytes(plan):
            raise ConfigError(
                f"{plan.destination} has {format_bytes(free)} free and needs "
                f"{format_bytes(plan.to_copy_bytes)}. Make room, or choose another folder."
            )
        sums = _read_sums(plan.destination)
        done = 0
        for one in plan.files:
            if one.relative in plan.present:
                continue
            _copy_one(plan, one, sums, report, on_bytes, done)
            done += one.size_bytes
    except OSError as error:
        raise ConfigError(
            f"{plan.destination} cannot be written ({error.strerror}). Check the disk, then call "
            "it again: it goes on where it stopped."
        ) from error
    return report


def verify_backup(destination: Path, on_bytes: OnBytes) -> BackupReport:
    """Read every file of a copy again and compare it with its sum.

    Raises:
        ConfigError: there is no copy, or it cannot be read.
    """
    sums = _read_sums(destination)
    if not sums:
        msg = f"{destination} has no {SUMS_NAME}, so it is no backup. Name the right folder."
        raise ConfigError(msg)
    report = BackupReport()
    sizes = {name: _size(destination / name) for name in sums}
    total, done = sum(sizes.values()), 0
    for name, wanted in sums.items():
        path = destination / name
        digest = hashlib.sha256()
        try:
            with path.open("rb") as file:
                while piece := file.read(CHUNK_BYTES):
                    digest.update(piece)
                    done += len(piece)
                    on_bytes(name, done, total)
        except OSError as error:
            report.problems.append(f"{path} cannot be read ({error.strerror}). Copy it again.")
            continue
        if digest.hexdigest() == wanted:
            report.n_present += 1
        else:
            report.problems.append(f"{path} is damaged. Remove it and make the backup again.")
    return report


def _check_destination(home: Path, places: Places, destination: Path) -> None:
    whole = destination.resolve()
    if destination.exists() and not destination.is_dir():
        msg = f"{destination} is a file. Name a folder for the backup."
        raise ConfigError(msg)
    for folder in (places.models, *places.custom):
        if whole == folder.resolve() or folder.resolve() in whole.parents:
            msg = f"{destination} is inside of {folder}, which is what is copied. Choose another."
            raise ConfigError(msg)
    if whole == home.resolve():
        msg = f"{destination} is luci's home folder itself. Choose another one."
        raise ConfigError(msg)


def _files_of(model: LibraryModel, home: Path, places: Places) -> Iterator[BackupFile]:
    if model.found.kind is ModelKind.INSTALLED:
        yield from _installed_files(model, places)
        return
    paths = [*model.found.files, *([model.found.mmproj] if model.found.mmproj else [])]
    for path in [*paths, *([model.card] if model.card else [])]:
        yield _file(path, _relative(path, home, places))


def _installed_files(model: LibraryModel, places: Places) -> Iterator[BackupFile]:
    from luci_tui.library.manifest import MANIFEST_NAME, model_folder, read_manifest

    folder = model_folder(places.models, model.name)
    try:
        manifest = read_manifest(folder)
    except GgufError:
        return
    if manifest is None:
        return
    top = Path("models") / "installed" / model.name
    for one in manifest.files:
        path = folder / manifest.version / one.name
        if path.is_file():
            relative = top / manifest.version / one.name
            yield _file(path, relative, sha256=one.sha256)
    if model.card is not None:
        yield _file(model.card, top / manifest.version / model.card.name)
    yield _file(folder / MANIFEST_NAME, top / MANIFEST_NAME)


def _relative(path: Path, home: Path, places: Places) -> Path:
    """Say where a file goes: where it lies in the home folder, or among the custom models."""
    if home in path.parents:
        return path.relative_to(home)
    for folder in places.custom:
        if folder in path.parents:
            inside = path.relative_to(folder)
            return Path("models") / "custom_models" / folder.name / inside
    return Path("models") / "custom_models" / path.name


def _file(source: Path, relative: Path, *, sha256: str = "") -> BackupFile:
    facts = source.stat()
    return BackupFile(source, relative, facts.st_size, facts.st_mtime_ns, sha256)


def _is_present(destination: Path, one: BackupFile, sums: dict[str, str]) -> bool:
    """Tell whether the copy has a file as it is here, as far as size, time and sum say."""
    known = sums.get(one.relative.as_posix())
    if known is None or (one.sha256 and known != one.sha256):
        return False
    try:
        facts = (destination / one.relative).stat()
    except OSError:
        return False
    return (facts.st_size, facts.st_mtime_ns) == (one.size_bytes, one.mtime_ns)


def _copy_one(
    plan: BackupPlan,
    one: BackupFile,
    sums: dict[str, str],
    report: BackupReport,
    on_bytes: OnBytes,
    done_before: int,
) -> None:
    target = plan.destination / one.relative
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")

    def told(n_bytes: int) -> None:
        on_bytes(one.relative.name, done_before + n_bytes, plan.to_copy_bytes)

    try:
        source = one.source.open("rb")
    except OSError as error:
        problem = f"{one.source} cannot be read ({error.strerror}) and is left out."
        report.problems.append(problem)
        return
    with source, part.open("ab+") as copy:
        found = _copy_bytes(source, copy, told)
        copy.flush()
        os.fsync(copy.fileno())
        facts = os.fstat(source.fileno())
    problem = _complaint(one, found, (facts.st_size, facts.st_mtime_ns))
    if problem:
        part.unlink()
        report.problems.append(problem)
        return
    os.utime(part, ns=(one.mtime_ns, one.mtime_ns))
    part.replace(target)
    sync_folder(target.parent)
    sums[one.relative.as_posix()] = found
    lines = "".join(f"{value}  {name}\n" for name, value in sorted(sums.items()))
    write_whole(plan.destination / SUMS_NAME, lines)
    report.n_copied += 1
    report.copied_bytes += one.size_bytes


def _complaint(one: BackupFile, found: str, facts: tuple[int, int]) -> str:
    if facts != (one.size_bytes, one.mtime_ns):
        return f"{one.source} changed while it was copied, and is left out. Call it again."
    if one.sha256 and found != one.sha256:
        return f"{one.source} is damaged, and is left out: its sum is not that of its manifest."
    return ""


def _copy_bytes(source: BinaryIO, copy: BinaryIO, told: Callable[[int], None]) -> str:
    """Write what is missing behind what is there already, and return the sum of all."""
    digest = hashlib.sha256()
    copy.seek(0)
    n_done = 0
    while piece := source.read(CHUNK_BYTES):
        there = copy.read(len(piece))
        if there and there != piece[: len(there)]:
            # Of another file: begin anew.
            copy.truncate(n_done)
            there = b""
        copy.seek(0, os.SEEK_END)
        copy.write(piece[len(there) :])
        copy.seek(n_done + len(piece))
        digest.update(piece)
        n_done += len(piece)
        told(n_done)
    copy.truncate(n_done)
    return digest.hexdigest()


def _part_bytes(plan: BackupPlan) -> int:
    """Count what earlier calls have copied of files that are not complete."""
    parts = (plan.destination / one.relative for one in plan.files)
    return sum(_size(path.with_name(path.name + ".part")) for path in parts)


def _read_sums(destination: Path) -> dict[str, str]:
    try:
        lines = (destination / SUMS_NAME).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    sums: dict[str, str] = {}
    for line in lines:
        value, _, name = line.partition("  ")
        path = Path(name)
        if len(value) == 64 and name and not path.is_absolute() and ".." not in path.parts:
            sums[name] = value
    return sums


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
