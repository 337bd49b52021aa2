"""`luci share`: give a model to others through the hub."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from luci_tui import paths
from luci_tui.cli.output import Progress, narrate, print_json, print_line
from luci_tui.cli.session import run_async
from luci_tui.errors import ConfigError
from luci_tui.units import format_bytes

if TYPE_CHECKING:
    from luci_tui.library.share import Shared, SharePlan

EPILOG = """\b
Examples:
  luci share mine-Q4_K_M.gguf --repo me/mine-GGUF
  luci share mine --repo me/mine-GGUF --private --yes
  luci share mine --repo me/mine-GGUF --base-model org/base --licence mit --notes "For tests."
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=EPILOG)
def share(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A GGUF file, or an installed model's name.")
    ],
    repo: Annotated[str, typer.Option(metavar="USER/NAME", help="Repository to send it to.")],
    private: Annotated[bool, typer.Option("--private", help="Only you can see it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send it without asking.")] = False,
    base_model: Annotated[str, typer.Option(help="For the card: what it was made from.")] = "",
    licence: Annotated[str, typer.Option(help="For the card, as the hub writes it.")] = "",
    training: Annotated[str, typer.Option(help="For the card: how it was trained.")] = "",
    notes: Annotated[str, typer.Option(help="For the card: free text.")] = "",
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Send a model with its card to a repository of the hub.

    The repository is made if need be.

    First it shows what would be sent; it is sent when you say so. A NAME.md beside the file is its
    card; otherwise one is written from the options and from what the file says of itself. A card
    that the repository has already stays.
    """
    from luci_tui.download.hub_facts import is_repo_name
    from luci_tui.library.card import CardFacts
    from luci_tui.library.share import plan_share

    if not is_repo_name(repo):
        msg = f"--repo {repo!r} is no repository. Write it as user/name."
        raise ConfigError(msg)
    facts = CardFacts("", base_model, licence, training=training, notes=notes)
    plan = plan_share(paths.models_folder(), model, repo, facts, is_private=private)
    if not json_output:
        _show(plan)
    if not yes and not _is_confirmed(plan):
        if json_output:
            print_json(_as_data(plan, None))
        narrate("Nothing was sent. Add --yes to send it.")
        return
    shared = run_async(_share(plan))
    if json_output:
        print_json(_as_data(plan, shared))
        return
    if not shared.has_new_card:
        narrate("The repository has a card already, which stays.")
    print_line(shared.url)


def _show(plan: SharePlan) -> None:
    who = "only you can see it" if plan.is_private else "everybody can see it"
    print_line(f"to {plan.repo} ({who}):")
    for path in plan.files:
        print_line(f"    {path.name}  {format_bytes(path.stat().st_size)}")
    print_line("    README.md, unless there is one:")
    for line in plan.card.splitlines():
        print_line(f"        {line}")


def _is_confirmed(plan: SharePlan) -> bool:
    if not sys.stdin.isatty():
        return False
    return typer.confirm(f"Send {format_bytes(plan.size_bytes)}?", default=False, err=True)


async def _share(plan: SharePlan) -> Shared:
    from luci_tui.download.hub import Hub
    from luci_tui.library.share import share as send

    progress = Progress()
    n_sent = 0

    def report(n_bytes: int) -> None:
        nonlocal n_sent
        n_sent += n_bytes
        progress.show(f"sent {format_bytes(n_sent)} of {format_bytes(plan.size_bytes)}")

    progress.show("reading")
    try:
        return await send(Hub(), plan, report)
    finally:
        progress.clear()


def _as_data(plan: SharePlan, shared: Shared | None) -> dict[str, object]:
    return {
        "repo": plan.repo,
        "is_private": plan.is_private,
        "files": [{"path": str(p), "size_bytes": p.stat().st_size} for p in plan.files],
        "card": plan.card,
        "url": shared.url if shared else None,
        "commit": shared.commit if shared else None,
    }
