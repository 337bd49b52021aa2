import time
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.support.keys import Keys, declared_by


@pytest.fixture(autouse=True)
def same_time_of_day(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Show moments as in Greenwich, wherever the tests run."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def keys(request: pytest.FixtureRequest) -> Generator[Keys]:
    """Press keys; the test has to press all those that it declares."""
    made = Keys()
    yield made
    missing = made.missing(declared_by(request.function))
    assert not missing, f"not pressed: {missing}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs once for each size: it compares a screen with its picture."""
    for item in items:
        is_here = item.path.is_relative_to(Path(__file__).parent)
        if is_here and "size" in getattr(getattr(item, "callspec", None), "params", ()):
            item.add_marker("captures")
