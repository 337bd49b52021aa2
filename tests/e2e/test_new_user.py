"""From an empty home to a chat with an installed model: the README's first lines, word for word."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from luci_tui.catalog.catalog import load_catalog
from luci_tui.library.manifest import model_folder, read_manifest
from luci_tui.paths import builtin_model_file, shipped_catalog_file
from tests.e2e.conftest import Luci
from tests.support.hub_process import hub_process
from tests.support.terminal import TerminalProgram

pytestmark = [pytest.mark.native, pytest.mark.timeout(240)]

README = Path(__file__).parents[2] / "README.md"
MODEL = "smollm2-135m"


def first_lines() -> list[list[str]]:
    """Give the words of each line of the first block of commands under "Use"."""
    use = README.read_text().partition("## Use")[2]
    block = use.partition("```sh\n")[2].partition("```")[0]
    return [shlex.split(line, comments=True) for line in block.splitlines()]


@pytest.fixture
def hub(luci_env: dict[str, str], tmp_path: Path) -> Iterator[None]:
    """Offer a small model that can answer in the place of the one that the README installs."""
    entry = load_catalog(shipped_catalog_file()).resolve(MODEL)
    repo = tmp_path / "hub" / entry.repo
    repo.mkdir(parents=True)
    builtin = builtin_model_file()
    assert builtin is not None
    shutil.copy(builtin, repo / entry.files[0])
    with hub_process(tmp_path / "hub") as url:
        luci_env |= {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "*"}
        yield


@pytest.mark.usefixtures("hub")
def test_readme_followed_from_an_empty_home_then_a_chat_answers(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    home = Path(luci_env["LUCI_HOME"])
    shutil.rmtree(home)
    search, install, run, screen = first_lines()
    found = luci(*search[1:])
    assert b"SmolLM2-135M-Instruct-GGUF" in found.stdout, found.stderr
    installed = luci(*install[1:])
    assert installed.returncode == 0, installed.stderr
    assert read_manifest(model_folder(home / "models", MODEL)) is not None
    answered = luci(*run[1:])
    assert (answered.returncode, answered.stdout.strip() != b"") == (0, True), answered.stderr
    with TerminalProgram("-m", "luci_tui", *screen[1:], env=luci_env) as chat:
        chat.wait_for("ready")
        chat.send("list the files in src\r")
        chat.wait_for("TTFT")
        chat.send("\x11")
        assert chat.wait().exit_code == 0
    assert b"ls src" in chat.output
