"""Measure how long a list of many models takes: `python -m tests.support.library_speed --json`.

The whole command is measured, from its start to its end, in a home folder with so many installed
models: the first time, when every header is read, and then with what is remembered. Loading the
catalogue is measured in a process of its own. Judge the figures on a quiet machine only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from luci_tui.paths import environment_for
from tests.support.libraries import MODEL, install

MAX_LIST_MS = 300.0
MAX_CATALOG_MS = 50.0

_CATALOG = """
import time
from luci_tui import paths
from luci_tui.catalog.catalog import load_catalog
path = paths.shipped_catalog_file()
start = time.perf_counter()
load_catalog(path)
print((time.perf_counter() - start) * 1000)
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 1 = a bar is missed."""
    parser = argparse.ArgumentParser(description="Measure lists of models.")
    parser.add_argument("--models", type=int, default=300, help="how many are installed")
    parser.add_argument("--runs", type=int, default=7, help="how often each thing is measured")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="luci-library-") as folder:
        home = Path(folder) / "home"
        for number in range(options.models):
            name = f"model-{number:03}"
            install(home / "models", name, {f"{name}-Q4_K_M.gguf": MODEL})
        environment = {**environment_for(home), "HOME": folder}
        cold_ms = _list_ms(environment, options.models)
        warm_ms = [_list_ms(environment, options.models) for _ in range(options.runs)]
    catalog_ms = [_catalog_ms() for _ in range(options.runs)]
    found = {
        "n_models": options.models,
        "cold_ms": round(cold_ms, 1),
        "warm_ms": round(statistics.median(warm_ms), 1),
        "catalog_ms": round(statistics.median(catalog_ms), 1),
    }
    if options.json:
        print(json.dumps(found))
    else:
        print(
            f"list of {options.models} models: {found['warm_ms']} ms, first {found['cold_ms']} ms"
        )
        print(f"catalogue: {found['catalog_ms']} ms")
    return int(found["warm_ms"] >= MAX_LIST_MS or found["catalog_ms"] >= MAX_CATALOG_MS)


def _list_ms(environment: dict[str, str], n_models: int) -> float:
    start_s = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "luci_tui", "llm", "list"],
        capture_output=True,
        env=environment,
        timeout=120,
        check=True,
    )
    elapsed_ms = (time.perf_counter() - start_s) * 1000
    if done.stdout.count(b"\n") != n_models:
        n_rows = done.stdout.count(b"\n")
        msg = f"the list has {n_rows} rows"
        raise RuntimeError(msg)
    return elapsed_ms


def _catalog_ms() -> float:
    command = [sys.executable, "-c", _CATALOG]
    return float(subprocess.run(command, capture_output=True, timeout=60, check=True).stdout)


if __name__ == "__main__":
    sys.exit(main())
