"""Put luci's verdicts beside those of other readers: `make validator-peers`.

Every hostile file of tests/support/hostile and some good ones go through luci, llama.cpp's
gguf_init_from_file, the gguf package of Python and @huggingface/gguf for JavaScript.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from luci_tui.engine.job_frames import ValidateResult, ValidateSpec
from luci_tui.engine.job_process import run_job
from luci_tui.gguf.findings import Verdict
from tests.support import raw_gguf, split_model
from tests.support.hostile import layers, meaning, structure, templates

ROOT = Path(__file__).parents[3]
JS_VERSION = "0.4.6"
JS_TIMEOUT_S = 20
_HERE = Path(__file__).parent

HEADER = """\
# luci's verdicts beside those of other readers

The hostile files of `tests/support/hostile` (one defect each) and a good file of each kind, read by
luci's validator and by the readers that other programs use. `make validator-peers` writes it.

None of the others claims to be a validator: a reader that accepts a file may still fail to load it.
What counts is which files get past a reader to the code behind it.
"""


@dataclass(frozen=True)
class Subject:
    """One file and what ought to become of it."""

    name: str
    group: str
    path: Path
    is_hostile: bool


def write_subjects(folder: Path) -> list[Subject]:
    """Write all files and return them in the order of the table."""
    subjects: list[Subject] = []
    sources = {
        "structure": structure,
        "meaning": meaning,
        "layers": layers,
        "templates": templates,
    }
    for group, source in sources.items():
        for case in source.cases():
            path = folder / f"{len(subjects)}.gguf"
            path.write_bytes(case.content)
            kind = group if case.is_rejected else "odd (a warning is enough)"
            subjects.append(Subject(case.name, kind, path, is_hostile=True))
    good = {
        "model": raw_gguf.good_model(),
        "adapter": raw_gguf.good_lora(),
        "projector": raw_gguf.good_projector(),
        "importance matrix": raw_gguf.good_imatrix(),
        "control vector": raw_gguf.good_control_vector(),
        "tokenizer": raw_gguf.good_vocabulary(),
    }
    for name, file in good.items():
        path = folder / f"{len(subjects)}.gguf"
        path.write_bytes(file.build())
        subjects.append(Subject(name, "good", path, is_hostile=False))
    shard = split_model.write_shards(folder, 3)[1]
    subjects.append(Subject("shard", "good", shard, is_hostile=False))
    return subjects


async def luci(paths: list[str]) -> list[str]:
    """Give luci's verdicts."""
    with tempfile.TemporaryDirectory() as folder:
        async for event in run_job(ValidateSpec(paths=tuple(paths)), Path(folder) / "log"):
            if isinstance(event, ValidateResult):
                return [_word(report.verdict) for report in event.reports]
    raise RuntimeError("the validator gave no result")


def _word(verdict: Verdict) -> str:
    return {"ok": "accepted", "warning": "flagged", "rejected": "rejected"}[verdict]


def listed(command: list[str], paths: list[str]) -> list[str]:
    """Run a reader that prints one verdict per file."""
    done = subprocess.run([*command, *paths], capture_output=True, text=True, check=True)
    return done.stdout.split()


def javascript(paths: list[str], folder: Path) -> list[str]:
    """Install the JavaScript reader and run it on each file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(json.dumps({"private": True}))
    install = ["npm", "install", "--silent", "--no-save", f"@huggingface/gguf@{JS_VERSION}"]
    subprocess.run(install, cwd=folder, check=True, capture_output=True)
    return [_javascript_verdict(folder, path) for path in paths]


def _javascript_verdict(folder: Path, path: str) -> str:
    command = ["node", str(_HERE / "read_gguf.mjs"), str(folder), path]
    try:
        done = subprocess.run(command, capture_output=True, timeout=JS_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return "hung"
    return {0: "accepted", 10: "rejected"}.get(done.returncode, "crashed")


def render(subjects: list[Subject], verdicts: dict[str, list[str]]) -> str:
    """Make the page."""
    lines = HEADER.split("\n")
    groups = list(dict.fromkeys(subject.group for subject in subjects))
    header = [f"{group} ({sum(s.group == group for s in subjects)})" for group in groups]
    lines += ["| reader | " + " | ".join(header) + " |", "|---|" + "---|" * len(groups)]
    for reader, given in verdicts.items():
        cells: list[str] = []
        for group in groups:
            counts = Counter(v for s, v in zip(subjects, given, strict=True) if s.group == group)
            cells.append(", ".join(f"{n} {word}" for word, n in sorted(counts.items())))
        lines.append(f"| {reader} | " + " | ".join(cells) + " |")
    others = [given for reader, given in verdicts.items() if reader != "luci"]
    alone = [
        subject.name
        for index, subject in enumerate(subjects)
        if subject.is_hostile and all(given[index] == "accepted" for given in others)
    ]
    lines += ["", f"{len(alone)} hostile files are accepted by every other reader:", ""]
    lines += ["<details><summary>their names</summary>", ""]
    lines += [f"- {name}" for name in alone]
    lines += ["", "</details>", ""]
    return "\n".join(lines)


def main(page: Path, read_gguf: Path) -> None:
    """Measure and write the page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subjects = write_subjects(folder)
        paths = [str(subject.path) for subject in subjects]
        package = importlib.metadata.version("gguf")
        verdicts = {
            "luci": asyncio.run(luci(paths)),
            "llama.cpp (pinned), `gguf_init_from_file`": listed([str(read_gguf)], paths),
            f"gguf {package} (Python)": listed(
                [sys.executable, str(_HERE / "read_gguf.py")], paths
            ),
            f"@huggingface/gguf {JS_VERSION} (JavaScript)": javascript(
                paths, ROOT / ".cache" / "readers"
            ),
        }
    page.write_text(render(subjects, verdicts), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
