import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from luci_tui.units import (
    format_bytes,
    format_count,
    format_duration,
    format_parameters,
    format_rate,
)
from luci_tui.version import VERSION


@pytest.mark.parametrize(
    ("size_bytes", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (8_180_000_000, "7.62 GiB"),
        (1024**2 - 1, "1.00 MiB"),
        (2**70, "1048576 PiB"),
        (-2048, "-2.00 KiB"),
    ],
)
def test_bytes(size_bytes: int, shown: str) -> None:
    assert format_bytes(size_bytes) == shown


@given(st.integers(min_value=1024, max_value=1024**5))
def test_bytes_keep_at_most_three_digits(size_bytes: int) -> None:
    number = format_bytes(size_bytes).split()[0]
    assert len(number.replace(".", "")) == 3


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0004, "0.4 ms"),
        (0.085, "85 ms"),
        (0.99949, "999 ms"),
        (0.9999, "1.0 s"),
        (2.44, "2.4 s"),
        (59.99, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7620, "2 h 07 min"),
    ],
)
def test_duration(seconds: float, shown: str) -> None:
    assert format_duration(seconds) == shown


def test_rate_and_count() -> None:
    assert format_rate(61.34) == "61.3 tok/s"
    assert format_rate(1234.5) == "1234 tok/s"
    assert format_count(1, "token") == "1 token"
    assert format_count(12, "token") == "12 tokens"


def test_version_is_that_of_the_package() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == VERSION


@pytest.mark.parametrize(
    ("n_params", "text"),
    [
        (12, "12"),
        (260_000, "260K"),
        (5_639_424, "5.64M"),
        (1_100_048_384, "1.1B"),
        (70_553_706_496, "70.6B"),
    ],
)
def test_format_parameters_writes_sizes_as_model_names_do(n_params: int, text: str) -> None:
    assert format_parameters(n_params) == text
