"""Convert a model, check what came out beside its source, and write its card.

The work is a chain of job processes: llama.cpp's converter, the validator, transformers for what
the source says, and the native core for what the new file says. None of them has a network.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from luci_tui.engine import converter_tree, job_frames, job_process, memory
from luci_tui.engine.part_files import PartFolder, part_folder, sweep
from luci_tui.engine.quantize_checks import check_destinations, free_bytes
from luci_tui.errors import EngineError, GgufError
from luci_tui.gguf.findings import FileReport, Severity
from luci_tui.gguf.header import read_header
from luci_tui.library.conversion_card import card_text
from luci_tui.library.convert_fetch import fetch_source, is_remote
from luci_tui.library.convert_source import SourceKind, read_source, require_room
from luci_tui.library.probe_strings import probe_strings

OutType = Literal["f32", "f16", "bf16", "q8_0"]

_SCRIPTS: Final = {
    SourceKind.MODEL: converter_tree.HF_SCRIPT,
    SourceKind.LORA: converter_tree.LORA_SCRIPT,
    SourceKind.LEGACY: converter_tree.LEGACY_SCRIPT,
}


class ConvertSpec(BaseModel):
    """What is to be converted."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["convert"] = "convert"
    source: str
    """Folder of the weights, of a LoRA adapter, a legacy GGML file, or hf:OWNER/REPO."""
    output: str
    outtype: OutType = "f16"
    lora_base: str = ""
    """Folder of the model that the adapter belongs to; "" = the source is no adapter."""
    force: bool = False
    """Replace an output that is there."""


class ConvertResult(BaseModel):
    """What was converted, and how it compares with its source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["converted"] = "converted"
    source: str
    """The folder or file that was converted."""
    origin: str = ""
    """Where that was fetched from, such as "hf:OWNER/REPO"; "" = it was there."""
    path: str
    card: str
    """Path of the model card beside the file."""
    outtype: OutType
    source_kind: SourceKind
    architecture: str
    """As GGUF names it."""
    size_bytes: int
    n_params: int
    seconds: float
    n_warnings: int
    """Of the structural validation."""
    check: job_frames.ConversionChecked | None = None
    """None = there is nothing to compare: an adapter, or a legacy file."""
    notes: tuple[str, ...] = ()

    @property
    def tokens_differ(self) -> bool:
        """Tell whether the new file reads text differently from its source."""
        return self.check is not None and self.check.n_different > 0


async def convert(
    spec: ConvertSpec, log_path: Path, command: tuple[str, ...] = job_process.COMMAND
) -> AsyncGenerator[job_frames.JobProgress | ConvertResult]:
    """Convert and give progress, then the result; closing the iterator ends it and leaves nothing.

    Args:
        spec: What to do.
        log_path: Where the job processes write their log.
        command: How they are started.

    Raises:
        LuciError: the source is refused, or a step failed; no file is left.
    """
    begin_s = time.monotonic()
    origin = ""
    async with AsyncExitStack() as stack:
        if is_remote(spec.source):
            converter_tree.require_extra()
            # Closed when all is done: until then nobody removes what it has fetched.
            fetched = await stack.enter_async_context(aclosing(fetch_source(spec.source)))
            async for event in fetched:
                if isinstance(event, Path):
                    origin, spec = spec.source, spec.model_copy(update={"source": str(event)})
                    break
                yield event
        work = await asyncio.to_thread(_Conversion, spec, log_path, command)
        with part_folder(work.output) as part:
            async with aclosing(work.steps(part.path)) as events:
                async for event in events:
                    yield event
            result = work.result(part.path, time.monotonic() - begin_s)
            if origin:
                note = f"The weights of {origin} stay in {spec.source}; `luci disk` removes them."
                notes = (*result.notes, note)
                result = result.model_copy(update={"origin": origin, "notes": notes})
            await asyncio.to_thread(work.commit, part, result)
    yield result


class _Conversion:
    """One conversion; making it refuses what cannot work before anything is started."""

    def __init__(self, spec: ConvertSpec, log_path: Path, command: tuple[str, ...]) -> None:
        self.output = Path(spec.output)
        self.card = self.output.with_suffix(".md")
        self._spec = spec
        self._log_path = log_path
        self._command = command
        self._notes: list[str] = []
        self._report: FileReport | None = None
        self._check: job_frames.ConversionChecked | None = None
        self._tree = converter_tree.find_tree()
        if not Path(spec.source).is_file():  # the script for GGML files needs none of it
            converter_tree.require_extra()
        base = Path(spec.lora_base) if spec.lora_base else None
        known = converter_tree.known_architectures(self._tree)
        self._source = read_source(Path(spec.source), base, known)
        if self.output.suffix != ".gguf":
            msg = f"{self.output} does not end in .gguf, so nothing would take it for a model."
            raise EngineError(f"{msg} Add it to the name.", code="output_name")
        self._check_destinations()
        free = free_bytes(self.output.parent)
        require_room(self._source, spec.outtype, free, memory.available_bytes())
        sweep(self.output.parent)

    async def steps(self, folder: Path) -> AsyncGenerator[job_frames.JobProgress]:
        """Do the work in a folder of its own."""
        made = folder / self.output.name
        async for event in self._run(self._converter_job(made)):
            yield event
        if not made.is_file():
            msg = f"The converter wrote no {made.name}; its words are in {self._log_path}."
            raise EngineError(msg, code="convert_failed")
        async for event in self._run(job_frames.ValidateSpec(paths=(str(made),), deep=True)):
            yield event
        if self._source.kind is not SourceKind.MODEL:
            return
        reference = job_frames.SourceReferenceSpec(
            source=self._spec.source,
            strings=probe_strings(),
            output=str(folder),
            max_bytes=memory.available_bytes() // 2,
        )
        async for event in self._run(reference):
            yield event
        check = job_frames.ConversionCheckSpec(model=str(made), reference=str(folder))
        async for event in self._run(check):
            yield event

    def result(self, folder: Path, seconds: float) -> ConvertResult:
        """Describe what was made."""
        header = read_header(folder / self.output.name)
        findings = self._report.findings if self._report else ()
        return ConvertResult(
            source=self._spec.source,
            path=self._spec.output,
            card=str(self.card),
            outtype=self._spec.outtype,
            source_kind=self._source.kind,
            architecture=header.architecture,
            size_bytes=header.size_bytes,
            n_params=sum(tensor.n_values for tensor in header.tensors),
            seconds=seconds,
            n_warnings=sum(finding.severity is Severity.WARNING for finding in findings),
            check=self._check,
            notes=tuple(self._notes),
        )

    def commit(self, part: PartFolder, result: ConvertResult) -> None:
        """Give the file and its card their names."""
        text = card_text(result)
        (part.path / self.card.name).write_text(text, encoding="utf-8")
        # Someone may have made files of these names meanwhile.
        self._check_destinations()
        try:
            part.commit([self.output, self.card])
        except OSError as error:
            msg = f"{self.output} could not be completed ({error.strerror}). Check the disk."
            raise EngineError(msg, code="write_failed") from error

    def _check_destinations(self) -> None:
        outputs = [self.output, self.card]
        check_destinations(outputs, self._source.weight_files, force=self._spec.force)

    async def _run(self, job: job_frames.JobSpec) -> AsyncGenerator[job_frames.JobProgress]:
        """Run a job process, hand on its progress and keep its result."""
        events = job_process.run_job(job, self._log_path, self._command)
        async with aclosing(events) as running:
            async for event in running:
                if isinstance(event, job_frames.JobProgress):
                    yield event
                else:
                    self._keep(event)

    def _keep(self, result: job_frames.JobResult) -> None:
        match result:
            case job_frames.ConverterDone() | job_frames.SourceReferenceMade():
                self._notes += result.notes
            case job_frames.ValidateResult():
                self._report = _require_valid(result.reports[0], self.output.name)
            case job_frames.ConversionChecked():
                self._notes += result.notes
                self._check = result
            case _:
                msg = f"a conversion has no step that ends with {result.kind}"
                raise RuntimeError(msg)

    def _converter_job(self, made: Path) -> job_frames.RunConverterSpec:
        kind, path, outtype = self._source.kind, str(self._source.path), self._spec.outtype
        arguments = (path, "--outfile", str(made), "--outtype", outtype)
        if kind is SourceKind.LORA:
            arguments = (*arguments, "--base", self._spec.lora_base)
        elif kind is SourceKind.LEGACY:
            arguments = ("--input", path, "--output", str(made))
        return job_frames.RunConverterSpec(
            tree=str(self._tree),
            script=_SCRIPTS[kind],
            arguments=arguments,
            source=path if kind is SourceKind.MODEL else "",
        )


def _require_valid(report: FileReport, name: str) -> FileReport:
    error = report.first_error
    if error is not None:
        msg = f"{name} came out damaged and was not kept: {error.message} (Rule {error.code}.)"
        raise GgufError(msg, code=error.code)
    return report
