"""`luci login`: keep a token for the hub."""

from __future__ import annotations

import getpass
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from luci_tui.cli.output import narrate, print_line
from luci_tui.cli.session import run_async

if TYPE_CHECKING:
    from luci_tui.download.hub_facts import Account
    from luci_tui.download.hub_token import HubToken

MAX_INPUT_CHARS = 8192
EPILOG = """\b
Examples:
  luci login
  luci login < token.txt
  luci login --no-check < token.txt
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=EPILOG)
def login(
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Ask the hub whose token it is.")
    ] = True,
) -> None:
    """Store a token for the hub, which gated and private models need.

    It is read from the terminal without being shown, or from standard input, and kept where the
    hub's own programs look for it, readable by you alone. HF_TOKEN in the environment is used
    instead where it is set. Make a token at the hub's settings page, under "Access Tokens".
    """
    from luci_tui.config import hub_environment
    from luci_tui.download.hub import checked_endpoint
    from luci_tui.download.hub_token import HubToken, checked_token, store_token

    environment = hub_environment()
    endpoint = checked_endpoint(environment.endpoint)
    secret = checked_token(_read_secret(endpoint), "what was entered")
    if check:
        account = run_async(_account(HubToken(secret, "the one that was entered", True)))
        print_line(describe_account(account))
    path = store_token(environment, secret)
    narrate(f"The token is stored in {path}, readable by you alone.")
    if environment.token:
        narrate(f"{environment.token_variable} is set in the environment and is used instead.")


def describe_account(account: Account) -> str:
    """Say in one line who a token belongs to."""
    what = f"{account.name} ({account.kind})" if account.kind else account.name
    token = f', token "{account.token_name}"' if account.token_name else ""
    role = f", {account.role}" if account.role else ""
    member = f", member of {', '.join(account.organisations)}" if account.organisations else ""
    return what + token + role + member


async def _account(token: HubToken) -> Account:
    from luci_tui.download.hub import Hub

    return await Hub().account(token)


def _read_secret(endpoint: str) -> str:
    if sys.stdin.isatty():
        narrate(f"Make a token at {endpoint}/settings/tokens and paste it here.")
        # Typer's own prompt is written before the terminal stops showing what is typed.
        try:
            return getpass.getpass("Token (not shown): ").strip()
        except EOFError:
            return ""
    return sys.stdin.read(MAX_INPUT_CHARS).strip()
