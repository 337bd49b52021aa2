from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import gguf
import pytest

from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.gguf_files import write_keys, write_split
from tests.support.tiny_vocab import CHATML_TEMPLATE, TINY_SPM

Luci = Callable[..., subprocess.CompletedProcess[bytes]]
EVIL = "x\x1b]0;title\x07\u202ey"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.gguf"
    return write_arch_model(TinyArch.LLAMA, path, chat_template=CHATML_TEMPLATE)


def test_inspect_says_first_what_a_person_wants_to_know(luci: Luci, model: Path) -> None:
    run = luci("inspect", str(model))
    assert run.returncode == 0, run.stderr
    text = run.stdout.decode()
    for words in (
        "architecture   llama",
        "bits per weight",
        "2048 tokens in training",
        "eos 2 </s>",
        "handles plain turns only",
        "KV cache",
    ):
        assert words in text
    assert "blk.0" not in text
    assert all(len(line) <= 80 for line in text.splitlines() if not line.startswith("file"))


def test_inspect_with_everything_in_json_prints_one_object(luci: Luci, model: Path) -> None:
    options = ("--json", "--tensors", "--metadata", "--template", "--tensor", "output_norm.weight")
    run = luci("inspect", str(model), *options)
    found = json.loads(run.stdout)
    reader = gguf.GGUFReader(model)
    assert [one["name"] for one in found["tensors"]] == [tensor.name for tensor in reader.tensors]
    assert found["template"] == CHATML_TEMPLATE
    assert found["metadata"]["llama.context_length"] == 2048
    assert found["metadata"]["tokenizer.ggml.tokens"]["count"] == len(TINY_SPM.texts)
    assert found["tensor"]["n_values"] == 64
    assert found["memory"][0]["total_bytes"] > found["memory"][0]["weights_bytes"]
    assert found["tokenizer"]["model"] == "llama"


def test_inspect_prints_a_long_value_whole(luci: Luci, model: Path) -> None:
    run = luci("inspect", str(model), "--key", "tokenizer.ggml.tokens", "--json")
    assert json.loads(run.stdout) == list(TINY_SPM.texts)
    lines = luci("inspect", str(model), "--key", "tokenizer.ggml.scores").stdout.splitlines()
    assert len(lines) == len(TINY_SPM.texts)
    missing = luci("inspect", str(model), "--key", "no.key")
    assert (missing.returncode, missing.stdout) == (2, b"")
    assert b"has no key no.key" in missing.stderr


def test_inspect_shows_control_and_bidi_characters_escaped(luci: Luci, tmp_path: Path) -> None:
    keys = {"general.name": EVIL, "tokenizer.chat_template": EVIL, EVIL: EVIL}
    path = write_keys(tmp_path / "evil.gguf", "llama", keys)
    for options in ((), ("--metadata",), ("--template",), ("--key", "general.name")):
        shown = luci("inspect", str(path), *options).stdout.decode()
        assert "x\\x1b]0;title\\x07\\u202ey" in shown
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)


def test_inspect_shows_a_split_set_as_one_model(luci: Luci, tmp_path: Path) -> None:
    path = write_split(tmp_path, n_shards=3)
    shown = luci("inspect", str(path)).stdout.decode()
    assert "in 3 files, 3 tensors" in shown
    assert "in file 3" in luci("inspect", str(path), "--tensors").stdout.decode()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b"GGUF\x03\0\0\0", "is cut off"), (b"<html>", "web page")],
)
def test_inspect_of_a_bad_file_is_one_sentence(
    luci: Luci, tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(content)
    run = luci("inspect", str(path))
    assert (run.returncode, run.stdout) == (2, b"")
    assert words in run.stderr.decode()
    assert len(run.stderr.decode().splitlines()) == 1


def test_inspect_against_a_source_prints_a_table(luci: Luci, model: Path, tmp_path: Path) -> None:
    other = write_arch_model(TinyArch.LLAMA, tmp_path / "other.gguf", seed=2)
    lines = luci("inspect", str(model), "--against", str(other)).stdout.decode().splitlines()
    assert lines[0].split() == ["tensor", "from", "to", "RMSE", "relative", "cosine", "largest"]
    assert len(lines) == 2 + len(gguf.GGUFReader(model).tensors)
    same = luci("inspect", str(model), "--against", str(model), "--json")
    assert json.loads(same.stdout)["comparison"]["whole"]["cosine"] == 1.0


def test_inspect_with_exact_agrees_with_the_formula(luci: Luci, model: Path) -> None:
    exact, formula = (
        json.loads(luci("inspect", str(model), "--json", "--n-ctx", "1024", *more).stdout)["memory"]
        for more in (("--exact",), ())
    )
    assert exact[0]["kv_bytes"] == formula[0]["kv_bytes"]
    assert exact[0]["total_bytes"] == pytest.approx(formula[0]["total_bytes"], rel=0.05)


def test_inspect_imports_nothing_that_it_does_not_need(
    luci_env: dict[str, str], model: Path
) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "luci_tui", "inspect", str(model)],
        capture_output=True,
        env=luci_env,
        timeout=60,
        check=True,
    )
    imported = {line.rpartition(b"|")[2].strip() for line in run.stderr.splitlines()}
    assert imported.isdisjoint({b"asyncio", b"numpy", b"textual", b"luci_tui._native"})
