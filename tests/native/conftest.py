from pathlib import Path

import pytest

from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.tiny_vocab import CHATML_TEMPLATE


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def llama(model_dir: Path) -> Path:
    return write_arch_model(TinyArch.LLAMA, model_dir / "llama.gguf", chat_template=CHATML_TEMPLATE)
