"""`luci whoami`: who the hub takes you for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from luci_tui.cli.login import describe_account
from luci_tui.cli.output import narrate, print_json, print_line
from luci_tui.cli.session import run_async

if TYPE_CHECKING:
    from luci_tui.download.hub_facts import Account

EPILOG = """\b
Examples:
  luci whoami
  luci whoami --json
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=EPILOG)
def whoami(
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Ask the hub whose token is in use, and say where it is from."""
    account, endpoint, source = run_async(_whoami())
    if json_output:
        print_json(
            {
                "name": account.name,
                "kind": account.kind,
                "token_name": account.token_name,
                "role": account.role,
                "organisations": list(account.organisations),
                "endpoint": endpoint,
                "token_source": source,
            }
        )
        return
    print_line(describe_account(account))
    narrate(f"At {endpoint}, with the token from {source}.")


async def _whoami() -> tuple[Account, str, str]:
    from luci_tui.download.hub import Hub

    hub = Hub()
    token = hub.token()
    account = await hub.account(token)
    return account, hub.endpoint, token.source if token else ""
