"""Tiny models in real workers, one for each thing that the HTTP API can ask of a model."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from luci_tui.engine.load_spec import LoadSpec
from luci_tui.engine.process import WorkerEngine
from tests.support.api_server import Shelf
from tests.support.arch_models import TinyArch, write_arch_model
from tests.support.tiny_vocab import CHATML_TEMPLATE

N_CTX = 1024
ENDLESS_N_CTX = 32_768
"""An answer that fills it takes far longer than a client that leaves."""
TEMPLATE = (
    "{% if tools %}<|im_start|>system\n{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}"
    "<|im_end|>\n{% endif %}{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['content'] %}{{ m['content'] }}{% endif %}"
    "{% if m['tool_calls'] %}{% for call in m['tool_calls'] %}"
    "<tool_call>\n{\"name\": \"{{ call['function']['name'] }}\", "
    "\"arguments\": {{ call['function']['arguments'] | tojson }}}\n</tool_call>"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINKING = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['reasoning_content'] %}<think>{{ m['reasoning_content'] }}</think>{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n{% endif %}"
)


CALL = (
    'root ::= "in the " "<tool_call>\\n{\\"name\\": \\"count\\", '
    '\\"arguments\\": {\\"n\\": " [0-9] "}}\\n</tool_call>"'
)
"""Stands for a model that knows tools: random weights would never begin a call."""
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "count",
        "description": "count lines",
        "parameters": {
            "type": "object",
            "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
            "required": ["n"],
        },
    },
}


@asynccontextmanager
async def tiny_shelf(folder: Path) -> AsyncGenerator[Shelf]:
    """Load all of them, and end their workers at the end."""
    llama = write_arch_model(TinyArch.LLAMA, folder / "llama.gguf", chat_template=CHATML_TEMPLATE)
    chatml = write_arch_model(TinyArch.LLAMA, folder / "chatml.gguf")
    bert = write_arch_model(TinyArch.BERT, folder / "bert.gguf")
    ranker = write_arch_model(TinyArch.RERANKER, folder / "rank.gguf")
    loads: dict[str, dict[str, Any]] = {
        "tiny": {"model_path": llama, "n_slots": 3},
        "tools": {"model_path": chatml, "chat_template": TEMPLATE},
        "endless": {"model_path": llama, "n_ctx": ENDLESS_N_CTX, "force": True},
        "thinker": {"model_path": chatml, "chat_template": THINKING},
        "embedder": {"model_path": bert, "embedding": True, "n_ctx": 128},
        "ranker": {"model_path": ranker, "embedding": True, "pooling": "rank", "n_ctx": 128},
    }
    shelf = Shelf()
    try:
        for name, fields in loads.items():
            fields["model_path"] = str(fields["model_path"])
            spec = LoadSpec.model_validate({"n_ctx": N_CTX, "n_threads": 1, **fields})
            engine = WorkerEngine(folder / f"{name}.log")
            await shelf.add(name, engine, spec=spec, aliases=(f"my-{name}",))
        yield shelf
    finally:
        for lease in shelf.leases.values():
            await lease.engine.close()
