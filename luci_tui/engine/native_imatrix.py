"""Make importance matrices with the compiled core. Runs in a job process, see job_child.py."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from luci_tui.engine import quantize_checks as checks
from luci_tui.engine.job_frames import ImatrixResult, ImatrixSpec, JobProgress
from luci_tui.engine.native import require_native
from luci_tui.engine.native_quantize import check_source
from luci_tui.engine.part_files import part_folder, sweep
from luci_tui.errors import EngineError, LuciError
from luci_tui.gguf.imatrix import read_imatrix

if TYPE_CHECKING:
    from luci_tui import _native

POLL_S: Final = 0.05
MAX_TEXT_BYTES: Final = 256 * 1024 * 1024
"""A calibration text has a few hundred kilobytes; far more would not fit into memory as tokens."""

Report = Callable[[JobProgress], None]


def make_imatrix(spec: ImatrixSpec, report: Report) -> ImatrixResult:
    """Run a text through a model and write what it drives.

    Raises:
        LuciError: something is refused or fails; no file is left.
    """
    require_native()
    from luci_tui import _native as core

    model = check_source(Path(spec.model))
    text_path, output = Path(spec.text), Path(spec.output)
    text = read_text(text_path)
    checks.check_destinations([output], [*model.shard_paths, text_path], force=spec.force)
    sweep(output.parent)
    params = core.ImatrixParams()
    params.model_path = str(model.path)
    params.text = text
    params.dataset = spec.text
    params.n_ctx = spec.n_ctx
    params.n_chunks = spec.n_chunks
    params.n_threads = spec.n_threads
    start_s = time.monotonic()
    with part_folder(output) as part:
        params.out_path = str(part.path / output.name)
        summary = _run_watched(params, report)
        read_imatrix(part.path / output.name)
        size_bytes = (part.path / output.name).stat().st_size
        checks.check_destinations([output], [*model.shard_paths, text_path], force=spec.force)
        try:
            part.commit([output])
        except OSError as error:
            msg = f"{output} could not be completed ({error.strerror}). Check the disk."
            raise EngineError(msg, code="write_failed") from error
    return ImatrixResult(
        path=spec.output,
        size_bytes=size_bytes,
        n_chunks=summary.n_chunks,
        n_ctx=spec.n_ctx,
        n_entries=summary.n_entries,
        n_partial_entries=summary.n_partial_entries,
        seconds=time.monotonic() - start_s,
    )


def read_text(path: Path) -> bytes:
    """Read a text to run through a model.

    Raises:
        EngineError: it is not there, cannot be read or is far too long.
    """
    if not path.is_file():
        msg = f"There is no text {path}. Name a file with a few hundred kilobytes of text."
        raise EngineError(msg, code="missing_file")
    try:
        with path.open("rb") as file:
            text = file.read(MAX_TEXT_BYTES + 1)
    except OSError as error:
        msg = f"The text {path} cannot be read ({error.strerror}). Check its permissions."
        raise EngineError(msg, code="unreadable") from error
    if len(text) > MAX_TEXT_BYTES:
        msg = f"The text {path} has more than {MAX_TEXT_BYTES} bytes. Give a part of it."
        raise EngineError(msg, code="text_too_long")
    return text


def _run_watched(params: _native.ImatrixParams, report: Report) -> _native.ImatrixSummary:
    from luci_tui import _native as core

    progress = core.ImatrixProgress()
    summaries: list[_native.ImatrixSummary] = []
    failures: list[LuciError] = []

    def work() -> None:
        try:
            summaries.append(core.make_imatrix(params, progress))
        except core.RequestError as error:
            failures.append(EngineError(str(error).partition(": ")[2], code="imatrix"))
        except core.NativeError as error:
            failures.append(EngineError(str(error), code="imatrix"))
        except MemoryError:
            msg = "The imatrix ran out of memory. Use a smaller --n-ctx or a smaller model."
            failures.append(EngineError(msg, code="out_of_memory"))

    thread = threading.Thread(target=work, name="imatrix")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL_S)
            report(
                JobProgress(
                    what="chunk", n_done=progress.n_done, n_total=progress.n_total, unit="chunks"
                )
            )
    finally:
        progress.cancel()
        thread.join()
    if failures:
        raise failures[0]
    return summaries[0]
