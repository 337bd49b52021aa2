"""From a folder of weights to an answer, with tiny models that transformers and peft make."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from luci_tui.library.compare import DEFAULT_TEXT
from tests.support import core
from tests.support.hub import running_hub
from tests.support.hub_use import hub_env

Luci = Callable[..., subprocess.CompletedProcess[bytes]]

pytestmark = [pytest.mark.native, pytest.mark.convert, pytest.mark.timeout(600)]

LIMIT_S = 300.0
TIE = 1e-3
TYPES = ("Q2_K", "Q3_K_M", "Q4_K_M", "Q5_K_M", "Q8_0")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a model for each shape, and a LoRA adapter for the llama."""
    folder = tmp_path_factory.mktemp("sources")
    # torch and its kind warn of much, and warnings are errors here: a process of their own.
    command = [sys.executable, "-m", "tests.support.hf_models", str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=LIMIT_S)
    return folder


@pytest.fixture
def luci(luci_env: dict[str, str]) -> Luci:
    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "luci_tui", *arguments]
        return subprocess.run(
            command, capture_output=True, env=luci_env, timeout=LIMIT_S, check=False
        )

    return run


def document(run: subprocess.CompletedProcess[bytes], code: int = 0) -> dict[str, Any]:
    assert run.returncode == code, run.stderr.decode()
    return cast("dict[str, Any]", json.loads(run.stdout))


def converted(luci: Luci, source: Path, folder: Path, code: int = 0) -> tuple[Path, dict[str, Any]]:
    path = folder / f"{source.name}-F16.gguf"
    result = document(luci("convert", str(source), str(path), "--json"), code)
    assert result["path"] == str(path)
    assert result["n_warnings"] == 0
    assert sorted(one.name for one in folder.iterdir()) == [path.name, f"{path.stem}.md"]
    return path, result


def quantized(luci: Luci, source: Path) -> list[Path]:
    first = document(luci("quantize", str(source), "--all", "--json"))
    again = document(luci("quantize", str(source), "--all", "--json"))
    assert [one["type"] for one in first["files"]] == list(TYPES)
    assert [one["was_kept"] for one in first["files"]] == [False] * 5
    assert [one["was_kept"] for one in again["files"]] == [True] * 5
    # Every row is 256 long, so that no tensor has to take another type.
    assert not any(one["fallbacks"] for one in first["files"])
    return [Path(one["path"]) for one in first["files"]]


def compared(luci: Luci, models: list[Path], loss: str) -> list[dict[str, Any]]:
    picture = models[0].with_name("compared.svg")
    names = [str(model) for model in models]
    run = luci("compare", *names, "--n-ctx", "128", "--json", "--plot", str(picture))
    table = document(run)
    assert table["base"] == names[0]
    assert table["text"] == "compare_text.txt"
    assert picture.read_text().startswith("<svg")
    rows = [row["scored"] for row in table["rows"]]
    losses = [row[loss] for row in rows[1:]]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] > 0
    return rows


def enabled(luci: Luci, model: Path, env: dict[str, str]) -> str:
    """Drop a model where custom models lie, enable it, and return its name."""
    folder = Path(env["LUCI_HOME"]) / "models" / "custom_models"
    folder.mkdir(exist_ok=True)
    shutil.copy(model, folder)
    run = luci("llm", "enable", model.stem)
    assert run.returncode == 0, run.stderr
    return model.stem


def check_tokens(result: dict[str, Any]) -> None:
    assert result["check"]["n_strings"] >= 1000
    assert result["check"]["differences"] == []
    assert result["check"]["n_different"] == 0
    assert result["check"]["n_different_specials"] == 0


@pytest.mark.parametrize("shape", ["llama", "gpt2"])
def test_generating_model_goes_from_weights_to_an_answer(
    luci: Luci, luci_env: dict[str, str], sources: Path, tmp_path: Path, shape: str
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    path, result = converted(luci, sources / shape, folder)
    check_tokens(result)
    predictions = result["check"]["predictions"]
    assert (predictions["what"], predictions["n_prompts"]) == ("logits", 4)
    assert predictions["max_difference"] < 0.1
    assert predictions["top_agreement"] > 0.95
    assert "give the tokens of the source's tokenizer" in path.with_suffix(".md").read_text()
    assert luci("validate", str(path)).returncode == 0
    small = quantized(luci, path)
    rows = compared(luci, [path, *small], "mean_kld")
    assert all(row["perplexity"] > 1 and row["decode_rate"] > 0 for row in rows)
    name = enabled(luci, small[2], luci_env)
    answer = luci("run", name, "the ferry", "--raw", "--max-tokens", "8", "--json")
    assert document(answer)["usage"]["completion_tokens"] > 0


def test_bert_goes_from_weights_to_an_embedding(
    luci: Luci, luci_env: dict[str, str], sources: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    # llama.cpp drops combining marks that BERT keeps, and luci says so: the exit code is 1.
    path, result = converted(luci, sources / "bert", folder, code=1)
    check = result["check"]
    assert 0 < check["n_different"] < 0.03 * check["n_strings"]
    assert all("\u20e3" in one["text"] for one in check["differences"])
    assert check["n_different_specials"] == 0
    assert check["predictions"]["what"] == "embeddings"
    assert check["predictions"]["top_agreement"] > 0.9999
    assert luci("validate", str(path)).returncode == 0
    small = quantized(luci, path)
    compared(luci, [path, *small], "embedding_distance")
    name = enabled(luci, small[-1], luci_env)
    (vector,) = document(luci("embed", name, "the ferry", "--json"))["vectors"]
    assert len(vector) == 256


def test_t5_goes_from_weights_to_an_answer(
    luci: Luci, luci_env: dict[str, str], sources: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    path, result = converted(luci, sources / "t5", folder)
    check_tokens(result)
    assert result["check"]["predictions"]["max_difference"] < 0.1
    assert luci("validate", str(path)).returncode == 0
    small = quantized(luci, path)
    rows = compared(luci, [path, *small], "mean_kld")
    assert all(row["perplexity"] > 1 and row["decode_rate"] > 0 for row in rows)
    name = enabled(luci, small[2], luci_env)
    for raw in ((), ("--raw",)):
        answer = luci("run", name, "the ferry", *raw, "--max-tokens", "8", "--json")
        assert document(answer)["usage"]["completion_tokens"] > 0


def test_t5_answers_with_the_tokens_of_transformers(
    luci: Luci, sources: Path, tmp_path: Path
) -> None:
    path = tmp_path / "t5-F32.gguf"
    assert luci("convert", str(sources / "t5"), str(path), "--outtype", "f32").returncode == 0
    engine = core.load(path, n_ctx=256)
    texts = ("the ferry", "What is on the list?", *DEFAULT_TEXT.read_text().splitlines()[:40])
    prompts = [engine.tokenize(text, True, False) for text in texts if text.strip()]
    program = [sys.executable, "-m", "tests.support.hf_greedy", str(sources / "t5"), "32"]
    asked = json.dumps(prompts).encode()
    run = subprocess.run(program, input=asked, capture_output=True, timeout=LIMIT_S, check=False)
    n_compared = 0
    for prompt, wanted in zip(prompts, document(run), strict=True):
        made = core.request(prompt, max_tokens=32, sampling={"ignore_eos": False})
        found = core.answer(engine, made).tokens
        pairs = zip(found, wanted["tokens"], strict=False)
        n_same = len(list(itertools.takewhile(lambda pair: pair[0] == pair[1], pairs)))
        n_compared += n_same
        # Two logits that are all but equal may come out either way round.
        is_tie = n_same < len(wanted["margins"]) and wanted["margins"][n_same] < TIE
        assert is_tie or found == wanted["tokens"]
    assert n_compared > 500


def test_peft_adapter_is_converted_and_changes_the_answer(
    luci: Luci, sources: Path, tmp_path: Path
) -> None:
    base, adapter = tmp_path / "base.gguf", tmp_path / "adapter.gguf"
    assert luci("convert", str(sources / "llama"), str(base)).returncode == 0
    refused = luci("convert", str(sources / "adapter"), str(adapter))
    assert (refused.returncode, refused.stderr.count(b"--lora BASE")) == (2, 1)
    command = ("convert", str(sources / "adapter"), str(adapter), "--lora", str(sources / "llama"))
    result = document(luci(*command, "--outtype", "f32", "--json"))
    assert (result["source_kind"], result["architecture"]) == ("lora", "llama")
    asked = ("run", str(base), "the ferry", "--raw", "--max-tokens", "12", "--temperature", "0")
    plain = document(luci(*asked, "--json"))["text"]
    adapted = document(luci(*asked, "--json", "--lora", str(adapter)))["text"]
    without = document(luci(*asked, "--json", "--lora", f"{adapter}=0"))["text"]
    assert plain == without
    assert plain != adapted


def test_model_in_several_files_and_types_is_converted_by_the_host(
    luci: Luci, sources: Path, tmp_path: Path
) -> None:
    output = tmp_path / "small.gguf"
    command = ("convert", str(sources / "sharded"), str(output), "--outtype", "q8_0")
    job = luci(*command, "--background").stdout.decode().strip()
    assert luci("jobs", "attach", job).returncode == 0
    shown = document(luci("jobs", "show", job, "--json"))
    assert shown["kind"] == "convert"
    assert shown["result"]["check"]["n_different"] == 0
    assert output.stat().st_size == shown["result"]["size_bytes"]


async def test_repository_is_fetched_and_converted(sources: Path, tmp_path: Path) -> None:
    files = {path.name: path.read_bytes() for path in (sources / "llama").iterdir()}
    output = tmp_path / "tiny.gguf"
    async with running_hub() as fake:
        fake.add_repo("org/tiny", files)
        command = [sys.executable, "-m", "luci_tui", "convert", "hf:org/tiny", str(output)]
        run = await asyncio.to_thread(
            subprocess.run,
            [*command, "--json"],
            env=hub_env(fake, tmp_path),
            capture_output=True,
            timeout=LIMIT_S,
        )
    result = document(run)
    check_tokens(result)
    assert result["origin"] == "hf:org/tiny"
    assert "base_model: org/tiny" in output.with_suffix(".md").read_text().replace('"', "")


def test_model_with_code_of_its_own_is_not_run(luci: Luci, sources: Path, tmp_path: Path) -> None:
    source = tmp_path / "evil"
    shutil.copytree(sources / "gpt2", source)
    mark = tmp_path / "was_run"
    (source / "own.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass Own: pass\n")
    settings = json.loads((source / "tokenizer_config.json").read_text())
    settings |= {"auto_map": {"AutoTokenizer": ["own.Own", None]}, "tokenizer_class": "Own"}
    (source / "tokenizer_config.json").write_text(json.dumps(settings))
    config = json.loads((source / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "own.Own"}, "model_type": "own"}
    (source / "config.json").write_text(json.dumps(config))
    run = luci("convert", str(source), str(tmp_path / "evil.gguf"))
    assert not mark.exists()
    assert run.returncode == 2
    assert b"Python code of its own" in run.stderr


class _Evil:
    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (self._path, "w")


def test_pickle_that_holds_more_than_weights_is_not_loaded(
    luci: Luci, sources: Path, tmp_path: Path
) -> None:
    source, mark = tmp_path / "evil", tmp_path / "was_run"
    shutil.copytree(sources / "gpt2", source)
    (source / "model.safetensors").unlink()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": _Evil(str(mark))}, protocol=2))
        archive.writestr("archive/version", "3\n")
    (source / "pytorch_model.bin").write_bytes(content.getvalue())
    run = luci("convert", str(source), str(tmp_path / "evil.gguf"))
    assert not mark.exists()
    assert run.returncode == 2
    assert b"could run any code" in run.stderr
    assert not list(tmp_path.glob("evil.gguf*"))


def test_pickled_weights_are_converted(luci: Luci, sources: Path, tmp_path: Path) -> None:
    result = document(
        luci("convert", str(sources / "pickled"), str(tmp_path / "pickled.gguf"), "--json")
    )
    check_tokens(result)


def test_convert_refuses_in_one_sentence_and_leaves_nothing(
    luci: Luci, sources: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.gguf"
    output.touch()
    for command, words in (
        (("convert", str(sources / "llama"), str(output)), b"is there already"),
        (("convert", str(sources / "llama"), str(tmp_path / "out.bin")), b"end in .gguf"),
        (("convert", str(sources / "llama"), str(tmp_path / "no" / "a.gguf")), b"no folder"),
        (("convert", str(sources), str(tmp_path / "a.gguf")), b"no config.json"),
        (("convert", str(tmp_path / "none"), str(tmp_path / "a.gguf")), b"There is no folder"),
    ):
        run = luci(*command)
        assert run.returncode == 2
        assert words in run.stderr
        assert len(run.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name != "home"] == ["out.gguf"]


def test_converter_that_is_killed_leaves_nothing(
    luci_env: dict[str, str], sources: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "luci_tui", "convert", str(sources / "llama")]
    output = tmp_path / "killed.gguf"
    program = subprocess.Popen(
        [*command, str(output)], env=luci_env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not list(tmp_path.glob("killed.gguf.part-*")):
        assert program.poll() is None
        os.sched_yield()
    program.terminate()
    program.wait(60)
    again = subprocess.run([*command, str(output)], env=luci_env, check=False, capture_output=True)
    assert again.returncode == 0, again.stderr
    assert sorted(path.name for path in tmp_path.glob("killed*")) == ["killed.gguf", "killed.md"]
