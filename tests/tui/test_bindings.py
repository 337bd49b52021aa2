"""Every key of the screen is pressed by a test, and every declared action can be reached."""

import importlib
from pathlib import Path

from luci_tui.tui.key_actions import ACTIONS
from tests.support.keys import DECLARED, all_bindings


def test_every_action_is_bound_somewhere_with_its_default_keys() -> None:
    bound = all_bindings()
    for action in ACTIONS:
        assert bound[action.id] == set(action.keys.split(",")), action.id


def test_every_binding_is_pressed_by_a_test() -> None:
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        importlib.import_module(f"tests.tui.{path.stem}")
    assert sorted(all_bindings().keys() - DECLARED.keys()) == []
    assert sorted(DECLARED.keys() - all_bindings().keys()) == []
