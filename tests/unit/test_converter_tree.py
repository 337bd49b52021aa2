from __future__ import annotations

import sys
from pathlib import Path

import pytest

from luci_tui.engine import converter_tree
from luci_tui.engine.converter_tree import find_tree, known_architectures, require_extra
from luci_tui.errors import EngineError


@pytest.mark.native
def test_tree_is_found_and_names_its_architectures_without_torch() -> None:
    tree = find_tree()
    for script in ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py"):
        assert (tree / script).is_file()
    assert (tree / "LICENSE").is_file()
    assert (tree / "gguf-py" / "gguf" / "gguf_writer.py").is_file()
    known = known_architectures(tree)
    assert len(known) > 100
    assert {"LlamaForCausalLM", "GPT2LMHeadModel", "BertModel"} <= known
    assert "torch" not in sys.modules


def test_registry_in_an_unknown_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "conversion").mkdir()
    (tmp_path / "conversion" / "__init__.py").write_text("MODELS = ()\n")
    with pytest.raises(EngineError, match="unknown way"):
        known_architectures(tmp_path)


def test_missing_packages_are_named_with_the_command_that_installs_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(converter_tree, "NEEDED", ("json", "no_such_package", "no.such"))
    with pytest.raises(EngineError, match=r"needs no_such_package, no.such.*pip install") as raised:
        require_extra()
    assert raised.value.code == "missing_extra"
