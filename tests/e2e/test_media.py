"""Images and sound through the whole way: worker, HTTP APIs, and the shell."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest
import pytest_asyncio
from anthropic import AsyncAnthropic

from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.process import WorkerEngine
from luci_tui.errors import ModelLoadError
from tests.support.api_server import KEY, Shelf, serving
from tests.support.arch_models import write_arch_model
from tests.support.projectors import ARCH_OF, TinyProjector, png, wav, write_projector
from tests.support.tiny_vocab import CHATML_TEMPLATE

pytestmark = [pytest.mark.native, pytest.mark.asyncio(loop_scope="module")]

N_ANSWER = 10
KINDS = (TinyProjector.LLAVA, TinyProjector.QWEN2VL, TinyProjector.ULTRAVOX)


def load_spec(folder: Path, kind: TinyProjector) -> LoadSpec:
    arch = ARCH_OF[kind]
    model = folder / f"{arch.value}.gguf"
    if not model.exists():
        write_arch_model(arch, model, chat_template=CHATML_TEMPLATE)
    projector = write_projector(kind, folder / f"{kind.value}.gguf")
    return LoadSpec(
        model_path=str(model), mmproj_path=str(projector), n_ctx=1024, n_slots=2, n_threads=1
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    folder = tmp_path_factory.mktemp("media")
    shelf = Shelf()
    try:
        for kind in KINDS:
            engine = WorkerEngine(folder / f"{kind.value}.log")
            info = await shelf.add(kind.name.lower(), engine, spec=load_spec(folder, kind))
            assert info.takes_images == (kind is not TinyProjector.ULTRAVOX)
            assert info.takes_audio == (kind is TinyProjector.ULTRAVOX)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LUCI_HOME", str(folder / "home"))
            async with serving(shelf) as server:
                yield server.url
    finally:
        for lease in shelf.leases.values():
            await lease.engine.close()


def data_uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def image_part(seed: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": data_uri(png(seed=seed))}}


def audio_part(hertz: float) -> dict[str, Any]:
    data = base64.b64encode(wav(hertz=hertz)).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


GREEDY: dict[str, Any] = {
    "max_tokens": N_ANSWER,
    "temperature": 0,
    "extra_body": {"ignore_eos": True},
}


async def chat(client: openai.AsyncOpenAI, model: str, *parts: dict[str, Any]) -> tuple[str, int]:
    """Give (the answer, the tokens of its prompt)."""
    content: Any = [{"type": "text", "text": "the letters "}, *parts]
    answer = await client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": content}], **GREEDY
    )
    assert answer.usage is not None
    return answer.choices[0].message.content or "", answer.usage.prompt_tokens


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as made:
        yield made


@pytest.mark.parametrize("model", ["llava", "qwen2vl"])
async def test_chat_given_an_image_then_the_answer_depends_on_it(
    client: openai.AsyncOpenAI, model: str
) -> None:
    text, n_text = await chat(client, model)
    one, n_one = await chat(client, model, image_part(1))
    two, n_two = await chat(client, model, image_part(2))
    again, _ = await chat(client, model, image_part(1))
    assert one == again
    assert len({text, one, two}) == 3
    assert n_one == n_two > n_text + 8


async def test_chat_given_sound_then_the_answer_depends_on_it(client: openai.AsyncOpenAI) -> None:
    low, n_low = await chat(client, "ultravox", audio_part(300))
    high, n_high = await chat(client, "ultravox", audio_part(2500))
    assert low != high
    assert n_low == n_high > 8


async def test_streamed_answer_to_an_image_is_the_whole_one(client: openai.AsyncOpenAI) -> None:
    whole, _ = await chat(client, "llava", image_part(1))
    content: Any = [{"type": "text", "text": "the letters "}, image_part(1)]
    stream = await client.chat.completions.create(
        model="llava", messages=[{"role": "user", "content": content}], stream=True, **GREEDY
    )
    pieces = [event.choices[0].delta.content or "" async for event in stream if event.choices]
    assert "".join(pieces) == whole


async def test_model_without_ears_then_a_sound_is_refused(client: openai.AsyncOpenAI) -> None:
    for model, part in (("llava", audio_part(300)), ("ultravox", image_part(1))):
        with pytest.raises(openai.BadRequestError) as caught:
            await chat(client, model, part)
        assert caught.value.code == "media_not_supported"
        assert caught.value.param == "messages"


async def test_image_that_is_cut_short_is_refused_and_the_next_one_answered(
    client: openai.AsyncOpenAI,
) -> None:
    part: dict[str, Any] = {"type": "image_url", "image_url": {"url": data_uri(png()[:80])}}
    with pytest.raises(openai.BadRequestError) as caught:
        await chat(client, "llava", part)
    assert caught.value.code == "invalid_image"
    assert await chat(client, "llava", image_part(1))


async def test_responses_given_an_image_then_it_is_the_answer_of_chat(
    client: openai.AsyncOpenAI,
) -> None:
    content: Any = [
        {"type": "input_text", "text": "the letters "},
        {"type": "input_image", "image_url": data_uri(png(seed=1)), "detail": "auto"},
    ]
    answers = {
        seed: await client.responses.create(
            model="llava",
            input=[{"role": "user", "content": content}],
            max_output_tokens=N_ANSWER,
            temperature=0,
        )
        for seed in (1, 2)
    }
    assert answers[1].usage is not None
    assert answers[1].usage.input_tokens > 16
    assert answers[1].output_text == answers[2].output_text


async def test_messages_given_an_image_then_its_tokens_are_counted(url: str) -> None:
    async with AsyncAnthropic(base_url=url.removesuffix("/v1"), api_key=KEY) as client:

        async def counted(*blocks: Any) -> int:
            text: Any = {"type": "text", "text": "the letters"}
            answer = await client.messages.create(
                model="llava",
                max_tokens=N_ANSWER,
                messages=[{"role": "user", "content": [text, *blocks]}],
            )
            return answer.usage.input_tokens + (answer.usage.cache_read_input_tokens or 0)

        source = {
            "type": "base64",
            "media_type": "image/png",
            "data": base64.b64encode(png()).decode(),
        }
        image: Any = {"type": "image", "source": source}
        assert await counted(image) > await counted() + 8


async def test_projector_of_another_model_then_one_sentence(tmp_path: Path) -> None:
    spec = load_spec(tmp_path, TinyProjector.LLAVA)
    write_projector(TinyProjector.LLAVA, Path(spec.mmproj_path), n_embd_text=96)
    engine = WorkerEngine(tmp_path / "worker.log")
    try:
        with pytest.raises(ModelLoadError, match=r"mmproj file that belongs to"):
            async for _ in engine.load(spec):
                pass
        missing = spec.model_copy(update={"mmproj_path": str(tmp_path / "gone.gguf")})
        with pytest.raises(ModelLoadError, match=r"gone\.gguf"):
            async for _ in engine.load(missing):
                pass
        # A model is no projector, whatever it is called.
        wrong = spec.model_copy(update={"mmproj_path": spec.model_path})
        with pytest.raises(ModelLoadError):
            async for _ in engine.load(wrong):
                pass
    finally:
        await engine.close()
