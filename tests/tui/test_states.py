"""Every state that `docs/screens.md` has in a table is captured, in every size that is looked at.

That a capture is compared in the dark and in the light theme is what `check_in_both_themes` does.
"""

from pathlib import Path

from tests.support.screen_texts import FOLDER

DRAWN = Path(__file__).parents[2] / "docs" / "screens.md"
SIZES = ("80x24", "120x40")
NARROW = ("chat-narrow-40x16",)
"""What is drawn in another size."""

CAPTURES: dict[str, tuple[str, ...]] = {
    "1 Chat/empty": ("chat-empty",),
    "1 Chat/loading": ("chat-loading", "chat-no-model"),
    "1 Chat/busy": ("chat-busy", "prompt-waiting"),
    "1 Chat/thinking": ("chat-thinking", "chat-thought", "chat-thinking-shown"),
    "1 Chat/tools": ("chat-tools",),
    "1 Chat/stopped": ("chat-stopped",),
    "1 Chat/failed": ("chat-failed",),
    "1 Chat/cut": ("chat-cut", "chat-about"),
    "1 Chat/worker dead": ("chat-worker-dead",),
    "1 Chat/host lost": ("chat-host-lost", "chat-host-back"),
    "1 Chat/long": ("chat-long", "chat-scrolled"),
    "The prompt/unknown": ("prompt-unknown",),
    "The prompt/command fails": ("prompt-command-fails", "prompt-command"),
    "The prompt/much output": ("prompt-much-output",),
    "The prompt/broken off": ("prompt-broken-off", "prompt-command-runs"),
    "The prompt/long paste": ("prompt-paste", "prompt-paste-sent"),
    "The prompt/attached": ("prompt-attached",),
    "The prompt/not for this model": ("prompt-not-taken",),
    "The prompt/picture": ("prompt-picture", "chat-picture"),
    "All chats/empty": ("chats-empty", "chats"),
    "All chats/no hit": ("chats-no-hit",),
    "All chats/a hit": ("chats-search",),
    "All chats/delete": ("chats-delete", "chats-rename"),
    "All chats/export": ("chats-export",),
    "Parameters, F3/no chat yet": ("parameters",),
    "Parameters, F3/no host": ("parameters-lost",),
    "Parameters, F3/refused": ("parameters-refused", "system-prompt"),
    "Parameters, F3/only of a chat": ("parameters-chat-alone",),
    "Columns, F5/chosen too few": ("columns-choice", "panel-choice"),
    "Columns, F5/does not fit beside the others": ("columns-loading",),
    "Columns, F5/failed": ("columns-failed", "columns"),
    "Columns, F5/esc": ("columns-stopped",),
    "2 Models/empty": ("models-empty", "models", "models-catalogue", "models-hub"),
    "2 Models/broken": ("models-broken",),
    "2 Models/offline": ("models-offline",),
    "2 Models/install": ("models-install",),
    "2 Models/delete": ("models-delete",),
    "2 Models/quantize": ("models-quantize",),
    "2 Models/convert": ("models-convert",),
    "2 Models/compare": ("models-compare", "models-compared"),
    "2 Models/updates": ("models-updates",),
    "2 Models/measure": ("bench-running",),
    "2 Models/tier, names, note": ("models-tier", "models-names", "models-note"),
    "3 Downloads/empty": ("downloads-empty", "downloads"),
    "3 Downloads/stalled": ("downloads-stalled",),
    "3 Downloads/disk full": ("downloads-failed",),
    "3 Downloads/ended": ("downloads-ended",),
    "3 Downloads/cancel": ("downloads-cancel", "downloads-limit"),
    "4 Jobs/empty": ("jobs-empty", "jobs-no-host"),
    "4 Jobs/failed": ("jobs-failed",),
    "4 Jobs/done": ("jobs-done",),
    "4 Jobs/ended with the host": ("jobs-interrupted",),
    "4 Jobs/cancel": ("jobs-cancel",),
    "4 Jobs/wide": ("jobs", "jobs-filter"),
    "5 Bench/empty": ("bench-empty",),
    "5 Bench/running": ("bench-running",),
    "5 Bench/failed": ("bench-failed",),
    "5 Bench/run": ("bench-models", "bench-options"),
    "5 Bench/export": ("bench-export", "bench-forget"),
    "5 Bench/broken history": ("bench-damaged",),
    "5 Bench/no peers": ("bench-no-peers", "bench-peers"),
    "5 Bench/narrow": ("bench", "bench-compare"),
    "6 System/no host": ("system-no-host",),
    "6 System/no model": ("system-empty", "system"),
    "6 System/remote": ("system-busy",),
    "6 System/unload": ("system-unload",),
    "7 Settings/edit": ("settings-edit", "settings"),
    "7 Settings/no file": ("settings-empty",),
    "7 Settings/unreadable file": ("settings-broken",),
    "7 Settings/stronger": ("settings-stronger",),
    "7 Settings/profile": ("settings-profile",),
    "7 Settings/restart": ("settings-restart",),
    "7 Settings/changed only": ("settings-changed", "settings-nothing"),
    "8 Logs/none": ("logs-empty",),
    "8 Logs/empty": ("logs-empty-file",),
    "8 Logs/filter without a hit": ("logs-no-hit",),
    "8 Logs/scrolled up": ("logs",),
    "Jump/more than 26 places": ("jump-many", "jump"),
    "Welcome/being looked at": ("welcome-looking", "welcome"),
    "Welcome/nothing fits": ("welcome-nothing-fits",),
    "Welcome/other models here": ("welcome-all-here",),
    "Copying/too long for a terminal (75 KB)": ("copied-too-long",),
}
"""Captures by the heading and the state of the row."""
WITHOUT = {
    "1 Chat/narrow": "it is captured in a size of its own, see NARROW",
    "The prompt/editor": "the terminal belongs to the editor meanwhile",
    "All chats/open": "what is opened is a chat",
    "All chats/answer runs": "one sentence in a corner, which test_chats_screen.py waits for",
    "Columns, F5/lost terminal": "there is no screen then",
    "2 Models/reading": "it lasts as long as the folders are read",
    "Jump/first of two letters typed": "the labels of jump-many, fewer of them",
    "Jump/a letter that is on no label": "nothing happens",
    "Jump/a window with a question above": "nothing happens",
    "Copying/disk full": "the same corner as copied-too-long with another sentence",
    "Copying/in a browser": "the same",
}
"""Rows that are no picture of their own, and why."""
FURTHER = (
    *("away", "news", "help", "palette", "presets", "model-choice", "panel", "prompt-choices"),
    *("chat-cursor", "chat-edit", "chat-code", "chat-blocks", "chat-note", "chat-export"),
    "chat-save",
)
"""Screens that are drawn, and are in no table of states."""


def drawn_states() -> list[str]:
    """Read the tables of states: "heading/state"."""
    found: list[str] = []
    heading, is_state = "", False
    for line in DRAWN.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = line.lstrip("# ")
        if not line.startswith("|"):
            is_state = False
        elif line.startswith("| State |"):
            is_state = True
        elif is_state and not line.startswith("|---"):
            found.append(f"{heading}/{line.split('|')[1].strip()}")
    return found


def test_every_state_that_is_drawn_has_a_capture_or_a_reason() -> None:
    assert sorted(drawn_states()) == sorted(CAPTURES.keys() | WITHOUT.keys())
    assert not CAPTURES.keys() & WITHOUT.keys()


def test_captures_are_those_that_are_named_here_and_each_has_both_sizes() -> None:
    named = {*FURTHER, *(name for names in CAPTURES.values() for name in names)}
    wanted = {f"{name}-{size}" for name in named for size in SIZES} | {*NARROW}
    assert sorted(wanted) == sorted(path.stem for path in FOLDER.glob("*.txt"))


def test_captures_have_the_size_that_their_names_say() -> None:
    for path in FOLDER.glob("*.txt"):
        width, _, height = path.stem.rpartition("-")[2].partition("x")
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len(lines) == int(height), path.stem
        assert max(map(len, lines)) <= int(width), path.stem
