"""What is asked and checked before a model is quantized, converted or compared.

No widget is known here; the jobs themselves run in the host.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue, ValidationError

from luci_tui import paths
from luci_tui.errors import CatalogError, ConfigError
from luci_tui.gguf.describe import FILE_TYPES
from luci_tui.gguf.naming import derived_name
from luci_tui.library.records import LibraryModel, ModelKind
from luci_tui.tui.screens.choose import Option
from luci_tui.tui.widgets.text import one_line
from luci_tui.units import format_bytes

if TYPE_CHECKING:
    from luci_tui.library.compare import ComparedModel, FailedModel

OTHER_TYPE = "…"
_WHOLE = ("F32", "F16", "BF16", "")
"""Types of files that are not quantized yet."""
OUT_TYPES = (
    Option("f16", "f16", "16-bit floats, as most models have them"),
    Option("bf16", "bf16", "the other 16-bit floats"),
    Option("f32", "f32", "32-bit floats: twice as large"),
    Option("q8_0", "q8_0", "quantized on the way, half as large"),
)
ASK_SOURCE = "What is converted? A folder with config.json and weights, or hf:OWNER/REPO."
_NAME_WIDTH = 25
_TABLE_WIDTH = 74
"""Of a comparison, which fits a page of 80 columns."""
NO_COMPARISON = "No comparison is kept yet: m compares models."


def type_options(n_params: int) -> list[Option]:
    """List the types that are usual, with the size that a model of so many parameters gets."""
    from luci_tui.catalog.catalog import load_catalog
    from luci_tui.library.quant_sizes import TYPES, sizes_from_catalog

    notes: dict[str, str] = {}
    if n_params:
        try:
            entries = load_catalog(paths.shipped_catalog_file(), paths.own_catalog_file()).entries
        except (ConfigError, CatalogError):
            entries = ()
        sizes = sizes_from_catalog(n_params, entries)
        notes = {one.type: f"about {format_bytes(one.weights_bytes)}" for one in sizes}
    usual = [Option(name, name, notes.get(name, "")) for name in TYPES]
    return [*usual, Option(OTHER_TYPE, "another type …", "`luci quantize --list-types` has all")]


def check_type(text: str) -> None:
    """Refuse a name that no quant type has.

    Raises:
        ConfigError: there is none.
    """
    if text.upper() not in FILE_TYPES.values():
        msg = f"{text[:40]!r} is no quant type. `luci quantize --list-types` lists them."
        raise ConfigError(msg)


def is_quantized(model: LibraryModel) -> bool:
    """Tell whether something was lost already."""
    return model.header.quantization not in _WHOLE


def outputs_of(model: LibraryModel, types: Sequence[str]) -> list[tuple[str, Path]]:
    """Name the file of each type: beside a person's own file, else in models/custom_models."""
    is_own = model.found.kind in (ModelKind.CUSTOM, ModelKind.PLAIN)
    folder = model.path.parent if is_own else paths.custom_models_folder()
    known = tuple(FILE_TYPES.values())
    # Names of other programs' files say nothing, or hold a sum.
    source = model.path.name if model.path.suffix == ".gguf" else f"{_file_name(model.name)}.gguf"
    return [(one, folder / derived_name(source, one, known)) for one in types]


def prepare(files: Sequence[Path]) -> list[Path]:
    """Make the folders of files that are going to be written, and return those that are there.

    Raises:
        ConfigError: a folder cannot be made.
    """
    for path in files:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            msg = f"{path.parent} cannot be made ({error.strerror}). Check its permissions."
            raise ConfigError(msg) from error
    return [path for path in files if path.exists()]


def quantize_spec(
    model: LibraryModel, outputs: Sequence[tuple[str, Path]], *, force: bool
) -> dict[str, JsonValue]:
    """Make the specification of the job."""
    return {
        "source": str(model.path.absolute()),
        "outputs": [{"type": name, "path": str(path.absolute())} for name, path in outputs],
        "allow_requantize": is_quantized(model),
        "force": force,
    }


def check_source(text: str) -> None:
    """Refuse what is neither a folder that is there nor a repository.

    Raises:
        ConfigError: why.
    """
    if text.startswith("hf:"):
        if "/" not in text:
            msg = f"{text[:80]} names no repository. Write hf:OWNER/REPO."
            raise ConfigError(msg)
    elif not Path(text).expanduser().exists():
        msg = f"There is no {text[:200]}. Name a folder with weights, or hf:OWNER/REPO."
        raise ConfigError(msg)


def check_output(text: str) -> None:
    """Refuse a name that no model file can have.

    Raises:
        ConfigError: why.
    """
    if Path(text).suffix != ".gguf":
        msg = f"{Path(text).name[:80]!r} does not end in .gguf. Let it end so."
        raise ConfigError(msg)


def output_for(source: str, out_type: str) -> str:
    """Name the file that a conversion makes, as long as nobody says otherwise."""
    name = _file_name(source.removeprefix("hf:").rstrip("/").rpartition("/")[2]) or "model"
    return str(paths.custom_models_folder() / f"{name}-{out_type.upper()}.gguf")


def convert_spec(source: str, out_type: str, output: Path, *, force: bool) -> dict[str, JsonValue]:
    """Make the specification of the job."""
    where = source if source.startswith("hf:") else str(Path(source).expanduser().absolute())
    return {"source": where, "output": str(output), "outtype": out_type, "force": force}


def full_path(text: str) -> Path:
    """Return the file that a person named, for a process in another folder."""
    return Path(text).expanduser().absolute()


def comparison_lines(result: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """Set the result of a comparison as a table of 74 columns.

    Raises:
        ConfigError: it is of another version of luci.
    """
    from luci_tui.library.compare import ModelsCompared

    try:
        compared = ModelsCompared.model_validate(result)
    except ValidationError as error:
        msg = "The comparison was made by another version of luci. m compares anew."
        raise ConfigError(msg) from error

    rows = [line for one in compared.rows for line in _compared_lines(one)]
    notes = [f"  {one_line(note)}" for one in compared.measured if (note := one.scored.note)]
    return (
        _cells("  model", "size", "perplexity", "KL", "same top", "tok/s"),
        *rows,
        "",
        "* no other one is both smaller and nearer to the base",
        *(["! could not be measured"] if compared.failed else []),
        f"text: {one_line(Path(compared.text).name)}, {compared.text_bytes} bytes, "
        f"chunks of {compared.n_ctx} tokens",
        *dict.fromkeys(notes),
    )


def _compared_lines(one: ComparedModel | FailedModel) -> list[str]:
    """Make the row of a model; that of one that could not be measured says why."""
    from luci_tui.library.compare import FailedModel

    if isinstance(one, FailedModel):
        name = _name_cell(f"! {one_line(Path(one.model).name)}")
        reason = textwrap.wrap(one_line(one.message), _TABLE_WIDTH - _NAME_WIDTH - 2)
        return [
            f"{first:<{_NAME_WIDTH}}  {words}"
            for first, words in zip_longest([name], reason or [""], fillvalue="")
        ]
    scored = one.scored
    loss = "base" if one.is_base else _number(one.loss, ".5f")
    cells = _cells(
        f"{'* ' if one.is_best else '  '}{one_line(Path(scored.model).name)}",
        format_bytes(scored.size_bytes),
        _number(scored.perplexity, ".4f" if (scored.perplexity or 0) < 1e5 else ".3g"),
        loss,
        _number(scored.top_agreement, ".1%"),
        _number(scored.decode_rate, ".1f"),
    )
    return [cells]


def _cells(name: str, *cells: str) -> str:
    widths = (9, 11, 8, 9, 7)
    return _name_cell(name) + "".join(
        f" {cell:>{width}}" for cell, width in zip(cells, widths, strict=True)
    )


def _name_cell(name: str) -> str:
    cut = name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}…"
    return f"{cut:<{_NAME_WIDTH}}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _file_name(name: str) -> str:
    return "".join(one if one.isalnum() or one in "._-" else "-" for one in name).strip("-.")
