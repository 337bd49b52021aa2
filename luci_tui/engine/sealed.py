"""Seal a job process before foreign Python libraries read a model that nobody vouches for.

Transformers would fetch what is missing from the network, and would run Python code that lies
beside a model's weights where it is told to, which the converter does for some architectures.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, Final

from luci_tui.errors import EngineError

_NETWORK_EVENTS: Final = frozenset(
    {"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}
)
"""Audit events of Python's interpreter."""
_ENVIRONMENT: Final = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
_AUTO_CLASSES: Final = (
    *("AutoConfig", "AutoTokenizer", "AutoProcessor"),
    *("AutoModel", "AutoModelForCausalLM", "AutoModelForSeq2SeqLM"),
)
FOREIGN_CODE: Final = (
    "The model needs Python code of its own beside its weights, which luci never runs. "
    "Convert it with llama.cpp's own script if you trust it."
)


def seal_process() -> None:
    """Cut this process off from the network for good, and keep code from models out.

    Call it before the first import of transformers or torch.
    """
    # These libraries take their settings from nowhere else.
    os.environ.update(_ENVIRONMENT)  # noqa: TID251
    sys.addaudithook(_refuse_network)


def keep_foreign_code_out() -> None:
    """Make transformers refuse code from models, and torch refuse pickled code.

    Call it once, when both may be imported.
    """
    transformers: Any = importlib.import_module("transformers")
    for name in _AUTO_CLASSES:
        _force(getattr(transformers, name), "from_pretrained", "trust_remote_code", value=False)
    dynamic: Any = importlib.import_module("transformers.dynamic_module_utils")
    dynamic.get_class_in_module = _refuse_code
    torch: Any = importlib.import_module("torch")
    _force(torch, "load", "weights_only", value=True)


def _refuse_network(event: str, arguments: tuple[object, ...]) -> None:
    if event not in _NETWORK_EVENTS:
        return
    # A local socket is no network; an address of one is a path.
    address = arguments[1] if len(arguments) > 1 else None
    if event in ("socket.connect", "socket.bind") and isinstance(address, str | bytes):
        return
    msg = "a job process has no network"
    raise PermissionError(msg)


def _refuse_code(*arguments: object, **options: object) -> object:
    del arguments, options
    raise EngineError(FOREIGN_CODE, code="foreign_code")


def _force(owner: Any, function: str, option: str, *, value: bool) -> None:
    original: Callable[..., Any] = getattr(owner, function)

    def call(*arguments: Any, **options: Any) -> Any:
        return original(*arguments, **{**options, option: value})

    setattr(owner, function, staticmethod(call) if isinstance(owner, type) else call)
