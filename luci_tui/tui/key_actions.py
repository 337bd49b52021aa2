"""Everything that a key of the screen does: its name, its default keys, its words.

`keymap.py` makes bindings of it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KeyAction:
    """Something that a key does."""

    id: str
    """"place.verb"; the place is a mode, a widget, or "app" for what works everywhere."""
    keys: str
    """Default keys, as Textual names them, with commas between."""
    label: str
    """One or two words, for the footer."""
    help: str
    """One sentence."""
    is_shown: bool = True
    """Whether the footer has it."""
    has_priority: bool = False
    """Whether it works before what has the focus sees the key."""

    @property
    def place(self) -> str:
        """Where it works; actions of one place must not share a key."""
        return self.id.partition(".")[0]


MODE_KEYS = tuple(
    KeyAction(
        f"mode.{name}",
        f"{number},alt+{number}",
        name.capitalize(),
        f"Go to {name.capitalize()}; with Alt also while you type.",
        is_shown=False,
    )
    for number, name in enumerate(
        ("chat", "models", "downloads", "jobs", "bench", "system", "settings", "logs"), start=1
    )
)

ACTIONS = (
    KeyAction(
        "app.palette",
        "ctrl+p",
        "Commands",
        "Find any action by its name.",
        has_priority=True,
    ),
    KeyAction("app.help", "f1", "Help", "Show the keys that work here.", has_priority=True),
    KeyAction(
        "app.jump",
        "f6,alt+j",
        "Jump",
        "Put a letter on everything that can be gone to; typing it goes there.",
        is_shown=False,
        has_priority=True,
    ),
    KeyAction(
        "app.welcome",
        "f2",
        "Welcome",
        "Look at this machine and suggest models that fit.",
        is_shown=False,
    ),
    KeyAction(
        "app.quit",
        "ctrl+q",
        "Quit",
        "Leave; answers, jobs and downloads go on in the host.",
        has_priority=True,
        is_shown=False,
    ),
    KeyAction(
        "app.copy_or_quit",
        "ctrl+c",
        "Copy",
        "Copy the selected text (select with the mouse); without one, say how to quit.",
        is_shown=False,
    ),
    *MODE_KEYS,
    KeyAction(
        "prompt.send",
        "enter",
        "Send",
        "Send the prompt; it waits while an answer runs.",
        is_shown=False,
    ),
    KeyAction(
        "prompt.newline",
        "ctrl+j,alt+enter,shift+enter",
        "New line",
        "Start a new line in the prompt.",
        is_shown=False,
    ),
    KeyAction("prompt.editor", "ctrl+g", "Editor", "Write the prompt in $EDITOR.", is_shown=False),
    KeyAction(
        "prompt.take_back",
        "alt+up",
        "Take back",
        "Put the last of the prompts that wait back into the line.",
        is_shown=False,
    ),
    KeyAction("chat.stop", "escape", "Stop", "Stop the answer; what came so far stays."),
    KeyAction("chat.new", "ctrl+n", "New", "Begin a new chat: the model forgets what was said."),
    KeyAction(
        "chat.reload", "ctrl+r", "Reload", "Load the model again, after a failure or to start anew."
    ),
    KeyAction(
        "chat.thinking",
        "ctrl+t",
        "Thinking",
        "Show or hide the thinking of the last reply.",
        is_shown=False,
    ),
    KeyAction("chat.copy", "ctrl+o", "Copy", "Copy the last reply."),
    KeyAction("chat.messages", "tab,shift+up", "Messages", "Go to the messages, or back."),
    KeyAction(
        "chat.parameters",
        "f3",
        "Parameters",
        "Show how the model is asked, and change it.",
        is_shown=False,
    ),
    KeyAction(
        "chat.model",
        "f4",
        "Model",
        "Go on with this chat with another model.",
        is_shown=False,
    ),
    KeyAction(
        "chat.columns",
        "f5",
        "Columns",
        "Ask several models the same.",
        is_shown=False,
    ),
    KeyAction(
        "chat.panel",
        "f9",
        "Panel",
        "Ask several perspectives the same, and have one answer made of theirs.",
        is_shown=False,
    ),
    KeyAction(
        "chat.chats",
        "ctrl+l",
        "Chats",
        "Show all chats, and look for words in them.",
        is_shown=False,
    ),
    KeyAction("chat.up", "pageup", "Up", "Scroll up by a page.", is_shown=False, has_priority=True),
    KeyAction(
        "chat.down",
        "pagedown",
        "Down",
        "Scroll down by a page; at its end the transcript follows the answer.",
        is_shown=False,
        has_priority=True,
    ),
    KeyAction("message.up", "up,k,shift+up", "Up", "Go to the message above.", is_shown=False),
    KeyAction(
        "message.down",
        "down,j,shift+down",
        "Down",
        "Go to the message below; below the last one is the prompt.",
        is_shown=False,
    ),
    KeyAction("message.first", "home,g", "First", "Go to the first message.", is_shown=False),
    KeyAction("message.last", "end,G", "Last", "Go to the last message.", is_shown=False),
    KeyAction("message.edit", "e", "Edit", "Write another version of your message."),
    KeyAction("message.again", "r", "Again", "Have it answered again, beside what is there."),
    KeyAction(
        "message.before", "less_than_sign,left", "Before", "Show the version before this one."
    ),
    KeyAction(
        "message.after", "greater_than_sign,right", "After", "Show the version after this one."
    ),
    KeyAction("message.pin", "p", "Pin", "Keep it in every prompt, or no longer."),
    KeyAction("message.copy", "y", "Copy", "Copy the message."),
    KeyAction("message.block", "b", "Block", "Copy a code block; asks which."),
    KeyAction("message.quote", "q", "Quote", "Quote it into the prompt."),
    KeyAction("message.save", "s", "Save", "Save a code block to a file; asks for its name."),
    KeyAction("message.good", "plus", "Good", "Rate it good, or take that away.", is_shown=False),
    KeyAction("message.bad", "minus", "Bad", "Rate it bad, or take that away.", is_shown=False),
    KeyAction(
        "message.note", "n", "Note", "Write a note about it, kept with the rating.", is_shown=False
    ),
    KeyAction(
        "message.fold",
        "space",
        "Unfold",
        "Show or hide the thinking, or the rest of a long message.",
        is_shown=False,
    ),
    KeyAction(
        "message.about", "enter", "About", "Show all that is known about it.", is_shown=False
    ),
    KeyAction("message.export", "x", "Export", "Write the chat to a file.", is_shown=False),
    KeyAction("message.leave", "escape,tab", "Prompt", "Go back to the prompt."),
    KeyAction(
        "welcome.install", "enter", "Install", "Install the model that is suggested; asks first."
    ),
    KeyAction("welcome.up", "up", "Up", "Go to the suggestion above.", is_shown=False),
    KeyAction("welcome.down", "down", "Down", "Go to the suggestion below.", is_shown=False),
    KeyAction("list.up", "up,k", "Up", "Move up a row.", is_shown=False),
    KeyAction("list.down", "down,j", "Down", "Move down a row.", is_shown=False),
    KeyAction("list.page_up", "pageup", "Page up", "Move up a page.", is_shown=False),
    KeyAction("list.page_down", "pagedown", "Page down", "Move down a page.", is_shown=False),
    KeyAction("list.first", "home,g", "First", "Go to the first row.", is_shown=False),
    KeyAction("list.last", "end,G", "Last", "Go to the last row.", is_shown=False),
    KeyAction("list.choose", "enter", "Choose", "Take the row with the cursor.", is_shown=False),
    KeyAction("live.filter", "slash", "Filter", "Show only the rows that hold the typed words."),
    KeyAction("live.unfilter", "escape", "All", "Take the filter away.", is_shown=False),
    KeyAction(
        "live.reload",
        "ctrl+r",
        "Reload",
        "Ask again; starts the host where none runs.",
        is_shown=False,
    ),
    KeyAction("jobs.cancel", "x", "Cancel", "End the job with the cursor; asks first."),
    KeyAction("jobs.resume", "r", "Resume", "Begin the job again that did not come to its end."),
    KeyAction("models.toggle", "space", "On/off", "Let it be used by name, or no longer."),
    KeyAction("models.install", "i", "Install", "Install a model by its name."),
    KeyAction("models.catalogue", "c", "Catalogue", "Show what can be installed, or what is here."),
    KeyAction("models.hub", "h", "Hub", "Search at the hub."),
    KeyAction(
        "models.check", "v", "Validate", "Check its files with the validator.", is_shown=False
    ),
    KeyAction(
        "models.delete", "delete", "Delete", "Remove it and its files; asks first.", is_shown=False
    ),
    KeyAction(
        "models.quantize", "q", "Quantize", "Make smaller files of it, as a job.", is_shown=False
    ),
    KeyAction(
        "models.convert",
        "o",
        "Convert",
        "Make a model file of weights in Hugging Face's format, as a job.",
        is_shown=False,
    ),
    KeyAction(
        "models.compare",
        "m",
        "Compare",
        "Measure what quantizing cost several models, as a job.",
        is_shown=False,
    ),
    KeyAction(
        "models.compared", "r", "Compared", "Show the table of the last comparison.", is_shown=False
    ),
    KeyAction("models.bench", "b", "Bench", "Measure how fast it is, as a job.", is_shown=False),
    KeyAction("models.tier", "t", "Tier", "Say of which tier it is for you.", is_shown=False),
    KeyAction("models.aliases", "a", "Names", "Give it other names.", is_shown=False),
    KeyAction("models.note", "n", "Note", "Write down some words about it.", is_shown=False),
    KeyAction(
        "models.updates",
        "u",
        "Updates",
        "Compare the catalogue with the hub: what was renamed, changed, gated or removed.",
    ),
    KeyAction("models.next_tier", "right", "Next tier", "Go to the next tier.", is_shown=False),
    KeyAction(
        "models.tier_before", "left", "Tier before", "Go to the tier before.", is_shown=False
    ),
    KeyAction("downloads.pause", "p", "Pause", "Stop the download until it is resumed."),
    KeyAction("downloads.resume", "r", "Resume", "Go on with one that is paused or has failed."),
    KeyAction("downloads.cancel", "x", "Cancel", "End it and remove what has arrived; asks first."),
    KeyAction("downloads.earlier", "plus", "Earlier", "Fetch it before the one above."),
    KeyAction("downloads.later", "minus", "Later", "Fetch it after the one below."),
    KeyAction("downloads.limit", "l", "Limit", "Limit the rate of all downloads together."),
    KeyAction("bench.run", "b", "Run", "Measure a model; the host does it."),
    KeyAction("bench.mark", "space", "Mark", "Compare others with this run, or no longer."),
    KeyAction(
        "bench.compare", "c", "Compare", "Put it beside the marked run, or the one before it."
    ),
    KeyAction("bench.export", "e", "Export", "Write runs to a file, as Markdown or JSON."),
    KeyAction("bench.peers", "p", "Peers", "Show the results of bench-peers, or the runs again."),
    KeyAction("bench.cancel", "x", "Cancel", "End what is being measured; asks first."),
    KeyAction("bench.delete", "delete", "Forget", "Forget the run; asks first.", is_shown=False),
    KeyAction(
        "bench.next_plot",
        "right",
        "Next plot",
        "Let the plot show another figure: decode, prefill, TTFT, or another test.",
        is_shown=False,
    ),
    KeyAction("bench.plot_before", "left", "Plot before", "The figure before.", is_shown=False),
    KeyAction("parameters.model", "m", "For the model", "Set it for every chat with this model."),
    KeyAction("parameters.reset", "delete", "Reset", "Take back your strongest value."),
    KeyAction("parameters.presets", "p", "Presets", "Give the chat a preset."),
    KeyAction("parameters.leave", "escape", "Back", "Go back to the chat."),
    KeyAction("parameters.close", "f3", "Close", "Close the parameters.", is_shown=False),
    KeyAction(
        "columns.stop",
        "escape",
        "Stop",
        "Stop the answers; once nothing runs, go back.",
    ),
    KeyAction("columns.next", "tab", "Next", "Go to the next column.", has_priority=True),
    KeyAction(
        "columns.before",
        "shift+tab",
        "Before",
        "Go to the column before.",
        is_shown=False,
        has_priority=True,
    ),
    KeyAction(
        "columns.keep", "f8", "Keep", "Go on with the chat of this column; the others are put away."
    ),
    KeyAction("columns.pace", "f9", "Pace", "Let all answer at once, or one after the other."),
    KeyAction("columns.copy", "ctrl+o", "Copy", "Copy the last answer of this column."),
    KeyAction(
        "columns.thinking",
        "ctrl+t",
        "Thinking",
        "Show or hide the thinking of this column.",
        is_shown=False,
    ),
    KeyAction(
        "columns.up", "pageup", "Up", "Scroll this column up.", is_shown=False, has_priority=True
    ),
    KeyAction(
        "columns.down",
        "pagedown",
        "Down",
        "Scroll this column down.",
        is_shown=False,
        has_priority=True,
    ),
    KeyAction("system.unload", "u", "Unload", "Take the model with the cursor out of memory."),
    KeyAction("chats.search", "s", "Search", "Look for words in all messages of all chats."),
    KeyAction("chats.rename", "n", "Rename", "Give the chat another title."),
    KeyAction("chats.export", "e", "Export", "Write the chat to a file, Markdown or JSON."),
    KeyAction("chats.delete", "delete", "Delete", "Remove the chat and its messages; asks first."),
    KeyAction(
        "chats.close", "q,ctrl+l", "Back", "Go back to the chat; Esc does it, too.", is_shown=False
    ),
    KeyAction("settings.edit", "e", "Edit", "Give the setting another value; so does Enter."),
    KeyAction("settings.unset", "u,delete", "Unset", "Take the setting out of the file."),
    KeyAction(
        "settings.profile",
        "p",
        "Profile",
        "Look at another profile; edits go into that one.",
        is_shown=False,
    ),
    KeyAction("settings.changed", "m", "Changed", "Show only what is set, or everything."),
    KeyAction(
        "settings.restart",
        "h",
        "Restart",
        "Restart the host, so that it reads its settings anew; asks first.",
    ),
    KeyAction("logs.next", "right", "Next log", "Show the next log."),
    KeyAction("logs.previous", "left", "Previous", "Show the log before.", is_shown=False),
    KeyAction("logs.level", "l", "Level", "Show all lines, warnings and errors, or errors alone."),
    KeyAction("logs.follow", "f", "Follow", "Go to the end and follow the log."),
)

BY_ID = {action.id: action for action in ACTIONS}
