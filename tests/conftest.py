from __future__ import annotations

import gc
import os
import sys

import pytest

# Half of what it costs to import the tests is the rewriting of their asserts, in each process of a
# run. It is kept beside them, even where the environment says that nothing compiled shall be kept.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

MAX_WORKERS = 8
"""More processes than that share no more work than they cost to start."""


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Spread the whole of the quick tests over processes; 0 = in this one.

    What is narrowed down starts sooner in one process, and counts and kills of the slow tests must
    not disturb each other. Many tests wait for processes of their own, so there are two for each
    processor.
    """
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    is_quick = config.option.markexpr in (config.getini("quick"), "captures")
    return min(2 * (os.cpu_count() or 1), MAX_WORKERS) if is_whole and is_quick else 0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the setting that names the quick tests."""
    parser.addini("quick", "which marks the quick tests have")


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep what all tests have in common out of garbage collection: it stays until the end.

    Else each full collection looks at the tests and everything that they import, which is a quarter
    of the processor time of a test that draws screens.
    """
    gc.collect()
    gc.freeze()
