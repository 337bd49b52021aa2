"""`luci doctor`: is everything here that luci needs?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from luci_tui.cli.output import print_json, print_line
from luci_tui.config import terminal_facts
from luci_tui.host.doctor import examine
from luci_tui.host.findings import Finding, Level

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci doctor
  luci doctor --json | grep problem
"""


@app.command(epilog=EPILOG)
def doctor(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check that this machine has what luci needs.

    Looks at versions, native core, memory, folders, built-in model, listening addresses, the API
    key and the terminal. Each finding is ok, a warning or a problem; with a problem the exit code
    is 1.
    """
    findings: list[Finding] = []
    for finding in examine(terminal_facts()):
        findings.append(finding)
        if not json_output:
            print_line(f"{finding.level.value:<8} {finding.name}: {finding.text}")
    is_healthy = all(finding.level is not Level.PROBLEM for finding in findings)
    if json_output:
        print_json({"healthy": is_healthy, "findings": [asdict(finding) for finding in findings]})
    if not is_healthy:
        raise typer.Exit(1)
