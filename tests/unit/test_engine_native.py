from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

from luci_tui.engine import frames, native
from luci_tui.engine.load_spec import LoadSpec, LoraSpec
from luci_tui.errors import EngineError, ModelLoadError

IMPORTS = "import luci_tui.engine.process, luci_tui.engine.echo, luci_tui.engine.native, sys; "


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()


def test_engine_given_its_modules_then_the_extension_is_not_loaded() -> None:
    code = IMPORTS + "sys.stdout.write(str('luci_tui._native' in sys.modules))"
    assert run_python(code) == "False"


def test_native_given_no_extension_then_the_package_imports_and_says_how_to_build() -> None:
    hide = "import importlib.util as u; u.find_spec = lambda name: None; "
    code = (
        IMPORTS + hide + "from luci_tui.errors import EngineError\n"
        "try:\n    luci_tui.engine.native.devices()\n"
        "except EngineError as error:\n    sys.stdout.write(f'{error.code}: {error.message}')"
    )
    said = run_python(code)
    assert said.startswith("no_native_core: The native core (luci_tui._native) is not built")
    assert "pip install ." in said


def test_native_given_an_extension_that_does_not_load_then_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(native, "native_available", lambda: True)
    monkeypatch.setitem(sys.modules, "luci_tui._native", None)
    with pytest.raises(EngineError, match="cannot be loaded") as caught:
        native.require_native()
    assert caught.value.code == "no_native_core"


@pytest.mark.native
def test_native_given_the_extension_then_lists_a_cpu() -> None:
    assert native.native_available()
    cpus = [device for device in native.devices() if device.kind == "cpu"]
    assert cpus
    assert cpus[0].total_bytes > 0
    info = native.system_info()
    assert info.accelerator in {"cpu", "cuda", "metal", "vulkan", "hip"}
    assert info.llama_commit
    assert info.cpu_features


@pytest.mark.native
@pytest.mark.parametrize(
    "fields",
    [
        {"model_path": "/no/such/file.gguf"},
        {"model_path": "/no/such/file.gguf", "kv_type_k": "no_such_type"},
    ],
)
def test_core_given_what_it_cannot_load_then_model_load_error(fields: dict[str, str]) -> None:
    with pytest.raises(ModelLoadError) as caught:
        native.Core(LoadSpec.model_validate(fields), native.LoadMonitor())
    assert caught.value.message


@pytest.mark.native
def test_core_given_a_cancelled_load_then_says_cancelled() -> None:
    monitor = native.LoadMonitor()
    monitor.cancel()
    spec = LoadSpec(model_path="/no/such/file.gguf", loras=(LoraSpec(path="/none"),))
    with pytest.raises(ModelLoadError, match=r"file\.gguf was cancelled") as caught:
        native.Core(spec, monitor)
    assert caught.value.code == "cancelled"


@pytest.mark.parametrize("text", ["", 'a "quote" and a \\', "two\nlines\x00", "ein Bär \u2028 🐻"])
@pytest.mark.parametrize("reasoning", ["", "hm"])
def test_event_payload_given_a_delta_then_a_frame_that_says_the_same(
    text: str, reasoning: str
) -> None:
    event = SimpleNamespace(
        kind="delta",
        text=text,
        reasoning=reasoning,
        tokens=[3, 4711],
        tool_calls=[],
        logprobs=[],
        prompt_logprobs=[],
    )
    core = object.__new__(native.Core)  # it needs no model to write an event
    found = frames.event_adapter.validate_json(core.event_payload(cast("Any", event), 7))
    assert found == frames.Delta(request_id=7, text=text, reasoning=reasoning, tokens=(3, 4711))
