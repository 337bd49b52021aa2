"""Find llama.cpp's converters, those of exactly the tree that the native core is built from.

The build puts them beside the extension (see docs/adr/0009). In a checkout whose extension came
from elsewhere they are in the cache that the build fetched the tree into.
"""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path
from typing import Final, cast

from luci_tui.errors import EngineError

HF_SCRIPT: Final = "convert_hf_to_gguf.py"
LORA_SCRIPT: Final = "convert_lora_to_gguf.py"
LEGACY_SCRIPT: Final = "convert_llama_ggml_to_gguf.py"

_MODULE = "luci_tui._native"
_FOLDER = "llama_cpp"
NEEDED: Final = ("torch", "transformers", "sentencepiece", "google.protobuf", "safetensors")
INSTALL_HINT: Final = "pip install 'luci-tui[convert]'"


def find_tree() -> Path:
    """Return the folder of the converters.

    Raises:
        EngineError: there is none; code "no_converter".
    """
    for folder in _candidates():
        if (folder / HF_SCRIPT).is_file() and (folder / "conversion").is_dir():
            return folder
    msg = "The converters of llama.cpp are not installed. Build luci again: `pip install .`."
    raise EngineError(msg, code="no_converter")


def require_extra() -> None:
    """Refuse to go on without the packages that the converters import.

    Raises:
        EngineError: one is missing; the sentence says how to install it; code "missing_extra".
    """
    missing = [name for name in NEEDED if not _is_installed(name)]
    if missing:
        names = ", ".join(missing)
        msg = f"Converting needs {names}, not installed here. Install with: {INSTALL_HINT}"
        raise EngineError(msg, code="missing_extra")


def known_architectures(tree: Path) -> frozenset[str]:
    """List what the converter can convert, as config.json names it.

    The registry is read without running it: importing it would load torch, which takes seconds.

    Raises:
        EngineError: the tree's registry is written in another way; code "no_converter".
    """
    source = (tree / "conversion" / "__init__.py").read_text(encoding="utf-8")
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "TEXT_MODEL_MAP":
            assert node.value is not None
            return frozenset(cast("dict[str, str]", ast.literal_eval(node.value)))
    msg = f"The converter in {tree} lists its architectures in an unknown way. Report this."
    raise EngineError(msg, code="no_converter")


def _candidates() -> list[Path]:
    folders: list[Path] = []
    spec = importlib.util.find_spec(_MODULE)
    if spec is not None and spec.origin is not None:
        folders.append(Path(spec.origin).parent / _FOLDER)
    root = Path(__file__).parents[2]
    lock = root / "native" / "llama.cpp.lock"
    if lock.is_file():
        # The same name as luci_find_llama_cpp in native/cmake/fetch_llama_cpp.cmake gives it.
        found = re.search(r"sha256:([0-9a-f]{16})", lock.read_text(encoding="utf-8"))
        if found is not None:
            cache = root / ".cache" / "llama.cpp" / found[1]
            folders.append(cache / "vendor" / "llama.cpp")
    return folders


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # of the package around it
        return False
