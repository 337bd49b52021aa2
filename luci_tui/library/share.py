"""Give a model to others: its files and its card into a repository of the hub."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from luci_tui.config import quiet_hub_library
from luci_tui.download.hub import Hub
from luci_tui.download.hub_facts import RepoFacts, checked_commit
from luci_tui.errors import CatalogError, DownloadError, GgufError
from luci_tui.gguf.describe import describe
from luci_tui.gguf.header import GgufHeader, read_header
from luci_tui.library.card import MAX_CARD_BYTES, CardFacts, card_path, render_card
from luci_tui.library.manifest import model_folder, read_manifest

if TYPE_CHECKING:
    from huggingface_hub import HfApi

    from luci_tui.download.hub_upload import Sent


@dataclass(frozen=True)
class SharePlan:
    """What would be sent."""

    repo: str
    is_private: bool
    files: tuple[Path, ...]
    card: str

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all files, without the card."""
        return sum(path.stat().st_size for path in self.files)


@dataclass(frozen=True)
class Shared:
    """What was sent."""

    url: str
    commit: str
    has_new_card: bool
    """False = the repository had a card already, which stayed."""


def plan_share(
    models_folder: Path, wanted: str, repo: str, facts: CardFacts, *, is_private: bool
) -> SharePlan:
    """Find a model's files and write its card.

    Args:
        models_folder: Where names are looked for.
        wanted: A path, or the name of an installed model.
        repo: Where to, as owner/name.
        facts: What the person says about the model; what is empty is taken from its file. A card
            that lies beside the file is taken as it is.
        is_private: Whether others may not see it.

    Raises:
        CatalogError: there is no such model.
        GgufError: a file is no GGUF file.
    """
    files = _files(models_folder, wanted)
    header = read_header(files[0])
    files = (*header.shard_paths, *files[len(header.shard_paths) :])
    listed = tuple((path.name, path.stat().st_size) for path in files)
    own = card_path(files[0])
    if own.is_file():
        card = _read_card(own)
    else:
        card = render_card(replace(_completed(facts, header, files[0]), files=listed))
    return SharePlan(repo, is_private, files, card)


async def share(hub: Hub, plan: SharePlan, report: Callable[[int], None]) -> Shared:
    """Send what is planned and make sure that it arrived.

    Args:
        hub: Where to.
        plan: What.
        report: Called from another thread with the bytes of each piece that was sent.

    Raises:
        DownloadError: the hub refuses, or has something else afterwards; code "not_arrived".
    """
    if hub.token() is None:
        msg = "There is no token, so nothing can be sent. Run `luci login` first."
        raise DownloadError(msg, code="no_token")
    sent = await hub.upload(plan.repo, lambda api: _send(api, plan), report)
    commit = checked_commit(sent.commit, plan.repo)
    facts = await hub.repo(plan.repo, commit)
    await asyncio.to_thread(_check_arrived, plan, facts, sent.sha256)
    return Shared(f"{hub.endpoint}/{plan.repo}", commit, sent.has_new_card)


def _send(api: HfApi, plan: SharePlan) -> Sent:
    quiet_hub_library()
    from luci_tui.download import hub_upload

    files = [(path.name, path) for path in plan.files]
    return hub_upload.send_files(api, plan.repo, files, plan.card, is_private=plan.is_private)


def _check_arrived(plan: SharePlan, facts: RepoFacts, sums: dict[str, str]) -> None:
    by_path = {file.path: file for file in facts.files}
    for path in plan.files:
        there = by_path.get(path.name)
        is_same = there is not None and there.size_bytes == path.stat().st_size
        if there is None or not is_same or there.sha256 not in ("", sums[path.name]):
            msg = (
                f"{plan.repo} has {path.name} not as it was sent. Share it again, or look at the "
                "repository's page."
            )
            raise DownloadError(msg, code="not_arrived")


def _files(models_folder: Path, wanted: str) -> tuple[Path, ...]:
    path = Path(wanted).expanduser()
    if path.suffix == ".gguf" or "/" in wanted:
        if not path.is_file():
            msg = f"There is no file {wanted}. Give the path of a GGUF file, or a model's name."
            raise CatalogError(msg, code="unknown_model")
        return (path,)
    plain = models_folder / f"{wanted}.gguf"
    if plain.is_file():
        return (plain,)
    folder = model_folder(models_folder, wanted)
    manifest = read_manifest(folder) if folder.is_dir() else None
    if manifest is None:
        msg = f"No model called {wanted!r} is installed. Give a GGUF file, or `luci llm list`."
        raise CatalogError(msg, code="unknown_model")
    return tuple(folder / manifest.version / file.name for file in manifest.files)


def _completed(facts: CardFacts, header: GgufHeader, path: Path) -> CardFacts:
    """Fill what the person did not say from the file."""
    found = describe(header)
    base = header.text("general.base_model.0.repo_url").removeprefix("https://huggingface.co/")
    return replace(
        facts,
        title=facts.title or found.name or path.stem,
        base_model=facts.base_model or base or header.text("general.base_model.0.name"),
        licence=facts.licence or found.license,
        quant=facts.quant or found.quantization,
        architecture=facts.architecture or found.architecture,
    )


def _read_card(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CARD_BYTES + 1)
        text = data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"The card {path} cannot be read ({error}). Correct it, or remove it."
        raise GgufError(msg, code="card") from error
    if len(data) > MAX_CARD_BYTES:
        msg = f"The card {path} is larger than {MAX_CARD_BYTES // 1024} KiB. Shorten it."
        raise GgufError(msg, code="card")
    return text if text.startswith("---\n") else f"---\nlibrary_name: gguf\n---\n\n{text}"
