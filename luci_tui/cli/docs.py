"""Keep three pages of docs/ equal to the program: `python -m luci_tui.cli.docs --write`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import typer

from luci_tui.cli.main import COMMANDS, app
from luci_tui.gguf.rules import RULES
from luci_tui.settings_schema import page as settings_page

DOCS = Path(__file__).parents[2] / "docs"
"""Only a source tree has it."""

WIDTH = 100

HEADER = """\
# The command line

`luci` (or `python -m luci_tui`) opens the [screen](screen.md); every other use is a command.

- What a command finds goes to standard output, what it has to say about it to standard error.
  Progress is shown only where standard error is a terminal.
- Exit codes: 0 ok, 1 a negative result, 2 wrong usage or a failure (one sentence says which), 130
  interrupted with Ctrl-C.
- Text of a model goes into a pipe as it is. On a terminal, control characters are taken out of it.
- `LUCI_HOME` names the folder for chats, logs and models; without it, it is `~/.luciferai`.

This page is written by `python -m luci_tui.cli.docs --write`; a test compares it with the program.
"""


RULES_HEADER = """\
# What the validator checks

`luci validate FILE…` reads GGUF files with a parser of luci's own (`native/src/gguf/`): bounded,
without a memory map, and before llama.cpp sees a byte of them. Every load checks first, and what is
rejected here is not loaded. A rule that only warns says so. `--deep` adds D01 and D03, `--sha256`
D02. GGUF 2 and 3 are read: models, the shards of a split set as one, tokenizers, projectors
(mmproj), LoRA adapters, control vectors and importance matrices.

A chat template is a program that came with the model: T01 to T03 bound what it may do before any
engine parses it.

| code | what a file must fulfil | why | answers |
|---|---|---|---|
"""


def render_rules() -> str:
    """Return the page of the validator's rules."""
    rows = (f"| {one.code} | {one.demands} | {one.reason} | {one.answers} |\n" for one in RULES)
    return RULES_HEADER + "".join(rows) + RULES_FOOTER


RULES_FOOTER = """
This page is written by `python -m luci_tui.cli.docs --write`; a test compares it with the program.
How other readers fare on the same files stands in [validator-peers.md](validator-peers.md).
"""


def render() -> str:
    """Return the page as the commands' help makes it today."""
    group = cast("Any", typer.main.get_command(app))
    parts = [HEADER, _section(group, "luci")]
    for name in COMMANDS:
        command = group.get_command(typer.Context(group), name)
        parts += _sections(command, f"luci {name}")
    return "\n".join(parts)


def _sections(command: Any, name: str) -> list[str]:
    parts = [_section(command, name)]
    for sub_name, sub_command in getattr(command, "commands", {}).items():
        parts += _sections(sub_command, f"{name} {sub_name}")
    return parts


def _section(command: Any, name: str) -> str:
    context = typer.Context(
        command, info_name=name, terminal_width=WIDTH, help_option_names=["-h", "--help"]
    )
    return f"## {name}\n\n```text\n{command.get_help(context).strip()}\n```\n"


def main(arguments: list[str]) -> int:
    """Write or check the pages; 1 = one differs."""
    pages = {
        DOCS / "cli.md": render(),
        DOCS / "settings.md": settings_page(),
        DOCS / "validator.md": render_rules(),
    }
    if arguments == ["--write"]:
        DOCS.mkdir(exist_ok=True)
        for page, text in pages.items():
            page.write_text(text, encoding="utf-8")
        return 0
    if arguments == ["--check"]:
        stale = [
            page
            for page, text in pages.items()
            if not page.is_file() or page.read_text(encoding="utf-8") != text
        ]
        for page in stale:
            sys.stderr.write(f"{page} differs: run python -m luci_tui.cli.docs --write\n")
        return 1 if stale else 0
    sys.stderr.write("usage: python -m luci_tui.cli.docs --check|--write\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
