from __future__ import annotations

from pathlib import Path

import pytest

from luci_tui.engine.native_validate import check_file
from luci_tui.gguf.findings import FileReport, Severity, Verdict
from luci_tui.gguf.rules import BY_CODE, RULES
from tests.support.hostile import layers, meaning, structure, templates
from tests.support.hostile.case import Case

pytestmark = pytest.mark.native

SOURCES = {
    "structure": structure.cases,
    "meaning": meaning.cases,
    "layers": layers.cases,
    "templates": templates.cases,
}
PATH_RULES = {rule.code for rule in RULES if rule.code.startswith(("F", "D"))}


def _complaint(case: Case, report: FileReport) -> str | None:
    wanted = Severity.ERROR if case.is_rejected else Severity.WARNING
    found = {one.code for one in report.findings if one.severity is wanted}
    verdict = Verdict.REJECTED if case.is_rejected else Verdict.WARNING
    if report.verdict is verdict and (case.code in found or not case.code):
        return None
    findings = [(one.code, one.message) for one in report.findings]
    return f"{case.name}: wanted {case.code}, got {report.verdict} {findings}"


@pytest.mark.parametrize("source", SOURCES)
def test_check_file_on_hostile_files_finds_the_defect_of_each(source: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.gguf"
    complaints: list[str] = []
    for case in SOURCES[source]():
        path.write_bytes(case.content)
        complaint = _complaint(case, check_file(str(path)))
        if complaint:
            complaints.append(complaint)
    assert not complaints, "\n".join(complaints)


def test_hostile_files_are_many_and_touch_every_rule() -> None:
    cases = [case for make in SOURCES.values() for case in make()]
    assert len(cases) >= 500
    assert len({case.name for case in cases}) == len(cases)
    assert {case.code for case in cases} - {""} == set(BY_CODE) - PATH_RULES


def test_check_file_messages_hold_no_control_characters(tmp_path: Path) -> None:
    path = tmp_path / "hostile.gguf"
    for case in (*structure.cases(), *meaning.cases(), *layers.cases()):
        path.write_bytes(case.content)
        for finding in check_file(str(path)).findings:
            assert finding.message.isprintable(), case.name
            assert len(finding.message) < 600, case.name
            assert 0 <= finding.offset <= max(len(case.content), 24), case.name
