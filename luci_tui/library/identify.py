"""Read what the header of a found model says, and judge what state its files are in."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from luci_tui.errors import GgufError
from luci_tui.library.header_cache import FactKind, HeaderCache
from luci_tui.library.records import FoundModel, HeaderFacts, ModelKind, ModelState

if TYPE_CHECKING:
    from luci_tui.gguf.header import GgufHeader

SETTLED_S: Final = 10.0
"""A file that changed this short ago and cannot be read may still be on its way."""
_CUT_OFF: Final = frozenset({"truncated", "missing_shard", "empty_file", "missing_file"})
_MAX_TEXT: Final = 200


def header_facts(found: FoundModel, cache: HeaderCache) -> HeaderFacts:
    """Give what the header says, from the cache or from the file: may block."""
    if not found.is_readable:
        return HeaderFacts()
    known = cache.header(found.path, found.stamp)
    if known is None:
        known = read_facts(found.path)
        cache.put_header(found.path, found.stamp, known)
    return known


def read_facts(path: Path) -> HeaderFacts:
    """Read the header of a file; why it cannot be read is one of the facts."""
    # Only who meets a file for the first time needs the parser.
    from luci_tui.gguf.describe import FileKind, active_params, file_kind, file_type_name
    from luci_tui.gguf.header import read_header

    try:
        header = read_header(path)
    except GgufError as error:
        return HeaderFacts(problem_code=error.code, problem=error.message)
    except OSError as error:
        message = f"{path} cannot be read ({error.strerror}). Check its permissions."
        return HeaderFacts(problem_code="unreadable_file", problem=message)
    n_params = sum(tensor.n_values for tensor in header.tensors)
    kind = file_kind(header)
    return HeaderFacts(
        kind=kind.value,
        title=(header.text("general.name") or header.text("general.basename"))[:_MAX_TEXT],
        architecture=header.architecture[:_MAX_TEXT],
        n_params=n_params,
        n_params_active=active_params(header, n_params),
        quantization=file_type_name(header),
        bits_per_weight=8 * header.weights_bytes / n_params if n_params else 0.0,
        n_ctx_train=header.n_ctx_train,
        license=(header.text("general.license") or header.text("general.license.name"))[:_MAX_TEXT],
        needed_bytes=_needed_bytes(header) if kind is FileKind.MODEL else 0,
    )


def _needed_bytes(header: GgufHeader) -> int:
    from luci_tui.gguf.estimate import ContextShape, estimate

    try:
        return estimate(header, ContextShape()).needed_bytes
    except (ArithmeticError, LookupError, ValueError):
        return 0  # numbers that no model has; the validator says which


def judge(
    found: FoundModel, facts: HeaderFacts, cache: HeaderCache, now_s: float | None = None
) -> tuple[ModelState, str]:
    """Say in which state a model's files are, and in one sentence why."""
    if found.problem:
        is_ours = found.kind is ModelKind.INSTALLED
        return ModelState.BROKEN if is_ours else ModelState.INCOMPLETE, found.problem
    if facts.problem:
        age_s = (time.time() if now_s is None else now_s) - found.stamp.mtime_ns / 1e9
        if facts.problem_code in _CUT_OFF or age_s < SETTLED_S:
            return ModelState.INCOMPLETE, facts.problem
        return ModelState.BROKEN, facts.problem
    if not facts.is_model:
        return ModelState.OTHER, f"{found.path.name} is a file of the kind {facts.kind}, no model."
    verdict = cache.get(FactKind.VERDICT, found.path, found.stamp)
    if verdict is not None and verdict.get("problem"):
        return ModelState.BROKEN, str(verdict["problem"])
    return ModelState.OK, ""
