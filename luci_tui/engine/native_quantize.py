"""Quantize models with the compiled core. The work runs in a job process, see job_child.py."""

from __future__ import annotations

import collections
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from luci_tui.engine import quantize_checks as checks
from luci_tui.engine.job_frames import (
    FallbackTensor,
    ImatrixSpec,
    JobProgress,
    QuantizedFile,
    QuantizeOutput,
    QuantizeResult,
    QuantizeSpec,
)
from luci_tui.engine.native import require_native
from luci_tui.engine.native_validate import check_file
from luci_tui.engine.part_files import part_folder, sweep
from luci_tui.errors import EngineError, GgufError, LuciError
from luci_tui.gguf.header import GgufHeader, read_header
from luci_tui.gguf.imatrix import Imatrix, read_imatrix
from luci_tui.gguf.naming import derived_name

if TYPE_CHECKING:
    from luci_tui import _native

POLL_S: Final = 0.05
COPY: Final = "COPY"

Report = Callable[[JobProgress], None]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TypeInfo:
    """One quant type that files can have."""

    name: str
    bits_per_weight: float
    """About; 0 = as the source."""
    alias_of: str
    """Empty unless it is another name of a type."""
    description: str


def quantize_types() -> list[TypeInfo]:
    """List every quant type that llama.cpp writes, from few bits to many.

    Raises:
        EngineError: the extension is missing.
    """
    require_native()
    from luci_tui import _native as core

    return [
        TypeInfo(one.name, one.bits_per_weight, one.alias_of, one.description)
        for one in core.quantize_types()
    ]


def find_type(name: str) -> str:
    """Give the proper name of a quant type; a second name becomes the first.

    Raises:
        EngineError: there is no such type; the sentence names near ones.
    """
    types = quantize_types()
    for one in types:
        if one.name.lower() == name.lower():
            return one.alias_of or one.name
    raise checks.unknown_type(name, [one.name for one in types], "quant type")


def quantize(spec: QuantizeSpec, report: Report) -> QuantizeResult:
    """Do the job: check everything, then write one output after the other.

    Raises:
        LuciError: something is refused or fails; outputs before it stay, the one in work does not.
    """
    require_native()
    source = check_source(Path(spec.source))
    stamps = checks.stamps(source.shard_paths)
    _check_tensor_types(spec)
    if spec.imatrix_text and not spec.dry_run:
        spec = spec.model_copy(update={"imatrix": _imatrix_of_text(spec, report)})
    outputs = [_Output(one, spec, source) for one in spec.outputs]
    inputs = [*source.shard_paths, *([Path(spec.imatrix)] if spec.imatrix else [])]
    if not spec.dry_run and not spec.keep_finished:
        _check_destinations(outputs, inputs, spec)
    imatrix = read_imatrix(Path(spec.imatrix)) if spec.imatrix else None
    params = _params(spec, source, imatrix)
    for output in outputs:
        output.make_plan(params, imatrix)
    if not spec.dry_run:
        wanted = [output for output in outputs if not output.keep_if_finished(inputs)]
        _check_destinations(wanted, inputs, spec)
        checks.check_disk([pair for output in wanted for pair in output.needed_bytes()])
        for index, output in enumerate(wanted):
            output.write(params, _outputs_report(report, index, len(wanted)), stamps)
    return QuantizeResult(
        source=spec.source,
        source_bytes=source.size_bytes,
        n_params=outputs[0].plan.n_params,
        dry_run=spec.dry_run,
        files=tuple(output.described() for output in outputs),
        imatrix=spec.imatrix,
    )


def _check_destinations(
    outputs: Sequence[_Output], inputs: Sequence[Path], spec: QuantizeSpec
) -> None:
    destinations = [path for output in outputs for path in output.paths]
    checks.check_destinations(destinations, inputs, force=spec.force)
    for folder in {path.parent for path in destinations}:
        sweep(folder)


def _imatrix_of_text(spec: QuantizeSpec, report: Report) -> str:
    """Make an importance matrix beside the first output, or take the one that is there.

    Raises:
        LuciError: the text cannot be used, or another file has the matrix's name.
    """
    from luci_tui.engine.native_imatrix import make_imatrix

    if spec.imatrix:
        msg = "An imatrix and a text for one exclude each other: give one of the two."
        raise EngineError(msg, code="invalid_request")
    name = derived_name(Path(spec.source).name, "imatrix", [one.name for one in quantize_types()])
    path = Path(spec.outputs[0].path).parent / name
    text = Path(spec.imatrix_text)
    if spec.keep_finished and checks.is_newer(path, [Path(spec.source), text]):
        return str(path)
    wanted = ImatrixSpec(
        model=spec.source,
        text=str(text),
        output=str(path),
        n_threads=spec.n_threads,
        force=spec.force,
    )
    return make_imatrix(wanted, report).path


def check_source(path: Path) -> GgufHeader:
    """Refuse a source that is no whole model, or that llama.cpp must not read.

    Raises:
        LuciError: the reason.
    """
    header = read_header(path)
    _require_valid(path, f"{path} is not read")
    return header


def _check_output(path: Path) -> None:
    """Refuse a finished file that breaks a rule.

    Raises:
        LuciError: the reason.
    """
    read_header(path)
    _require_valid(path, f"{path.name} came out damaged and was not kept")


def _require_valid(path: Path, what: str) -> None:
    error = check_file(str(path)).first_error
    if error is not None:
        msg = f"{what}: {error.message} (Rule {error.code}; `luci validate` tells more.)"
        raise GgufError(msg, code=error.code)


def _check_tensor_types(spec: QuantizeSpec) -> None:
    from luci_tui import _native as core

    known = core.quantize_tensor_types()
    wanted = [spec.output_type, spec.embedding_type, *(one for _, one in spec.tensor_types)]
    for name in wanted:
        if name and name.lower() not in {one.lower() for one in known}:
            raise checks.unknown_type(name, known, "type of a tensor")


def _params(
    spec: QuantizeSpec, source: GgufHeader, imatrix: Imatrix | None
) -> _native.QuantizeParams:
    from luci_tui import _native as core

    params = core.QuantizeParams()
    params.sources = [str(path) for path in source.shard_paths]
    params.tensor_types = list(spec.tensor_types)
    params.output_type = spec.output_type
    params.embedding_type = spec.embedding_type
    params.pure = spec.pure
    params.leave_output = spec.leave_output
    params.allow_requantize = spec.allow_requantize
    params.keep_split = spec.keep_split
    params.n_threads = spec.n_threads
    if imatrix is not None:
        params.imatrix_path = spec.imatrix
        params.imatrix_dataset = imatrix.datasets[0] if imatrix.datasets else ""
        params.imatrix_chunks = imatrix.n_chunks
        for name, values in imatrix.entries.items():
            params.add_imatrix_entry(name, values)
    return params


def _outputs_report(report: Report, index: int, n_outputs: int) -> Report:
    """Make one count of the tensors of all outputs."""

    def add(progress: JobProgress) -> None:
        report(
            progress.model_copy(
                update={
                    "n_done": index * progress.n_total + progress.n_done,
                    "n_total": n_outputs * progress.n_total,
                    "bytes_done": index * progress.bytes_total + progress.bytes_done,
                    "bytes_total": n_outputs * progress.bytes_total,
                }
            )
        )

    return add


class _Output:
    """One file, or set of shards, from its plan to its final name."""

    plan: _native.QuantizePlan

    def __init__(self, wanted: QuantizeOutput, spec: QuantizeSpec, source: GgufHeader) -> None:
        self.type = find_type(wanted.type)
        self._spec = spec
        self._source = source
        self._seconds = 0.0
        self._was_kept = False
        path = Path(wanted.path)
        self._prefix = path.name.removesuffix(".gguf")
        n_shards = len(source.shard_paths)
        self.paths = [path]
        if spec.keep_split:
            # Source: llama_split_path in src/llama.cpp.
            self.paths = [
                path.with_name(f"{self._prefix}-{number:05}-of-{n_shards:05}.gguf")
                for number in range(1, n_shards + 1)
            ]

    def make_plan(self, params: _native.QuantizeParams, imatrix: Imatrix | None) -> None:
        """Find out what would be written, and refuse what cannot be.

        Raises:
            EngineError: the reason.
        """
        from luci_tui import _native as core

        params.type = self.type
        with _translated():
            self.plan = core.plan_quantize(params)
        if imatrix is not None:
            checks.check_imatrix_fits(self._source.path, self.plan.tensors, imatrix)
        if not self._spec.allow_requantize:
            checks.check_requantize(self._source.path, self.plan.tensors)
        if not self._spec.dry_run or imatrix is not None:
            checks.check_imatrix_needed(self.type, self.plan.tensors, imatrix)

    def keep_if_finished(self, inputs: Sequence[Path]) -> bool:
        """Tell whether the file is there already as the plan would make it; if so, leave it.

        Args:
            inputs: The source's files and the imatrix; a file that is older is made again.
        """
        if not self._spec.keep_finished:
            return False
        sizes = [path.stat().st_size if path.is_file() else -1 for path in self.paths]
        if sizes != list(self.plan.file_bytes):
            return False
        if not all(checks.is_newer(path, inputs) for path in self.paths):
            return False
        try:
            found = read_header(self.paths[0])
            _require_valid(self.paths[0], "")
        except GgufError:
            return False
        planned = {one.name: one.target_type.lower() for one in self.plan.tensors}
        self._was_kept = planned == {one.name: one.type_name.lower() for one in found.tensors}
        return self._was_kept

    def needed_bytes(self) -> list[tuple[Path, int]]:
        """Give each file with its size."""
        return list(zip(self.paths, self.plan.file_bytes, strict=True))

    def write(
        self, params: _native.QuantizeParams, report: Report, stamps: tuple[checks.Stamp, ...]
    ) -> None:
        """Write the files under other names, check them, and give them their final names.

        Raises:
            LuciError: that failed; nothing of it is left.
        """
        with part_folder(self.paths[0]) as part:
            name = self._prefix if self._spec.keep_split else self.paths[0].name
            params.type = self.type
            params.destination = str(part.path / name)
            start_s = time.monotonic()
            try:
                run_watched(params, report)
            except EngineError as error:
                self._explain_full_disk(part.path, error)
                raise
            self._seconds = time.monotonic() - start_s
            for path, n_bytes in self.needed_bytes():
                _check_size(part.path / path.name, n_bytes)
            _check_output(part.path / self.paths[0].name)
            if checks.stamps(self._source.shard_paths) != stamps:
                raise EngineError(
                    f"{self._source.path} changed while it was read, so nothing was kept of it. "
                    "Wait until the file is complete, then try again.",
                    code="source_changed",
                )
            # Someone may have made a file of that name meanwhile.
            checks.check_destinations(self.paths, self._source.shard_paths, force=self._spec.force)
            self._commit(part.commit)

    def _commit(self, commit: Callable[[list[Path]], None]) -> None:
        try:
            commit(self.paths)
        except OSError as error:
            raise EngineError(
                f"{self.paths[0]} could not be completed ({error.strerror}). "
                "Check the disk, then try again.",
                code="write_failed",
            ) from error

    def _explain_full_disk(self, folder: Path, error: EngineError) -> None:
        """The library only says that writing failed; the disk says why."""
        if "iostream" not in error.message and "basic_" not in error.message:
            return
        n_bytes = sum(self.plan.file_bytes)
        written = sum(path.stat().st_size for path in folder.iterdir())
        free = checks.free_bytes(folder)
        why = "the disk is full" if free < n_bytes - written else "the system refused to write"
        raise EngineError(
            f"{self.paths[0]} could not be written: {why} after {written} of {n_bytes} bytes. "
            "Nothing of it was kept; make room, then try again.",
            code="disk_full",
        ) from error

    def described(self) -> QuantizedFile:
        """Say what was written or would be."""
        tensors = self.plan.tensors
        return QuantizedFile(
            type=self.type,
            path=str(self.paths[0]),
            paths=tuple(str(path) for path in self.paths),
            size_bytes=sum(self.plan.file_bytes),
            bits_per_weight=8 * self.plan.target_bytes / self.plan.n_params,
            seconds=self._seconds,
            n_tensors=len(tensors),
            n_by_type=dict(collections.Counter(one.target_type for one in tensors)),
            fallbacks=_fallbacks(tensors),
            was_kept=self._was_kept,
            needs_imatrix=not self._spec.imatrix and any(one.needs_imatrix for one in tensors),
        )


def _fallbacks(tensors: Sequence[_native.TensorPlan]) -> tuple[FallbackTensor, ...]:
    return tuple(
        FallbackTensor(name=one.name, wanted_type=one.refused_type, type=one.target_type)
        for one in tensors
        if one.refused_type
    )


def _check_size(path: Path, n_bytes: int) -> None:
    size_bytes = path.stat().st_size if path.is_file() else 0
    if size_bytes != n_bytes:
        raise EngineError(
            f"{path.name} has {size_bytes} bytes and was planned with {n_bytes}, so it was not "
            "kept. Check the disk, then try again.",
            code="wrong_size",
        )


def run_watched(params: _native.QuantizeParams, report: Report) -> None:
    """Quantize in a thread and report how far it is.

    Raises:
        EngineError: it failed, with llama.cpp's reason.
    """
    from luci_tui import _native as core

    progress = core.QuantizeProgress()
    failures: list[LuciError] = []

    def work() -> None:
        try:
            with _translated():
                core.quantize(params, progress)
        except LuciError as error:
            failures.append(error)

    thread = threading.Thread(target=work, name="quantize")
    thread.start()
    try:
        while thread.is_alive():
            thread.join(POLL_S)
            report(_progress(progress))
    finally:
        progress.cancel()
        thread.join()
    if failures:
        raise failures[0]


def _progress(progress: _native.QuantizeProgress) -> JobProgress:
    return JobProgress(
        what=progress.tensor,
        n_done=progress.n_done,
        n_total=progress.n_total,
        unit="tensors",
        bytes_done=progress.bytes_done,
        bytes_total=progress.bytes_total,
    )


@contextlib.contextmanager
def _translated() -> Generator[None]:
    """Turn the core's exceptions into ours."""
    from luci_tui import _native as core

    try:
        yield
    except core.NativeError as error:
        raise EngineError(str(error), code="quantize") from error
    except MemoryError as error:
        msg = "Quantizing ran out of memory. Close other programs, or use fewer --threads."
        raise EngineError(msg, code="out_of_memory") from error
