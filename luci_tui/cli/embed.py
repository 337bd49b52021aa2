"""`luci embed`: the embedding vector of a text."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from luci_tui.cli.main import Invocation
from luci_tui.cli.output import print_json, print_line
from luci_tui.cli.session import loaded_model, read_text, run_async
from luci_tui.engine import frames
from luci_tui.engine.load_spec import LoadSpec
from luci_tui.errors import EngineError
from luci_tui.host.wiring import EngineKind, choose_model

app = typer.Typer(rich_markup_mode=None, add_completion=False)

EPILOG = """\b
Examples:
  luci embed model.gguf "The quick brown fox" --json
  luci embed model.gguf --lines < sentences.txt > vectors.txt
"""


@app.command(epilog=EPILOG)
def embed(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help='A GGUF file, or "builtin".')],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help='"-" or nothing reads stdin.')
    ] = None,
    lines: Annotated[bool, typer.Option("--lines", help="Each line is a text of its own.")] = False,
    normalize: Annotated[bool, typer.Option(help="Scale each vector to length 1.")] = True,
    pooling: Annotated[
        str, typer.Option(help="model, none, mean, cls or last: how tokens become one vector.")
    ] = "model",
    n_ctx: Annotated[
        int | None, typer.Option(min=0, help="Tokens of context; 0 = all it was trained with.")
    ] = None,
    threads: Annotated[int, typer.Option(min=0, help="0 = one per physical core.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Load even if memory is short.")] = False,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Turn text into embedding vectors.

    Prints one line per text, its numbers separated by spaces.
    """
    kind = cast("Invocation", ctx.obj).engine
    options = {"n_threads": threads, "force": force, "embedding": True, "pooling": pooling}
    chosen = choose_model(model, kind=kind, n_ctx=n_ctx, **options)
    whole = read_text(text, "text")
    texts = tuple(line for line in whole.splitlines() if line.strip()) if lines else (whole,)
    info, result = run_async(_embed(kind, chosen.load, texts, normalize))
    if json_output:
        print_json(
            {
                "model": info.name,
                "n_embd": len(result.vectors[0]),
                "prompt_tokens": result.prompt_tokens,
                "vectors": [list(vector) for vector in result.vectors],
            }
        )
        return
    for vector in result.vectors:
        print_line(" ".join(f"{value:.7g}" for value in vector))


async def _embed(
    kind: EngineKind, load: LoadSpec, texts: tuple[str, ...], normalize: bool
) -> tuple[frames.ModelInfo, frames.Embedded]:
    async with loaded_model(kind, load) as (engine, info):
        answer = await engine.ask(frames.Embed(request_id=0, texts=texts, normalize=normalize))
    if not isinstance(answer, frames.Embedded) or not answer.vectors:
        msg = f"{load.model_path} answered an embedding request with {answer.kind}. Try again."
        raise EngineError(msg)
    return info, answer
