"""Names of models as they are sent to the host, which runs in another folder."""

from __future__ import annotations

from pathlib import Path


def for_host(name: str) -> str:
    """Return a name as it is, but a path as an absolute one.

    A name of the registry wins over a file of that name in the present folder, so only what is
    written like a path is taken for one.
    """
    if "/" in name or name.startswith("~") or name.endswith(".gguf"):
        path = Path(name).expanduser()
        # `model.gguf` may be an alias of an installed model as well.
        if "/" in name or name.startswith("~") or path.exists():
            return str(path.absolute())
    return name
