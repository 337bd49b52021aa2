from pathlib import Path

import jinja2
import pytest
from gguf import GGUFReader

MODEL = Path(__file__).parents[2] / "models" / "builtin" / "luci-shell.gguf"


@pytest.fixture(scope="module")
def fields():
    reader = GGUFReader(MODEL)
    return {name: field.contents() for name, field in reader.fields.items()}


def test_model_file_is_small_enough_to_be_committed():
    assert MODEL.stat().st_size < 8_000_000


def test_model_file_names_itself_and_its_licence(fields):
    assert fields["general.name"] == "luci builtin shell"
    assert fields["general.license"] == "mit"
    assert fields["general.architecture"] == "llama"


def test_model_file_has_a_sentencepiece_vocabulary_without_prefix_space(fields):
    assert fields["tokenizer.ggml.model"] == "llama"
    assert fields["tokenizer.ggml.add_space_prefix"] is False
    assert fields["tokenizer.ggml.add_bos_token"] is True
    assert len(fields["tokenizer.ggml.tokens"]) == 2048


def test_model_file_renders_a_chat_to_what_training_saw(fields):
    template = jinja2.Environment().from_string(fields["tokenizer.chat_template"])
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "list the files"},
    ]
    text = template.render(
        messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=True
    )
    assert text == "<s><|user|>list the files<|assistant|>"
