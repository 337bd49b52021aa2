"""Home folders for the bench: many models, many chats, a long chat, long logs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from luci_tui.bench.peers.models import SMALL, write_f16
from luci_tui.chat.naming import new_id
from luci_tui.chat.records import ChatSession, Message, Role
from luci_tui.chat.store import ChatStore
from luci_tui.paths import environment_for
from tests.support.libraries import MODEL, install

N_MODELS = 300
N_CHATS = 1_000
N_LONG = 5_000
"""Messages of the long chat."""
N_TURNS = 500
N_LINES = 10_000
"""Of the log; as many chats are filtered, too."""
LOG_NAME = "older.log"
LAST_WORDS = "these are the last words"
"""How a chat ends, so that its end can be waited for."""
MODEL_NAME = "bench"
_TO_LETTERS = str.maketrans("0123456789", "ghijklmnop")
_ANSWER = """The list has three kinds of entries:

- **files**, with their size in bytes
- *folders*, which end with a slash
- links, which say where they lead

```python
for entry in sorted(folder.iterdir()):
    print(entry.name, entry.stat().st_size)
```

Entries that cannot be read are left out, and a line at the end says how many there were.
"""


def environment(home: Path) -> dict[str, str]:
    """Return the environment of a program in such a home folder."""
    hidden = ("SSH_", "LUCI_", "HF_", "TMUX", "STY", "NO_COLOR", "COLORTERM")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    return {**kept, **environment_for(home), "HOME": str(home)}


def add_models(home: Path) -> None:
    """Install small models."""
    for number in range(N_MODELS):
        name = f"model-{number:03}"
        install(home / "models", name, {f"{name}-Q4_K_M.gguf": MODEL})


def add_bench_model(home: Path, cache: Path) -> None:
    """Put a random model of 56M parameters there; it is made once for all benches."""
    quantized = cache / SMALL.file_name
    if not quantized.exists():
        cache.mkdir(parents=True, exist_ok=True)
        whole = cache / "bench-tui-F16.gguf"
        write_f16(SMALL, whole)
        command = [sys.executable, "-m", "luci_tui", "quantize", str(whole), str(quantized)]
        subprocess.run([*command, "--type", SMALL.quant_type], check=True, capture_output=True)
        whole.unlink()
    target = home / "models" / f"{MODEL_NAME}.gguf"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(quantized.resolve())


def add_chats(home: Path, n_chats: int, n_messages: int, model: str = "builtin") -> str:
    """Write chats of so many messages each and return the id of the last one."""
    home.mkdir(parents=True, exist_ok=True)
    store = ChatStore(home / "chats.db")
    chat_id = ""
    for number in range(n_chats):
        messages = _conversation(n_messages)
        session = ChatSession(
            id=new_id(10),
            title=title_of(number),
            is_title_set=True,
            model=model,
            active_leaf_id=messages[-1].id,
            created_ms=number,
            updated_ms=number,
        )
        chat_id = store.add(session, messages).id
    store.close()
    return chat_id


def add_log(home: Path) -> None:
    """Write a log of many lines."""
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    lines = [line + "\n" for line in map(log_line, range(N_LINES))]
    (logs / LOG_NAME).write_text("".join(lines))


def log_line(number: int) -> str:
    """Return a line of that log."""
    at = f"01:{number // 60 % 60:02}:{number % 60:02}"
    return f"{at} INFO job {code_of(number)} is done"


def title_of(number: int) -> str:
    """Return the title of a chat."""
    return f"Chat {code_of(number)}"


def code_of(number: int) -> str:
    """Return six letters that look drawn by chance, so that each letter of a filter counts."""
    digest = hashlib.sha256(str(number).encode()).hexdigest()[:6]
    return digest.translate(_TO_LETTERS)


def prose(n_words: int) -> str:
    """Return Markdown of about so many words."""
    n_times = 1 + n_words // len(_ANSWER.split())
    return "\n".join([_ANSWER] * n_times)


def _conversation(n_messages: int) -> list[Message]:
    made: list[Message] = []
    for place in range(n_messages):
        is_answer = place % 2 == 1
        text = _ANSWER if is_answer else f"question {place}: what is in the folder src?"
        if place == n_messages - 1:
            text = f"{text}\n{LAST_WORDS}"
        made.append(
            Message(
                id=new_id(),
                parent_id=made[-1].id if made else None,
                role=Role.ASSISTANT if is_answer else Role.USER,
                text=text,
                created_ms=place,
            )
        )
    return made
