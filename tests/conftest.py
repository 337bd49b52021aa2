from __future__ import annotations

import os

import pytest

MAX_WORKERS = 8
"""More processes than that share no more work than they cost to start."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Spread the whole of the quick tests over processes; 0 = in this one.

    What is narrowed down starts sooner in one process, and counts and kills of the slow tests must
    not disturb each other. Many tests wait for processes of their own, so there is one more than
    processors.
    """
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    is_quick = config.option.markexpr in (config.getini("quick"), "captures")
    return min((os.cpu_count() or 1) + 1, MAX_WORKERS) if is_whole and is_quick else 0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the setting that names the quick tests."""
    parser.addini("quick", "which marks the quick tests have")
