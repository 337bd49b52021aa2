from pathlib import Path

import pytest
import yaml

from luci_tui import paths
from luci_tui.chat.decline import is_decline
from luci_tui.errors import ConfigError
from luci_tui.host.wiring import DEFAULT_N_CTX, EngineKind, choose_model, reviewer
from tests.support.arch_models import N_CTX_TRAIN, TinyArch, write_arch_model


def test_context_follows_the_models_training_unless_it_is_asked_for(tmp_path: Path) -> None:
    model = str(write_arch_model(TinyArch.LLAMA, tmp_path / "tiny.gguf"))
    assert choose_model(model).load.n_ctx == N_CTX_TRAIN
    assert choose_model(model, n_ctx=77).load.n_ctx == 77
    assert choose_model(str(tmp_path / "missing.gguf")).load.n_ctx == DEFAULT_N_CTX


def test_model_is_shown_by_its_file_name() -> None:
    chosen = choose_model("~/models/a.gguf")
    assert chosen.label == "a.gguf"
    assert chosen.load.model_path == str(Path.home() / "models" / "a.gguf")
    assert chosen.sampling.temperature > 0
    assert reviewer(chosen) is None


def test_builtin_model_answers_with_commands_and_without_chance() -> None:
    chosen = choose_model("builtin", kind=EngineKind.ECHO)
    assert chosen.answers_with_command
    assert chosen.sampling.temperature == 0
    assert chosen.load.model_path.endswith(f"builtin/{paths.BUILTIN_MODEL_FILE}")


def test_option_with_a_bad_value_is_named() -> None:
    with pytest.raises(ConfigError, match="--n-threads -1 cannot be used"):
        choose_model("a.gguf", n_threads=-1)


def test_home_folder_is_luci_home_or_in_the_users_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    assert paths.logs_folder() == tmp_path / "logs"
    monkeypatch.setenv("LUCI_HOME", " ")
    assert paths.luci_home() == Path.home() / ".luciferai"
    monkeypatch.setenv("LUCI_HOME", "~/elsewhere")
    assert paths.models_folder() == Path.home() / "elsewhere" / "models"


def test_answer_of_the_builtin_model_is_reviewed_but_its_refusal_is_not() -> None:
    review = reviewer(choose_model("builtin", kind=EngineKind.ECHO))
    assert review is not None
    assert review("list the files in src", "ls src") == ()
    assert review("list the files in src", "ls srcs") == ("srcs",)
    intents = Path("luci_tui/training/builtin/intents.yaml").read_text(encoding="utf-8")
    refusal = yaml.safe_load(intents)["decline_sentence"]
    assert is_decline(refusal)
    assert review("tell me a joke", refusal) == ()
