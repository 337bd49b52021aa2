import time
from collections.abc import Generator

import pytest


@pytest.fixture(autouse=True)
def same_time_of_day(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """Show moments as in Greenwich, wherever the tests run."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
