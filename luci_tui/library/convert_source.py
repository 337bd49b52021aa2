"""Look at a folder of weights before it is converted, and refuse it with one plain sentence."""

from __future__ import annotations

import difflib
import json
import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, cast

from luci_tui.errors import CatalogError
from luci_tui.units import format_bytes

MAX_JSON_BYTES: Final = 64 * 1024 * 1024
MAX_HEADER_BYTES: Final = 512 * 1024 * 1024
"""Of a safetensors file."""
_LFS_POINTER: Final = b"version https://git-lfs"
_LEGACY_MAGICS: Final = (b"lmgg", b"fmgg", b"tjgg")
"""ggml, ggmf and ggjt, as they stand in a file: little-endian numbers."""
_TOKENIZER_FILES: Final = (
    *("tokenizer.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"),
    *("vocab.txt", "vocab.json", "tekken.json", "tiktoken.model", "rwkv_vocab_v20230424.txt"),
)
_DTYPE_BYTES: Final = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
}
_OUT_BITS: Final = {"f32": 32.0, "f16": 16.0, "bf16": 16.0, "q8_0": 8.5}
HEADER_RESERVE_BYTES: Final = 32 * 1024 * 1024
"""For the vocabulary and the other values of the GGUF file."""
TORCH_RESERVE_BYTES: Final = 600 * 1024 * 1024
"""What torch and transformers take before the first weight."""


class SourceKind(StrEnum):
    """What is converted; each has a converter of its own."""

    MODEL = "model"
    LORA = "lora"
    LEGACY = "legacy"
    """A GGML file from before GGUF."""


@dataclass(frozen=True)
class Source:
    """What a source is, from its small files and the headers of the large ones."""

    kind: SourceKind
    path: Path
    architecture: str
    """As config.json names it; "" for a legacy file."""
    weight_files: tuple[Path, ...]
    weights_bytes: int
    n_weights: int
    """About, where the weights are pickled."""
    largest_tensor: int
    """Weights of the largest tensor; 0 = not known."""
    is_pickled: bool
    """The weights are .bin files."""

    def output_bytes(self, outtype: str) -> int:
        """Estimate the size of the GGUF file, rather too large than too small."""
        return int(self.n_weights * _OUT_BITS[outtype] / 8 * 1.02) + HEADER_RESERVE_BYTES

    @property
    def memory_bytes(self) -> int:
        """Estimate what the converter needs: it holds a few copies of one tensor at a time."""
        largest = self.largest_tensor or self.n_weights // 4
        return TORCH_RESERVE_BYTES + 3 * 4 * largest


def read_source(path: Path, lora_base: Path | None, known: Collection[str]) -> Source:
    """Find out what a source is.

    Args:
        path: A folder of weights, the folder of a LoRA adapter, or a legacy GGML file.
        lora_base: The folder of the model that an adapter belongs to.
        known: Architectures that the converter can convert.

    Raises:
        CatalogError: it cannot be converted; the sentence says why and what to do.
    """
    if path.is_file():
        return _legacy(path)
    if not path.is_dir():
        raise _refusal(f"There is no folder {path}. Name one that holds a model.", "no_folder")
    if lora_base is not None:
        return _adapter(path, lora_base, known)
    if (path / "adapter_config.json").is_file() and not (path / "config.json").is_file():
        msg = (
            f"{path} is a LoRA adapter. Convert it with `luci convert --lora BASE`, where BASE is "
            "the folder of its base model."
        )
        raise _refusal(msg, "needs_base")
    architecture = _architecture(path, known)
    _require_tokenizer(path)
    return _with_weights(path, SourceKind.MODEL, architecture, _weight_files(path))


def _legacy(path: Path) -> Source:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic == b"GGUF":
        msg = f"{path} is a GGUF file already. Use `luci quantize` to change its type."
        raise _refusal(msg, "is_gguf")
    if magic not in _LEGACY_MAGICS:
        msg = f"{path} is a file and no folder of weights. Name the folder that it lies in."
        raise _refusal(msg, "no_folder")
    size = path.stat().st_size
    return Source(SourceKind.LEGACY, path, "", (path,), size, size, 0, is_pickled=False)


def _adapter(path: Path, base: Path, known: Collection[str]) -> Source:
    if not base.is_dir():
        msg = f"There is no folder {base} of a base model. Name the one the adapter was made for."
        raise _refusal(msg, "no_base")
    _json(path / "adapter_config.json", "a LoRA adapter made by peft")
    for name in ("adapter_model.safetensors", "adapter_model.bin"):
        if (path / name).is_file():
            architecture = _architecture(base, known)
            return _with_weights(path, SourceKind.LORA, architecture, [path / name])
    msg = f"{path} has no adapter_model.safetensors. Save the adapter with peft's save_pretrained."
    raise _refusal(msg, "no_weights")


def _architecture(path: Path, known: Collection[str]) -> str:
    config = _json(path / "config.json", "a model in Hugging Face's format")
    named = config.get("architectures")
    names = cast("list[object]", named) if isinstance(named, list) else []
    if not names:
        msg = f"{path}/config.json names no architecture. Get the model's own config.json."
        raise _refusal(msg, "no_architecture")
    name = str(names[0])
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.75)
    hint = f" It knows {' and '.join(near)}." if near else ""
    msg = (
        f"The architecture {name[:80]} is none of the {len(known)} that llama.cpp converts.{hint} "
        "A newer luci may know it."
    )
    raise _refusal(msg, "unknown_architecture")


def _json(path: Path, what: str) -> Mapping[str, Any]:
    if not path.is_file():
        raise _refusal(
            f"{path.parent} is not {what}: it has no {path.name}. Get all its files.", "no_config"
        )
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            msg = f"{path} is too large for a file of settings. Download it again."
            raise _refusal(msg, "bad_config")
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        msg = f"{path} is no JSON ({error}). Download it again."
        raise _refusal(msg, "bad_config") from error
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}). Check its permissions."
        raise _refusal(msg, "unreadable") from error
    if not isinstance(document, dict):
        raise _refusal(f"{path} holds no settings. Download it again.", "bad_config")
    return cast("dict[str, Any]", document)


def _require_tokenizer(path: Path) -> None:
    if any((path / name).is_file() for name in _TOKENIZER_FILES) or any(path.glob("*.tiktoken")):
        return
    msg = (
        f"{path} has no tokenizer (tokenizer.json or tokenizer.model). Get all files of the model."
    )
    raise _refusal(msg, "no_tokenizer")


def _weight_files(path: Path) -> list[Path]:
    """List the files with weights as the converter would take them: safetensors before pickles."""
    for pattern, index in (
        ("model*.safetensors", "model.safetensors.index.json"),
        ("pytorch_model*.bin", "pytorch_model.bin.index.json"),
    ):
        files = sorted(path.glob(pattern))
        if (path / index).is_file():
            files = _indexed(path, index)
        if files:
            return files
    msg = f"{path} has no weights (model.safetensors or pytorch_model.bin). Get all its files."
    raise _refusal(msg, "no_weights")


def _indexed(path: Path, index: str) -> list[Path]:
    named = _json(path / index, "a model in several files").get("weight_map")
    if not isinstance(named, dict):
        raise _refusal(f"{path / index} has no weight_map. Download it again.", "bad_config")
    names = sorted({str(name) for name in cast("dict[str, object]", named).values()})
    if any(Path(name).name != name for name in names):
        msg = f"{path / index} names files outside its folder. Do not trust this model."
        raise _refusal(msg, "bad_config")
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        msg = f"{path} lacks {missing[0]}{more} of {len(names)} files with weights. Get the rest."
        raise _refusal(msg, "missing_shard")
    return [path / name for name in names]


def _with_weights(path: Path, kind: SourceKind, architecture: str, files: list[Path]) -> Source:
    n_weights = largest = 0
    for file in files:
        if file.suffix == ".safetensors":
            n_here, largest_here = _safetensors_sizes(file)
            n_weights, largest = n_weights + n_here, max(largest, largest_here)
        else:
            _refuse_pointer(file)
            n_weights += file.stat().st_size // 2
    return Source(
        kind=kind,
        path=path,
        architecture=architecture,
        weight_files=tuple(files),
        weights_bytes=sum(file.stat().st_size for file in files),
        n_weights=n_weights,
        largest_tensor=largest,
        is_pickled=files[0].suffix != ".safetensors",
    )


def _safetensors_sizes(path: Path) -> tuple[int, int]:
    """Give (weights of all tensors, of the largest one), and refuse a file that is cut off."""
    _refuse_pointer(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        n_header = int(struct.unpack("<Q", head)[0]) if len(head) == 8 else 0
        if not 2 <= n_header <= min(MAX_HEADER_BYTES, size):
            msg = f"{path} is no safetensors file, or the beginning of one. Download it again."
            raise _refusal(msg, "bad_weights")
        try:
            header = cast("dict[str, dict[str, Any]]", json.loads(file.read(n_header)))
            tensors = [value for name, value in header.items() if name != "__metadata__"]
            ends = [int(tensor["data_offsets"][1]) for tensor in tensors]
            counts = [
                (int(tensor["data_offsets"][1]) - int(tensor["data_offsets"][0]))
                // _DTYPE_BYTES.get(str(tensor["dtype"]), 1)
                for tensor in tensors
            ]
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as why:
            msg = f"The header of {path} cannot be read ({why}). Download the file again."
            raise _refusal(msg, "bad_weights") from why
    wanted = 8 + n_header + max(ends, default=0)
    if size < wanted:
        msg = f"{path} has {size} of {wanted} bytes. Download the rest of it."
        raise _refusal(msg, "bad_weights")
    return sum(counts), max(counts, default=0)


def _refuse_pointer(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) != _LFS_POINTER:
            return
    msg = f"{path} is a pointer of Git LFS and not the weights. Run `git lfs pull` in its folder."
    raise _refusal(msg, "lfs_pointer")


def require_room(source: Source, outtype: str, free_disk: int, free_memory: int) -> None:
    """Refuse a conversion that the machine has no room for.

    Raises:
        CatalogError: with both figures.
    """
    needed = source.output_bytes(outtype)
    if needed > free_disk:
        msg = (
            f"The GGUF file needs about {format_bytes(needed)} and {format_bytes(free_disk)} are "
            "free in its folder. Make room, or take --outtype q8_0."
        )
        raise _refusal(msg, "disk_full")
    if source.memory_bytes > free_memory:
        msg = (
            f"Converting needs about {format_bytes(source.memory_bytes)} of memory and "
            f"{format_bytes(free_memory)} are free. Close other programs."
        )
        raise _refusal(msg, "out_of_memory")


def _refusal(sentence: str, code: str) -> CatalogError:
    return CatalogError(sentence, code=code)
