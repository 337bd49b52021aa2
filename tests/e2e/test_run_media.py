"""`luci run` with images, in a worker with a real, tiny model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Luci
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.projectors import TinyProjector, png, wav, write_projector
from tests.support.tiny_vocab import CHATML_TEMPLATE

pytestmark = pytest.mark.native


@pytest.fixture
def words(tmp_path: Path) -> tuple[str, ...]:
    """Return a command that asks a model with a projector."""
    model = write_arch_model(TinyArch.LLAMA, tmp_path / "model.gguf", chat_template=CHATML_TEMPLATE)
    projector = write_projector(TinyProjector.LLAVA, tmp_path / "mmproj.gguf")
    options = ("--temperature", "0", "--max-tokens", "8", "--n-ctx", "256", "--json")
    return "run", str(model), "the letters", "--mmproj", str(projector), *options


def test_run_given_an_image_then_the_answer_depends_on_it(
    luci: Luci, words: tuple[str, ...], tmp_path: Path
) -> None:
    answers: list[Any] = []
    for seed in (1, 2):
        path = tmp_path / f"{seed}.png"
        path.write_bytes(png(seed=seed))
        done = luci(*words, "--image", str(path))
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    first, second = answers
    assert first["usage"]["prompt_tokens"] == second["usage"]["prompt_tokens"] > 16
    assert first["text"] != second["text"]


def test_run_given_a_file_that_is_no_image_then_one_sentence(
    luci: Luci, words: tuple[str, ...], tmp_path: Path
) -> None:
    sound = tmp_path / "tone.wav"
    sound.write_bytes(wav())
    cases = {
        ("--image", str(sound)): "is no PNG",
        ("--image", str(tmp_path / "gone.png")): "cannot be read",
        ("--audio", str(sound)): "takes no sound",
    }
    for options, said in cases.items():
        done = luci(*words, *options)
        assert done.returncode == 2
        assert done.stderr.decode().count("\n") == 1
        assert said in done.stderr.decode()
        assert done.stdout == b""
