"""Ask a hub about its repositories, its files and the account: metadata, never a model's bytes.

huggingface_hub speaks its protocol; it is imported with the first question, in a thread, after its
own reports and checks were switched off. Bytes are the mover's work, see docs/adr/0008.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from luci_tui.config import HubEnvironment, hub_environment, quiet_hub_library
from luci_tui.download import hub_errors
from luci_tui.download.hub_errors import Asking, TransientError
from luci_tui.download.hub_facts import (
    Account,
    RepoFacts,
    RepoFile,
    is_repo_name,
    is_revision,
    plain_words,
)
from luci_tui.download.hub_token import HubToken, find_token, may_expire
from luci_tui.download.pace import Backoff
from luci_tui.errors import CatalogError, ConfigError, DownloadError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAX_SEARCH_CHARS = 200
T = TypeVar("T")


@dataclass(frozen=True)
class HubOptions:
    """How patient a question is."""

    timeout_s: float = 30.0
    """For one question with all its pages."""
    max_attempts: int = 4
    max_wait_s: float = 60.0
    """Asked to wait longer than this, the question fails and says so."""
    n_parallel: int = 8
    new_backoff: Callable[[], Backoff] = field(default=Backoff)
    on_wait: Callable[[float, str], None] = lambda _seconds, _reason: None
    """Told before each wait for another attempt."""


class Hub:
    """One hub, with the token that is in use when a question is asked.

    Args:
        environment: Where it is, and the token.
        options: How patient it is.

    Raises:
        ConfigError: HF_ENDPOINT is no address.
    """

    def __init__(
        self, environment: HubEnvironment | None = None, options: HubOptions | None = None
    ) -> None:
        self.environment = environment or hub_environment()
        self.options = options or HubOptions()
        self.endpoint = checked_endpoint(self.environment.endpoint)
        self._turns = asyncio.Semaphore(self.options.n_parallel)

    def token(self) -> HubToken | None:
        """Return the token in use; None = there is none.

        Raises:
            ConfigError: there is one that cannot be used.
        """
        return find_token(self.environment)

    async def repo(self, repo: str, revision: str = "main") -> RepoFacts:
        """Look a repository up with all its files, at one commit.

        Raises:
            CatalogError: the name or the revision is none.
            DownloadError: the hub refuses, does not answer or says nonsense; see hub_errors.
        """
        facts = await self.info(repo, revision)
        return replace(facts, files=await self.files(facts.repo, facts.commit))

    async def info(self, repo: str, revision: str = "main") -> RepoFacts:
        """Look a repository up without its files. Raises as `repo` does."""
        asking = self._asking(repo, revision)
        return await self._ask(asking, lambda api: _library().repo_info(api, repo, revision))

    async def files(self, repo: str, commit: str) -> tuple[RepoFile, ...]:
        """List the files of a commit with sizes and sums. Raises as `repo` does."""
        asking = self._asking(repo, commit)
        return await self._ask(asking, lambda api: _library().repo_files(api, repo, commit))

    async def check_access(self, repo: str) -> None:
        """Make sure that a gated repository gives its files out to this account.

        Raises:
            DownloadError: it does not; the code begins with "gated".
        """
        asking = self._asking(repo)
        await self._ask(asking, lambda api: _library().check_access(api, repo))

    async def search(self, text: str, limit: int) -> tuple[RepoFacts, ...]:
        """Find repositories with GGUF files, most downloaded first, without their files."""
        words = plain_words(text, MAX_SEARCH_CHARS)
        asking = Asking(self.endpoint, token=self.token())
        return await self._ask(asking, lambda api: _library().search_repos(api, words, limit))

    async def account(self, token: HubToken | None = None) -> Account:
        """Ask who a token belongs to; without one, the token in use.

        Raises:
            DownloadError: there is no token, or the hub does not know it.
        """
        asking = Asking(self.endpoint, token=token or self.token())
        if asking.token is None:
            msg = "There is no token. Run `luci login`, or set HF_TOKEN in the environment."
            raise DownloadError(msg, code="no_token")
        return await self._ask(asking, lambda api: _library().account(api))

    async def upload(
        self, repo: str, work: Callable[[HfApi], T], report: Callable[[int], None]
    ) -> T:
        """Run work that sends files to a repository, with no limit of time and no second try.

        Args:
            repo: Where to.
            work: Uses the library; runs in a thread.
            report: Called in that thread with the bytes of each piece that was sent.
        """
        asking = self._asking(repo)
        if self.environment.is_offline:
            raise hub_errors.offline(asking)
        call = partial(
            _call, asking, self.environment, math.inf, work, is_upload=True, report=report
        )
        try:
            return await in_daemon_thread(call)
        except TransientError as error:
            raise error.error from error

    def _asking(self, repo: str, revision: str = "main") -> Asking:
        """Say what is asked for, once it is sure that it can be."""
        if not is_repo_name(repo):
            msg = f"{plain_words(repo)!r} is no repository. Write it as owner/name."
            raise CatalogError(msg, code="bad_name")
        if not is_revision(revision):
            msg = f"{plain_words(revision)!r} is no revision. Give a branch, a tag or a commit."
            raise CatalogError(msg, code="bad_name")
        return Asking(self.endpoint, repo, revision, self.token())

    async def _ask(self, asking: Asking, work: Callable[[HfApi], T]) -> T:
        """Ask, and ask again where that may help."""
        if self.environment.is_offline:
            raise hub_errors.offline(asking)
        backoff = self.options.new_backoff()
        while True:
            try:
                async with self._turns:
                    return await self._ask_once(asking, work)
            except TransientError as error:
                wait_s = backoff.wait_s(error.retry_after_s)
                asked_for_s = max(wait_s, error.retry_after_s or 0.0)
                is_last = backoff.n_failed >= self.options.max_attempts
                if is_last or asked_for_s > self.options.max_wait_s:
                    raise error.error from error
                self.options.on_wait(wait_s, error.error.message)
            await asyncio.sleep(wait_s)

    async def _ask_once(self, asking: Asking, work: Callable[[HfApi], T]) -> T:
        timeout_s = self.options.timeout_s
        call = partial(_call, asking, self.environment, timeout_s, work)
        try:
            # The thread keeps to the limit by itself, except while a server sends its answer's
            # head byte by byte: then it is left behind.
            async with asyncio.timeout(timeout_s + 1):
                return await in_daemon_thread(call)
        except TimeoutError as error:
            raise hub_errors.too_slow(asking, timeout_s) from error


def checked_endpoint(text: str) -> str:
    """Return the address of a hub.

    Raises:
        ConfigError: it is none, or holds a password, which would end up in files.
    """
    try:
        parts = urlsplit(text)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_plain = not (parts.username or parts.password or parts.query or parts.fragment)
        is_usable = is_address and is_plain and text.isprintable() and (parts.port or 1) > 0
    except ValueError:
        is_usable = False
    if not is_usable:
        msg = (
            "HF_ENDPOINT is no http or https address of a hub, or it holds a password. Correct it."
        )
        raise ConfigError(msg)
    return text.rstrip("/")


async def in_daemon_thread(work: Callable[[], T]) -> T:
    """Run blocking work in a thread that the end of the program does not wait for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(value: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(cast("T", value))
        else:
            done.set_exception(error)

    def run() -> None:
        value, error = None, None
        try:
            value = work()
        except BaseException as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(finish, value, error)

    threading.Thread(target=run, name="hub", daemon=True).start()
    return await done


def _call(
    asking: Asking,
    environment: HubEnvironment,
    timeout_s: float,
    work: Callable[[HfApi], T],
    **more: Any,
) -> T:
    """Do the work in this thread, with the library."""
    library = _library()
    is_stored = asking.token is not None and not asking.token.is_from_environment
    call = library.Call(
        asking,
        timeout_s,
        time.monotonic() + timeout_s,
        renews=is_stored and may_expire(environment),
        **more,
    )
    return library.run_call(call, work)


def _library():
    """Import what needs huggingface_hub, after telling it to be quiet."""
    quiet_hub_library()
    from luci_tui.download import hub_client

    return hub_client
