"""Build the peers: llama.cpp's own tools, and llama-cpp-python in a venv of its own.

Both come from the tree that native/llama.cpp.lock pins and are compiled with the flags that luci's
own core is compiled with. Nothing but the package index is reached.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

_PYTHON_PEER_NEEDS = ("typing-extensions>=4.5", "numpy>=1.20", "diskcache>=5.6.1", "jinja2>=2.11.3")
_PYTHON_PEER_OPTIONS = (
    "CMAKE_BUILD_TYPE=Release",
    "GGML_NATIVE=ON",
    "GGML_OPENMP=ON",
    "GGML_CCACHE=ON",
    "GGML_CPU_KLEIDIAI=OFF",
    "GGML_OPENMP_FETCH=OFF",
    "LLAMA_OPENSSL=OFF",
    "LLAMA_BUILD_UI=OFF",
    "LLAMA_USE_PREBUILT_UI=OFF",
    "LLAVA_BUILD=OFF",
)


@dataclass(frozen=True)
class Peers:
    """Where the peers lie once they are built."""

    bin_dir: Path
    python: Path
    """The interpreter that has llama-cpp-python."""

    def binary(self, name: str) -> Path:
        """Return the path of one of llama.cpp's tools."""
        return self.bin_dir / name


def peers_of(root: Path) -> Peers:
    """Name the places in a checkout at `root`, built or not."""
    build = root / "build"
    return Peers(build / "peers" / "bin", build / "peers-venv" / "bin" / "python")


def build_tools(root: Path, n_jobs: int) -> None:
    """Build llama-bench, llama-batched-bench, llama-server and llama-quantize."""
    build_tool(root, "luci_peers", n_jobs)


def build_tool(root: Path, target: str, n_jobs: int) -> None:
    """Build one of llama.cpp's tools, or with "luci_peers" all that luci is compared with."""
    folder = root / "build" / "peers"
    logger.info("building %s in %s", target, folder)
    cmake = _tool("cmake") or "cmake"
    configure = [cmake, "-S", str(root), "-B", str(folder), "-DLUCI_BUILD_PEERS=ON"]
    if not (folder / "CMakeCache.txt").exists():
        configure.append(f"-DPython_EXECUTABLE={sys.executable}")
        ninja = _tool("ninja")
        configure += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
    _run(configure)
    _run([cmake, "--build", str(folder), "--target", target, "-j", str(n_jobs)])


def install_python_peer(root: Path) -> None:
    """Install llama-cpp-python, compiled from the pinned sdist, into build/peers-venv."""
    folder = root / "build" / "peers-venv"
    done = folder / ".complete"
    lock = root / "native" / "llama.cpp.lock"
    if done.exists() and done.read_text() == lock.read_text():
        return
    logger.info("installing llama-cpp-python in %s", folder)
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    _run([*pip, *_PYTHON_PEER_NEEDS])
    options = [part for option in _PYTHON_PEER_OPTIONS for part in ("-C", f"cmake.define.{option}")]
    source = ["--no-deps", "--no-binary", "llama-cpp-python", "--require-hashes", "-r", str(lock)]
    # A wheel of an earlier build may have had other options.
    _run([*pip, "--no-cache-dir", *source, *options])
    done.write_text(lock.read_text())


def _tool(name: str) -> str | None:
    """Find a build tool beside this interpreter, where pip puts it, or else on the PATH."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def _run(command: list[str]) -> None:
    logger.info("%s", " ".join(command))
    subprocess.run(command, check=True, stdout=sys.stderr)
