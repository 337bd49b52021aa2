"""See that every key of the screen is pressed by some test, and does there what it is for.

A test says with `presses` whose keys it presses, and presses them through `Keys`; the fixture
`keys` holds it to that. So `tests/tui/test_bindings.py` can tell from the declarations alone which
action nobody presses, in whichever process each test runs.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import cast

from textual.app import App
from textual.binding import Binding
from textual.pilot import Pilot

import luci_tui.tui
from luci_tui.tui.app import ChatApp
from tests.support.screen import shown_text, wait_until

Test = Callable[..., object]

DECLARED: dict[str, list[str]] = {}
"""Tests by the action whose keys they press; filled when their modules are imported."""


def presses(*action_ids: str) -> Callable[[Test], Test]:
    """Say that a test presses every key of these actions."""

    def mark(test: Test) -> Test:
        for action_id in action_ids:
            DECLARED.setdefault(action_id, []).append(test.__name__)
        vars(test)["presses"] = action_ids
        return test

    return mark


def declared_by(test: Test) -> tuple[str, ...]:
    """Return whose keys a test says that it presses."""
    return cast("tuple[str, ...]", vars(test).get("presses", ()))


def all_bindings() -> dict[str, set[str]]:
    """Return the keys of everything that luci's own widgets, screens and app bind, by id."""
    found: dict[str, set[str]] = {}
    for module in pkgutil.walk_packages(luci_tui.tui.__path__, "luci_tui.tui."):
        for one in vars(importlib.import_module(module.name)).values():
            if not isinstance(one, type) or one.__module__ != module.name:
                continue
            for made in cast("list[object]", vars(one).get("BINDINGS", [])):
                assert isinstance(made, Binding), f"{one} binds without an id: {made}"
                assert made.id, f"{one} binds {made.key} without an id"
                found.setdefault(made.id, set()).update(made.key.split(","))
    return found


class Keys:
    """Presses keys and notes those that did what they are for."""

    def __init__(self) -> None:
        self.pressed: dict[str, set[str]] = {}

    async def press(
        self,
        pilot: Pilot[int],
        action_id: str,
        key: str,
        until: Callable[[], bool] | str,
        *,
        is_behind: bool = False,
    ) -> None:
        """Press a key that belongs to the action here, and wait for what it brings about.

        Args:
            pilot: Of the app.
            action_id: Whose key it is.
            key: As Textual names it.
            until: What must come of it, and was not so before; a text has to be shown.
            is_behind: Textual looks at something else first, which leaves the key to the action.
        """
        app: App[int] = pilot.app
        assert isinstance(app, ChatApp)
        has_come = (lambda: until in shown_text(app)) if isinstance(until, str) else until
        bound = app.screen.active_bindings.get(key)
        if not is_behind:
            assert bound is not None, f"{key} does nothing here: {shown_text(app)}"
            found = (bound.binding.id or bound.binding.action, bound.enabled)
            assert found == (action_id, True), (key, found)
        assert not has_come(), f"{key}: nothing would be seen of it"
        await pilot.press(key)
        await wait_until(pilot, has_come)
        self.pressed.setdefault(action_id, set()).add(key)

    def missing(self, action_ids: tuple[str, ...]) -> dict[str, set[str]]:
        """Return the keys of these actions that were not pressed."""
        bound = all_bindings()
        left = {name: bound[name] - self.pressed.get(name, set()) for name in action_ids}
        return {name: keys for name, keys in left.items() if keys}
