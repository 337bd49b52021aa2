"""Where things lie on disk: one home folder, and the models that ship with the package."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

BUILTIN_MODEL_FILE = "luci-shell.gguf"
"""File name of the model that this project trains and ships."""


def luci_home() -> Path:
    """Return the home folder: `$LUCI_HOME`, or `~/.luciferai`. It may not exist yet."""
    configured = os.environ.get("LUCI_HOME", "").strip()
    return Path(configured).expanduser() if configured else Path.home() / ".luciferai"


def environment_for(home: Path) -> dict[str, str]:
    """Return this process's environment with `home` as the home folder, for a child process."""
    return {**os.environ, "LUCI_HOME": str(home.absolute())}


def setting_variables() -> dict[str, str]:
    """Return the variables of this process's environment whose names begin with `LUCI_`."""
    return {name: value for name, value in os.environ.items() if name.startswith("LUCI_")}


def choose_profile(name: str) -> None:
    """Let this process, and those that it starts, use a profile of the settings."""
    os.environ["LUCI_PROFILE"] = name


def user_config_folder() -> Path:
    """Return `$XDG_CONFIG_HOME`, or `~/.config`; it may not exist yet."""
    configured = os.environ.get("XDG_CONFIG_HOME", "").strip()
    return Path(configured) if configured else Path.home() / ".config"


def logs_folder() -> Path:
    """Return the folder for log files; it may not exist yet."""
    return luci_home() / "logs"


def clipboard_file(home: Path) -> Path:
    """Return the file with what the screen copied last; it may not exist yet."""
    return home / "clipboard.txt"


def seen_file(home: Path) -> Path:
    """Return the file that says when a screen was looked at last; it may not exist yet."""
    return home / "screen.json"


def chats_file() -> Path:
    """Return the SQLite file of the chats; it may not exist yet."""
    return luci_home() / "chats.db"


def models_folder() -> Path:
    """Return the folder for installed models; it may not exist yet."""
    return luci_home() / "models"


def downloads_file() -> Path:
    """Return the file with the queue of downloads; it may not exist yet."""
    return luci_home() / "downloads.json"


def custom_models_folder() -> Path:
    """Return the folder into which a person puts model files; it may not exist yet."""
    return models_folder() / "custom_models"


def library_file() -> Path:
    """Return the file with what a person has set about models; it may not exist."""
    return luci_home() / "library.toml"


def library_cache_file() -> Path:
    """Return the SQLite file of facts from headers, which may be deleted at any time."""
    return luci_home() / "library.db"


def old_luci_models_folder() -> Path:
    """Return where programs of this name keep models when nobody says otherwise."""
    return Path.home() / ".luciferai" / "models"


def hugging_face_cache_folder() -> Path:
    """Return the cache of the Hugging Face hub; it may not exist.

    Source: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables
    """
    hub = os.environ.get("HF_HUB_CACHE", "").strip()
    if hub:
        return Path(hub).expanduser()
    home = os.environ.get("HF_HOME", "").strip()
    if home:
        return Path(home).expanduser() / "hub"
    cache = os.environ.get("XDG_CACHE_HOME", "").strip()
    return (Path(cache) if cache else Path.home() / ".cache") / "huggingface" / "hub"


def ollama_models_folders() -> tuple[Path, ...]:
    """Return where Ollama's models may lie: its own setting, a user's home, the Linux service.

    Source: https://docs.ollama.com/faq
    """
    configured = os.environ.get("OLLAMA_MODELS", "").strip()
    if configured:
        return (Path(configured).expanduser(),)
    return (Path.home() / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models"))


def lm_studio_models_folders() -> tuple[Path, ...]:
    """Return where LM Studio's models may lie, of today's and of older versions."""
    home = Path.home()
    return (home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models")


def bench_file() -> Path:
    """Return the file with the runs of the bench; it may not exist yet."""
    return luci_home() / "bench.jsonl"


def bench_peers_files() -> tuple[Path, ...]:
    """Return where results of `make bench-peers` may lie: in the home folder, in a source tree."""
    name = "bench-peers.json"
    return (luci_home() / name, Path(__file__).resolve().parent.parent / ".cache" / name)


def docs_folder() -> Path:
    """Return the pages that ship with luci: of an installed package, or of a source tree."""
    package = Path(__file__).resolve().parent
    installed = package / "docs"
    return installed if installed.is_dir() else package.parent / "docs"


def sources_folder() -> Path:
    """Return the folder for weights that were fetched to be converted; it may not exist yet."""
    return luci_home() / "sources"


def presets_file() -> Path:
    """Return the file with a person's own presets; it may not exist."""
    return luci_home() / "presets.toml"


def models_file() -> Path:
    """Return the file in which a person describes models; it may not exist."""
    return luci_home() / "models.toml"


def responses_file() -> Path:
    """Return the file in which /v1/responses keeps what clients ask it to; it may not exist yet."""
    return luci_home() / "responses.db"


def api_key_file() -> Path:
    """Return the file with the keys of the HTTP API; it may not exist yet."""
    return luci_home() / "api_key"


def own_catalog_file() -> Path:
    """Return the file with a person's own entries of the catalogue; it may not exist."""
    return luci_home() / "catalog.toml"


def shipped_catalog_file() -> Path:
    """Return the catalogue that ships with luci: of an installed package, or of a source tree."""
    package = Path(__file__).resolve().parent
    installed = package / "models" / "catalog.toml"
    return installed if installed.is_file() else package.parent / "models" / "catalog.toml"


@cache
def builtin_model_candidates() -> tuple[Path, ...]:
    """Return where the built-in model may lie: in an installed package, then in a source tree."""
    package = Path(__file__).resolve().parent
    return (
        package / "models" / "builtin" / BUILTIN_MODEL_FILE,
        package.parent / "models" / "builtin" / BUILTIN_MODEL_FILE,
    )


def builtin_model_file() -> Path | None:
    """Return the built-in model's file, or None if this installation has none."""
    return next((path for path in builtin_model_candidates() if path.is_file()), None)
