"""Send files to a repository; imported when that is done, because it needs huggingface_hub."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

from luci_tui.errors import DownloadError

CARD_NAME = "README.md"


@dataclass(frozen=True)
class Sent:
    """What was put into a repository."""

    commit: str
    """As the hub says; not checked."""
    sha256: dict[str, str]
    """Of what was read from the disk, by name."""
    has_new_card: bool
    """False = the repository has a card already, which stays."""


def send_files(
    api: HfApi, repo: str, files: Sequence[tuple[str, Path]], card: str, *, is_private: bool
) -> Sent:
    """Put files and a card into a repository in one commit; the repository is made if need be.

    Raises:
        DownloadError: it is to be private, and is not; code "not_private". Nothing was sent.
    """
    api.create_repo(repo, private=is_private or None, exist_ok=True)
    info = api.model_info(repo)
    if is_private and not info.private:
        msg = (
            f"{repo} is there already, and everybody can read it. Nothing was sent. Make it "
            "private at its settings page, or leave --private away."
        )
        raise DownloadError(msg, code="not_private")
    has_card = any(one.rfilename == CARD_NAME for one in info.siblings or ())
    models = [CommitOperationAdd(name, str(path)) for name, path in files]
    cards = [] if has_card else [CommitOperationAdd(CARD_NAME, card.encode())]
    names = ", ".join(name for name, _ in files)
    with warnings.catch_warnings():
        # A hub's remarks on a card come as Python warnings, straight to the terminal.
        warnings.simplefilter("ignore")
        done = api.create_commit(repo, [*models, *cards], commit_message=f"Add {names[:200]}")
    sums = {one.path_in_repo: one.upload_info.sha256.hex() for one in models}
    return Sent(done.oid, sums, has_new_card=not has_card)
