from pathlib import Path

import pytest
import typer

from luci_tui.cli import main, pages
from luci_tui.setting_sources import sections_of
from luci_tui.settings import Settings
from luci_tui.tui.commands.plain import (
    COMMANDS,
    GRAMMAR,
    GROUPS,
    ONLY_WITH_LUCI,
    PAGES,
    SECTIONS,
    plain_command,
    why_not_here,
)

KNOWN = frozenset(("phi-4", "builtin", "llama3.2-3b"))


def command_of(text: str) -> tuple[str, ...] | None:
    return plain_command(text, KNOWN.__contains__)


@pytest.mark.parametrize(
    "text",
    [
        "help",
        "help install",
        "help custom-models",
        "llm list",
        "llm list all",
        "llm list all --tier 1 --fits",
        "llm list --json",
        "llm info phi-4",
        "llm enable tier 2",
        "llm disable all",
        "custom model info",
        "models info",
        "install phi-4",
        "install phi-4 llama3.2-3b",
        "install hf:org/some-model",
        "install org/some-model:Q4_K_M",
        "install phi-4 --yes",
        "install --help",
        "uninstall phi-4 --yes",
        "load builtin",
        "fit phi-4",
        "ps",
        "doctor",
        "jobs cancel 12",
        "downloads limit 5M",
        "chat list",
        "chat show k3m9",
        "host status",
        "config show host",
        "config set host.max_jobs 4",
        'config set screen.theme "ansi-dark"',
    ],
)
def test_command_of_luci_is_one(text: str) -> None:
    assert command_of(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "help me with this",
        "help me",
        "install nginx",
        "install the printer driver",
        "install phi-4 on my phone",
        "Install phi-4",
        " install phi-4",
        "install phi-4\nand then?",
        "install",
        "load the truck",
        "load truck",
        "list the files in src",
        "llm list of all names",
        "llm what is that?",
        "llm enable dark mode",
        "jobs cancel my subscription",
        "jobs for people who like bread",
        "chat show me something",
        "chat with me",
        "models info about cars",
        "custom model info for my shop",
        "disk is full, what now?",
        "doctor who",
        "ps -ef | grep python",
        "host status of my server",
        "search for large files",
        "run the tests",
        "ask him",
        "fit for purpose",
        "validate this sentence",
        "inspect this",
        "don't install phi-4",
        "help don't",
        "luci",
        "luci, how are you?",
        "luci how are you?",
        "config show me",
        "downloads list please",
    ],
)
def test_prompt_that_begins_with_a_command_is_a_prompt(text: str) -> None:
    assert command_of(text) is None


def test_luci_before_it_makes_any_words_a_command() -> None:
    assert command_of("luci search qwen coder") == ("search", "qwen", "coder")
    assert command_of("luci install nginx") == ("install", "nginx")


def test_quoted_words_stay_together() -> None:
    assert command_of('luci chat search "sky blue"') == ("chat", "search", "sky blue")


def test_group_alone_shows_its_help() -> None:
    assert command_of("llm") == ("llm", "--help")


def test_file_that_is_there_is_a_command_and_one_that_is_not_is_a_prompt(tmp_path: Path) -> None:
    file = tmp_path / "a model.gguf"
    file.touch()
    assert command_of(f"inspect '{file}'") == ("inspect", str(file))
    assert command_of(f"inspect {tmp_path}/other.gguf") is None


def test_command_that_needs_a_terminal_says_so() -> None:
    assert "another terminal" in why_not_here(("login",))
    assert "another terminal" in why_not_here(("config", "edit"))
    assert why_not_here(("config", "show")) == ""


def test_every_command_of_luci_is_known_and_no_other() -> None:
    assert frozenset(main.COMMANDS) == COMMANDS
    assert frozenset(pages.PAGES) == PAGES
    assert frozenset(sections_of(Settings)) == SECTIONS
    assert ONLY_WITH_LUCI.isdisjoint(words[0] for words in GRAMMAR)


def test_every_grammar_names_a_command_that_there_is() -> None:
    top = typer.main.get_command(main.app)
    context = typer.Context(top)
    for words in GRAMMAR:
        command: object = top
        for word in words:
            command = command.get_command(context, word)  # type: ignore[attr-defined]
            assert command is not None, words
    for group in GROUPS:
        assert hasattr(top.get_command(context, group), "list_commands"), group  # type: ignore[attr-defined]
