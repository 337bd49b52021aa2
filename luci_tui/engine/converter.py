"""Run one of llama.cpp's converters in this process, a job process that ends afterwards."""

from __future__ import annotations

import contextlib
import importlib
import logging
import runpy
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

from luci_tui.engine import pre_tokenizers
from luci_tui.engine.converter_tree import HF_SCRIPT, LEGACY_SCRIPT
from luci_tui.engine.job_frames import ConverterDone, JobProgress, RunConverterSpec
from luci_tui.engine.sealed import FOREIGN_CODE, keep_foreign_code_out, seal_process
from luci_tui.errors import EngineError, LuciError

MAX_REASON: Final = 600
"""Characters of the converter's own words in an error."""

Report = Callable[[JobProgress], None]


def run_converter(spec: RunConverterSpec, report: Report) -> ConverterDone:
    """Run the script as the command line would, and watch its progress.

    Raises:
        EngineError: it failed, with its own words; code "convert_failed" or "foreign_code".
    """
    seal_process()
    tree = Path(spec.tree)
    # Before the tree's own gguf could be found in another version among the installed packages.
    sys.path[:0] = [str(tree / "gguf-py"), str(tree)]
    report(JobProgress(what="converter", n_done=0, n_total=0))
    watcher = _Watcher(report)
    notes: list[str] = []
    with watcher.listening(), _own_words(watcher):
        _watch_writing(watcher)
        if spec.script == LEGACY_SCRIPT:
            _mend_legacy_shapes()
        else:
            keep_foreign_code_out()
        if spec.script == HF_SCRIPT:
            pre_tokenizers.name_unknown(Path(spec.source), notes)
        sys.argv = [spec.script, *spec.arguments]
        runpy.run_path(str(tree / spec.script), run_name="__main__")
    return ConverterDone(notes=tuple(notes))


class _Watcher(logging.Handler):
    """Turns the converter's log and its bar into progress, and remembers what it complained of."""

    def __init__(self, report: Report) -> None:
        super().__init__(logging.INFO)
        self._report = report
        self._n_tensors = 0
        self.complaints: list[str] = []

    @contextlib.contextmanager
    def listening(self) -> Generator[None]:
        root = logging.getLogger()
        root.addHandler(self)
        try:
            yield
        finally:
            root.removeHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if record.levelno >= logging.ERROR and message.strip(" *"):
            self.complaints.append(message.strip())
        name, arrow, _ = message.partition(" --> ")
        if arrow:
            self._n_tensors += 1
            what = f"planning {name.split(',')[0].strip()}"
            self._report(JobProgress(what=what, n_done=self._n_tensors, n_total=0, unit="tensors"))

    def wrote(self, n_done: int, n_total: int) -> None:
        """Note how much of the file is written."""
        self._report(JobProgress(what="writing", n_done=n_done, n_total=n_total))


def _watch_writing(watcher: _Watcher) -> None:
    """Put ourselves in the place of the bar that the converter draws while it writes."""

    class Bar:
        def __init__(self, total: int | None = None, **options: object) -> None:
            del options
            self._n_done, self._n_total = 0, total or 0

        def update(self, n: int = 1) -> None:
            self._n_done += n
            if self._n_total:
                watcher.wrote(self._n_done, self._n_total)

        def reset(self, total: int | None = None) -> None:
            self._n_done, self._n_total = 0, total or 0

        def set_description(self, text: str) -> None:
            del text

    tqdm: Any = importlib.import_module("tqdm")
    tqdm.tqdm = Bar


def _mend_legacy_shapes() -> None:
    """Let the writer understand the script for GGML files.

    The script gives raw bytes with their shape in values, and the tree's writer has come to want
    the shape in bytes: without this every tensor would get a wrong shape.
    """
    gguf: Any = importlib.import_module("gguf")
    add_tensor = gguf.GGUFWriter.add_tensor

    def add(
        writer: object, name: str, data: object, raw_shape: list[int], raw_dtype: object
    ) -> None:
        n_values, n_bytes = gguf.GGML_QUANT_SIZES[raw_dtype]
        in_bytes = [*raw_shape[:-1], raw_shape[-1] // n_values * n_bytes]
        add_tensor(writer, name, data, raw_shape=in_bytes, raw_dtype=raw_dtype)

    gguf.GGUFWriter.add_tensor = add


@contextlib.contextmanager
def _own_words(watcher: _Watcher) -> Generator[None]:
    """Turn however the script ends into one sentence."""
    try:
        yield
    except LuciError:
        raise
    except SystemExit as leaving:
        if leaving.code not in (None, 0):
            raise _failed("; ".join(watcher.complaints[-2:]) or f"exit {leaving.code}") from leaving
    except MemoryError as error:
        msg = "The converter ran out of memory. Close other programs, then try again."
        raise EngineError(msg, code="out_of_memory") from error
    except Exception as error:
        # Whatever a foreign script raises is the failure of this one job.
        logging.getLogger(__name__).exception("the converter failed")
        raise _failure_of(error) from error


def _failure_of(error: Exception) -> EngineError:
    text = f"{error}"
    if "trust_remote_code" in text:
        return EngineError(FOREIGN_CODE, code="foreign_code")
    if "weights_only" in text or "WeightsUnpickler" in text:
        return EngineError(
            "A .bin file of the model is a pickle that holds more than weights, and was not "
            "loaded: it could run any code. Get the model's safetensors instead.",
            code="unsafe_pickle",
        )
    return _failed(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def _failed(reason: str) -> EngineError:
    words = " ".join(reason.split())[:MAX_REASON].rstrip(".")
    return EngineError(
        f"llama.cpp's converter stopped: {words}. Check the model's files; logs/jobs.log has more.",
        code="convert_failed",
    )
