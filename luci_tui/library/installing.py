"""From files that have arrived to a model in use, and back to none.

Nothing that has not been validated is in use. An old version stays whole and in use until the new
manifest is written; what a kill leaves behind is found by `find_garbage`.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

from luci_tui.download import part
from luci_tui.download.plan import Plan, PlannedFile, Role
from luci_tui.download.records import FetchedFile
from luci_tui.download.threads import in_thread
from luci_tui.errors import DownloadError, EngineError, GgufError, LuciError
from luci_tui.gguf.findings import FileReport
from luci_tui.library.belonging import require_belonging
from luci_tui.library.garbage import remove_folder, remove_versions
from luci_tui.library.manifest import (
    InstalledFile,
    Manifest,
    model_folder,
    read_manifest,
    version_folder,
    write_manifest,
)

Validate = Callable[[tuple[Path, ...]], Awaitable[tuple[FileReport, ...]]]
"""Checks files in a process of its own."""
OnInstalled = Callable[[str, bool], None]
"""(name, whether it may be used): called for a model that was not there before. Blocks."""

logger = logging.getLogger(__name__)


def validator(log_path: Path) -> Validate:
    """Return the validator that runs as a job process.

    Args:
        log_path: Where the job process writes its log.
    """

    async def validate(paths: tuple[Path, ...]) -> tuple[FileReport, ...]:
        from luci_tui.engine.job_frames import ValidateResult, ValidateSpec
        from luci_tui.engine.job_process import run_job

        spec = ValidateSpec(paths=tuple(str(path) for path in paths))
        async with aclosing(run_job(spec, log_path)) as events:
            async for event in events:
                if isinstance(event, ValidateResult):
                    return event.reports
        msg = "The validator ended without a report. Try again."
        raise EngineError(msg)

    return validate


class Installer:
    """Installs models into one models folder; see `download.queue.Installing`.

    Args:
        models_folder: Where models lie.
        validate: Checks files.
        is_in_use: Whether a model of this name is in memory.
        on_installed: Told of each model that was not there before.
    """

    def __init__(
        self,
        models_folder: Path,
        validate: Validate,
        is_in_use: Callable[[str], bool],
        on_installed: OnInstalled,
    ) -> None:
        self._models_folder = models_folder
        self._validate = validate
        self._is_in_use = is_in_use
        self._on_installed = on_installed

    def folder(self, plan: Plan) -> Path:
        """Return where the files of a plan lie."""
        return version_folder(self._models_folder, plan)

    async def install(
        self, plan: Plan, files: tuple[FetchedFile, ...], *, is_enabled: bool
    ) -> None:
        """Check the files and make them the model in use, whole or not at all.

        When it is cancelled it either has done nothing, or returns because it was done.

        Raises:
            DownloadError: the files are no model, or the disk fails; an old version stays in use.
            EngineError: the validator could not be run.
        """
        await self._check(plan)
        keeps_old = self._is_in_use(plan.name)
        is_done = asyncio.Event()
        try:
            await in_thread(self._commit, plan, files, is_enabled, keeps_old, is_done)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or not is_done.is_set():
                raise
            task.uncancel()

    def discard(self, plan: Plan) -> None:
        """Remove what is there of a plan, unless it is the version in use. Blocks."""
        folder = model_folder(self._models_folder, plan.name)
        try:
            manifest = read_manifest(folder)
        except GgufError:
            logger.warning("%s has a manifest that cannot be read; its files stay", folder)
            return
        if manifest is not None and manifest.version == plan.version:
            for file in plan.files:
                part.discard(self.folder(plan) / file.name)
            return
        remove_folder(self.folder(plan))
        _remove_if_empty(folder)

    async def _check(self, plan: Plan) -> None:
        folder = self.folder(plan)
        # The validator looks at the other shards of a set by itself.
        heads = [file for file in plan.files if file.role is Role.MODEL][:1]
        heads += [file for file in plan.files if file.role is Role.MMPROJ]
        reports = await self._validate(tuple(folder / file.name for file in heads))
        for file, report in zip(heads, reports, strict=True):
            finding = report.first_error
            if finding is not None:
                await in_thread(self._set_aside, plan, file)
                raise DownloadError(
                    f"{plan.name} is not installed: {file.name}: {finding.message} "
                    f"(Rule {finding.code}.) Choose another file, or try again.",
                    code="rejected",
                )
        await in_thread(require_belonging, plan, folder)

    def _set_aside(self, plan: Plan, file: PlannedFile) -> None:
        """Let the next try fetch a rejected file again if nobody vouches for its content."""
        if file.sha256:
            return
        path = self.folder(plan) / file.name
        if path.exists():
            path.replace(path.with_name(f"{path.name}.corrupt-rejected"))

    def _commit(
        self,
        plan: Plan,
        files: tuple[FetchedFile, ...],
        is_enabled: bool,
        keeps_old: bool,
        is_done: asyncio.Event,
    ) -> None:
        folder = model_folder(self._models_folder, plan.name)
        try:
            is_new = self._write(plan, files)
        except OSError as error:
            raise _disk_error(plan, error) from error
        # Nobody waits for the event, so a thread may set it.
        is_done.set()
        if is_new:
            try:
                self._on_installed(plan.name, is_enabled)
            except LuciError as error:
                logger.warning("%s is installed; %s", plan.name, error.message)
        if keeps_old:
            logger.info("the old version of %s is in use and stays until later", plan.name)
            return
        remove_versions(folder, keep={plan.version})

    def _write(self, plan: Plan, files: tuple[FetchedFile, ...]) -> bool:
        """Write the manifest; True = there was none before."""
        folder = model_folder(self._models_folder, plan.name)
        installed = tuple(
            _installed(file, next(one for one in files if one.name == file.name))
            for file in plan.files
        )
        for one in installed:
            path = self.folder(plan) / one.name
            if not path.is_file() or path.stat().st_size != one.size_bytes:
                raise DownloadError(
                    f"{plan.name} is not installed: {path} has changed since it arrived. "
                    f"Resume the download.",
                    code="changed",
                )
        for above in (self._models_folder, folder.parent):
            part.sync_folder(above)
        try:
            is_new = read_manifest(folder) is None
        except GgufError:
            is_new = False
        write_manifest(self._models_folder, plan, installed)
        return is_new


def installed_already(models_folder: Path, plan: Plan) -> Manifest | None:
    """Return the manifest if exactly this version is installed and its files are there. Blocks."""
    folder = model_folder(models_folder, plan.name)
    try:
        manifest = read_manifest(folder)
    except GgufError:
        return None
    if manifest is None or manifest.version != plan.version:
        return None
    for file in manifest.files:
        path = folder / manifest.version / file.name
        if not path.is_file() or path.stat().st_size != file.size_bytes:
            return None
    return manifest


def _installed(file: PlannedFile, fetched: FetchedFile) -> InstalledFile:
    return InstalledFile(
        name=file.name,
        size_bytes=fetched.size_bytes,
        sha256=fetched.sha256,
        was_promised=bool(file.sha256),
        url=file.url,
        role=file.role,
    )


def _disk_error(plan: Plan, error: OSError) -> DownloadError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        msg = f"The disk is full, so {plan.name} is not installed yet. Make room and resume it."
        return DownloadError(msg, code="disk_full")
    return DownloadError(
        f"{plan.name} cannot be installed ({error.strerror}). Check the models folder and the "
        "disk, then resume it.",
        code="disk",
    )


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            raise
