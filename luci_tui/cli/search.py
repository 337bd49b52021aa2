"""`luci search`: find models at the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from luci_tui.cli.output import Progress, narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.units import format_bytes, format_count, format_duration

if TYPE_CHECKING:
    from luci_tui.download.hub_search import FoundRepo

EPILOG = """\b
Examples:
  luci search qwen3
  luci search "llama 3.2 instruct" --fits
  luci search smollm --limit 5 --json
"""
MAX_SHOWN_MODELS = 12
"""A repository may have fifty quant types; `--json` lists all."""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=EPILOG)
def search(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="Words of the repository's name.")],
    fits: Annotated[
        bool,
        typer.Option("--fits", help="Only models whose file and a fifth more are free memory now."),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Most repositories.")] = 10,
    json_output: Annotated[bool, typer.Option("--json", help="Print one list.")] = False,
) -> None:
    """Find repositories with GGUF files at the hub.

    The most downloaded stand first.

    Each model is shown with its quant type and size, and can be installed by the name in front.
    `luci catalog list` has models that luci knows without asking anybody.
    """
    free_bytes = _free_bytes() if fits else None
    found = run_async(_search(text, limit, free_bytes))
    if json_output:
        print_json([_as_data(one) for one in found])
        return
    if not found:
        hint = "Try fewer words, or leave --fits away." if fits else "Try fewer or other words."
        narrate(f"Nothing was found. {hint}")
        return
    for one in found:
        _show(one)
    if free_bytes is not None:
        narrate(f"{format_bytes(free_bytes)} of memory are free; `luci fit` computes it exactly.")


async def _search(text: str, limit: int, free_bytes: int | None) -> tuple[FoundRepo, ...]:
    from luci_tui.download import hub_search
    from luci_tui.download.hub import Hub, HubOptions

    progress = Progress()

    def wait(seconds: float, reason: str) -> None:
        progress.show(f"waiting {format_duration(seconds)}: {reason}")

    progress.show("asking the hub")
    try:
        return await hub_search.search(
            Hub(options=HubOptions(on_wait=wait)),
            text,
            limit=limit,
            free_bytes=free_bytes,
            report=lambda done, every: progress.show(f"listing {done} of {every}"),
        )
    finally:
        progress.clear()


def _free_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _show(found: FoundRepo) -> None:
    facts = found.facts
    notes = [format_count(facts.downloads, "download"), facts.licence]
    notes += [f"gated ({facts.gated})" if facts.gated else "", "mmproj" if found.has_mmproj else ""]
    print_line(f"hf:{facts.repo}  {', '.join(note for note in notes if note)}")
    if found.problem:
        print_line(f"    its files cannot be listed: {found.problem}")
    for model in found.models[:MAX_SHOWN_MODELS]:
        shards = f", {len(model.files)} files" if len(model.files) > 1 else ""
        size = format_bytes(model.size_bytes)
        print_line(f"    {model.quant or '?':<10} {size:>9}  {model.path}{shards}")
    n_more = len(found.models) - MAX_SHOWN_MODELS
    if n_more > 0:
        print_line(f"    and {n_more} more")
    if found.n_left_out:
        print_line(f"    {format_count(found.n_left_out, 'model')} left out that do not fit")


def _as_data(found: FoundRepo) -> dict[str, object]:
    facts = found.facts
    models = [
        {
            "quant": model.quant or None,
            "size_bytes": model.size_bytes,
            "files": [
                {"path": file.path, "size_bytes": file.size_bytes, "sha256": file.sha256 or None}
                for file in model.files
            ],
        }
        for model in found.models
    ]
    return {
        "repo": facts.repo,
        "revision": facts.commit,
        "gated": facts.gated or None,
        "licence": facts.licence or None,
        "downloads": facts.downloads,
        "has_mmproj": found.has_mmproj,
        "models": models,
        "n_left_out": found.n_left_out,
        "problem": found.problem or None,
    }
