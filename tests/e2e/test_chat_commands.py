import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from luci_tui.chat.records import MessageState
from luci_tui.chat.store import ChatStore
from tests.support.chats import told

Luci = Callable[..., subprocess.CompletedProcess[bytes]]
ECHO = ("--engine", "echo")


@pytest.fixture
def chats_file(luci_env: dict[str, str]) -> Path:
    return Path(luci_env["LUCI_HOME"]) / "chats.db"


@pytest.fixture
def chat_id(chats_file: Path) -> str:
    """Give a chat about rivers that was stored before the command runs."""
    store = ChatStore(chats_file)
    chat = store.create(title="Rivers", model="any.gguf")
    told(store, chat, ("Where does the Rhine begin?", "At the Toma lake."))
    store.close()
    return chat.id


def failed(run: subprocess.CompletedProcess[bytes]) -> str:
    assert (run.returncode, run.stdout) == (2, b"")
    (line,) = run.stderr.decode().splitlines()
    return line


def test_ask_answers_and_keeps_the_chat(luci: Luci, chats_file: Path) -> None:
    run = luci(*ECHO, "ask", "--model", "any.gguf", "say this")
    assert (run.returncode, run.stdout, run.stderr) == (0, b"say this\n", b"")
    again = luci(*ECHO, "ask", "--last", "--json", "--seed", "5", stdin=b"and that")
    answer = json.loads(again.stdout)
    assert (answer["text"], answer["seed"], answer["model"]) == ("and that", 5, "any")
    assert answer["context"]["n_sent"] == 3
    assert luci("host", "stop").returncode == 0
    store = ChatStore(chats_file)
    opened = store.open(answer["chat"])
    store.close()
    assert [m.text for m in opened.messages] == ["say this", "say this", "and that", "and that"]
    (log,) = (chats_file.parent / "logs" / "chats").iterdir()
    assert b"say this" not in log.read_bytes()
    assert log.read_bytes().count(b"\n") == 4


def test_ask_resumes_an_answer_that_was_broken_off(
    luci: Luci, chats_file: Path, chat_id: str
) -> None:
    assert "nothing to resume" in failed(luci(*ECHO, "ask", "--resume"))
    assert luci("host", "stop").returncode == 0
    store = ChatStore(chats_file)
    leaf = store.session(chat_id).active_leaf_id
    _, reply = store.begin_turn(chat_id, "once more", parent_id=leaf, model="any.gguf")
    store.append(chat_id, reply.id, "onc")
    store.close()
    run = luci(*ECHO, "ask", "--resume", "--chat", chat_id[:5])
    assert (run.returncode, run.stdout) == (0, b"once more\n")
    assert luci("host", "stop").returncode == 0
    store = ChatStore(chats_file)
    states = [m.state for m in store.messages(chat_id)][-2:]
    store.close()
    assert states == [MessageState.INTERRUPTED, MessageState.COMPLETE]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--last", "--new", "x"), "exclude each other"),
        (("--resume", "x"), "takes no prompt"),
        (("--chat", "nope", "x"), 'no chat "nope"'),
        (("--last", "x"), "There is no chat yet"),
        ((" ",), "PROMPT is empty"),
    ],
)
def test_ask_used_wrongly_is_refused_in_one_sentence(
    luci: Luci, arguments: tuple[str, ...], words: str
) -> None:
    assert words in failed(luci(*ECHO, "ask", *arguments))


def test_chat_list_and_search(luci: Luci, chat_id: str) -> None:
    line = luci("chat", "list").stdout.decode()
    assert line.startswith(chat_id)
    assert line.endswith("Rivers\n")
    (row,) = json.loads(luci("chat", "list", "--json").stdout)
    assert (row["session"]["id"], row["n_messages"]) == (chat_id, 2)
    assert (row["cost"]["n_answers"], row["cost"]["energy"]["value"]) == (0, None)
    hit = luci("chat", "search", "toma", "lake").stdout.decode()
    assert "Rivers: At the Toma lake." in hit
    (found,) = json.loads(luci("chat", "search", "toma", "--json").stdout)
    assert found["marks"] == [[7, 11]]
    missed = luci("chat", "search", '"unheard of (')
    assert (missed.returncode, missed.stderr) == (1, b"Nothing was found.\n")


def test_chat_show_prints_markdown_and_the_cost(luci: Luci, chat_id: str) -> None:
    run = luci("chat", "show", chat_id[:4])
    assert luci("chat", "show", "last").stdout == run.stdout
    assert b"## You\n\nWhere does the Rhine begin?\n" in run.stdout
    assert b"0 answers, 0 prompt tokens" in run.stderr
    whole = json.loads(luci("chat", "show", chat_id, "--json", "--watts", "50").stdout)
    assert [message["text"] for message in whole["messages"]][1] == "At the Toma lake."
    assert whole["cost"]["energy"]["value"] == 0
    assert whole["cost"]["energy_money"]["value"] is None


def test_chat_export_import_and_delete(luci: Luci, chat_id: str, tmp_path: Path) -> None:
    file = tmp_path / "rivers.json"
    assert luci("chat", "export", chat_id, str(file)).returncode == 0
    assert "exists already" in failed(luci("chat", "export", chat_id, str(file)))
    assert luci("chat", "export", chat_id, "--format", "json").stdout == file.read_bytes()
    assert luci("chat", "export", chat_id).stdout.startswith(b"# Rivers\n")
    assert "Give --yes" in failed(luci("chat", "delete", chat_id))
    assert luci("chat", "delete", "--yes", chat_id).returncode == 0
    assert luci("chat", "list").stdout == b""
    assert luci("chat", "import", str(file)).stdout.decode() == f"{chat_id}  Rivers\n"
    assert luci("chat", "export", chat_id, "--format", "json").stdout == file.read_bytes()
    assert list(tmp_path.glob(".*part*")) == []


def test_chat_import_of_a_hostile_file_is_refused(luci: Luci) -> None:
    assert "not valid JSON" in failed(luci("chat", "import", "-", stdin=b"[" * 5000))
    assert "cannot be read" in failed(luci("chat", "import", "/nowhere.json"))


def test_chat_rename(luci: Luci, chat_id: str) -> None:
    assert luci("chat", "rename", chat_id, "Streams").stdout.decode() == f"{chat_id}  Streams\n"
    named = json.loads(luci("chat", "rename", chat_id, "", "--json").stdout)
    assert (named["title"], named["is_title_set"]) == ("Where does the Rhine begin?", False)


def test_chat_inline_answers_line_by_line(luci: Luci, chats_file: Path) -> None:
    lines = b"one\n/nope\n\ntwo \\\nlines\n/title Mine\n/again\n/new\nthree\n/quit\nnever\n"
    run = luci(*ECHO, "chat", "--inline", "--model", "any.gguf", stdin=lines)
    assert run.returncode == 0
    assert run.stdout.decode().split("\n") == ["one", "two ", "lines", "two ", "lines", "three", ""]
    assert b"There is no /nope" in run.stderr
    assert luci("host", "stop").returncode == 0
    store = ChatStore(chats_file)
    sessions = {row.session.title: row for row in store.chats()}
    store.close()
    assert {title: row.n_messages for title, row in sessions.items()} == {"Mine": 5, "three": 2}


def test_chat_inline_goes_on_in_a_chat_and_after_an_error(luci: Luci, chat_id: str) -> None:
    stdin = b"x" * 5000 + b"\nshort\n"
    run = luci(*ECHO, "chat", "--inline", "--chat", chat_id, stdin=stdin)
    assert (run.returncode, run.stdout) == (0, b"short\n")
    assert b"does not fit: your message has 5000 tokens" in run.stderr


def test_chats_that_another_luci_holds_are_refused(
    luci: Luci, chats_file: Path, chat_id: str
) -> None:
    store = ChatStore(chats_file)
    sentence = failed(luci("chat", "show", chat_id))
    store.close()
    assert "held by another luci" in sentence


def test_damaged_chats_are_mended_and_the_command_goes_on(
    luci: Luci, chats_file: Path, chat_id: str
) -> None:
    with chats_file.open("r+b") as file:
        file.write(b"garbage!" * 512)
    run = luci("chat", "list")
    assert run.returncode == 0
    assert chat_id in run.stdout.decode()
    assert b"was damaged" in run.stderr


def test_notice_of_the_host_is_told_once_and_stays_in_its_status(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    (Path(luci_env["LUCI_HOME"]) / "host.db").write_bytes(b"no database " * 100)
    first = luci(*ECHO, "chat", "list")
    assert (first.returncode, first.stderr.count(b"host.db.corrupt-")) == (0, 1)
    assert luci(*ECHO, "chat", "list").stderr.startswith(b"There are no chats yet. ")
    assert luci(*ECHO, "ask", "--model", "any.gguf", "say this").stderr == b""
    assert b"host.db.corrupt-" in luci("host", "status").stdout


def test_ask_with_a_preset_begins_a_chat_that_keeps_it(
    luci: Luci, chats_file: Path, luci_env: dict[str, str]
) -> None:
    own = Path(luci_env["LUCI_HOME"]) / "presets.toml"
    own.write_text('[preset.terse]\nsystem = "One word."\nsampling = { top_k = 3 }\n')
    run = luci(*ECHO, "ask", "--model", "any.gguf", "--preset", "terse", "say this")
    assert (run.returncode, run.stdout) == (0, b"say this\n")
    assert "--preset is for a new chat" in failed(luci("ask", "--last", "--preset", "terse", "x"))
    assert 'no preset "nobody"' in failed(luci("ask", "--preset", "nobody", "x"))
    assert luci("host", "stop").returncode == 0
    store = ChatStore(chats_file)
    (row,) = store.chats(is_archived=False, limit=2)
    store.close()
    assert row.session.system == "One word."
    assert row.session.parameters.sampling_changes == {"top_k": 3}


def test_presets_with_a_fault_then_the_rest_is_listed_and_the_line_is_told(
    luci: Luci, luci_env: dict[str, str]
) -> None:
    own = Path(luci_env["LUCI_HOME"]) / "presets.toml"
    own.write_text('[preset.terse]\nsystem = "One word."\n[preset.bad]\nwarmth = 1\n')
    run = luci("presets", "list", "--json")
    assert run.returncode == 1
    assert next(iter(json.loads(run.stdout)["presets"]))["name"] == "terse"
    assert f"{own}, line 4: preset" in run.stderr.decode()
    shown = luci("presets", "show", "TERSE").stdout.decode()
    assert shown == '[preset.terse]\nsystem = "One word."\n'
