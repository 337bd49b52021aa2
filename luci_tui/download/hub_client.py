"""The part of talking to a hub that needs huggingface_hub; imported with the first question.

Everything here blocks. The library's own client is replaced by one that keeps to a time limit,
stays at the hub's own origin, reads no endless answer, and leaves retries to the caller: the
library would sleep in its thread for as long as a server tells it to.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import httpx2
import huggingface_hub
from huggingface_hub import errors, hf_api
from huggingface_hub.utils import set_client_factory

from luci_tui.download import hub_errors
from luci_tui.download.answers import origin
from luci_tui.download.hub_errors import RETRIED, Asking, TransientError
from luci_tui.download.hub_facts import (
    MAX_FILES,
    Account,
    RepoFacts,
    RepoFile,
    checked_commit,
    checked_files,
    is_repo_name,
    plain_count,
    plain_words,
)
from luci_tui.download.tls import tls_context
from luci_tui.errors import DownloadError
from luci_tui.version import VERSION

MAX_ANSWER_BYTES = 32 * 1024 * 1024
CONNECT_S = 15.0
UPLOAD_SILENCE_S = 300.0
"""The storage behind a hub answers when it has stored a whole piece."""
_PROPERTIES: Any = ["sha", "gated", "downloads", "tags"]
T = TypeVar("T")


@dataclass
class Call:
    """One question, for the thread that asks it."""

    asking: Asking
    timeout_s: float
    ends_at: float
    """On the monotonic clock."""
    is_upload: bool = False
    """True = the hub may send to its storage, and the library's own retries are welcome."""
    renews: bool = False
    """True = the stored token may have to be renewed first."""
    report: Callable[[int], None] = lambda _: None
    """Told the bytes of each piece that was sent."""


class _Current(threading.local):
    call: Call | None = None


_current = _Current()


def run_call(call: Call, work: Callable[[huggingface_hub.HfApi], T]) -> T:
    """Do some work with the library and turn what it raises into one sentence.

    Raises:
        DownloadError: the hub refuses, or says what cannot be believed.
        TransientError: it may answer later.
    """
    token = call.asking.token
    _current.call = call
    try:
        secret = token.secret if token else False
        if call.renews:
            # A login through the browser gives tokens that last for some hours.
            secret = huggingface_hub.get_token() or secret
        api = huggingface_hub.HfApi(
            endpoint=call.asking.endpoint,
            token=secret,
            library_name="luci",
            library_version=VERSION,
        )
        return work(api)
    except errors.HfHubHTTPError as error:
        raise _refusal(call.asking, error) from error
    except httpx2.TransportError as error:
        raise hub_errors.unreachable(call.asking, error) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise hub_errors.nonsense(call.asking, error) from error
    except (TypeError, KeyError, ValueError, AttributeError, RecursionError) as error:
        # The library reads the answer without checking it first.
        raise hub_errors.nonsense(call.asking, error) from error
    except RuntimeError as error:
        raise _cause(call.asking, error) from error
    finally:
        _current.call = None


def repo_info(api: huggingface_hub.HfApi, repo: str, revision: str) -> RepoFacts:
    """Ask for a repository's commit and what is known about it, without its files."""
    return _facts(api.model_info(repo, revision=revision, expand=_PROPERTIES))


def repo_files(api: huggingface_hub.HfApi, repo: str, commit: str) -> tuple[RepoFile, ...]:
    """Ask for all files of a commit."""
    found: list[Any] = []
    for entry in api.list_repo_tree(repo, recursive=True, revision=commit):
        if isinstance(entry, hf_api.RepoFile):
            found.append(entry)
        if len(found) > MAX_FILES:
            msg = f"{repo} has more than {MAX_FILES} files, which is more than luci looks at."
            raise DownloadError(msg, code="untrusted")
    return checked_files(found, repo)


def check_access(api: huggingface_hub.HfApi, repo: str) -> None:
    """Ask whether the files of a repository are given out to the token's owner."""
    api.auth_check(repo)


def search_repos(api: huggingface_hub.HfApi, text: str, limit: int) -> tuple[RepoFacts, ...]:
    """Ask for repositories with GGUF files, most downloaded first."""
    found = api.list_models(
        search=text, filter="gguf", sort="downloads", limit=limit, expand=_PROPERTIES
    )
    return tuple(_facts(info) for info in found)


def account(api: huggingface_hub.HfApi) -> Account:
    """Ask who the token belongs to."""
    ask = cast("Callable[[], dict[str, Any]]", api.whoami)  # pyright: ignore[reportUnknownMemberType]
    said = ask()
    auth = cast("dict[str, Any]", said.get("auth") or {})
    token = cast("dict[str, object]", auth.get("accessToken") or {})
    return Account(
        name=plain_words(said["name"]),
        kind=plain_words(said.get("type")),
        token_name=plain_words(token.get("displayName")),
        role=plain_words(token.get("role")),
        organisations=tuple(plain_words(one.get("name")) for one in said.get("orgs") or ()),
    )


def _facts(info: hf_api.ModelInfo) -> RepoFacts:
    if not is_repo_name(info.id):
        msg = f"the repository name {info.id!r}"
        raise ValueError(msg)
    prefix = "license:"
    tags = [tag for tag in info.tags or () if tag.startswith(prefix)]
    return RepoFacts(
        repo=info.id,
        commit=checked_commit(info.sha, info.id),
        gated=plain_words(info.gated, 20) or ("auto" if info.gated else ""),
        licence=plain_words(tags[0].removeprefix(prefix), 60) if tags else "",
        downloads=plain_count(info.downloads),
    )


def _cause(asking: Asking, error: RuntimeError) -> Exception:
    """Say why a file was not sent; the library wraps the reason."""
    match error.__cause__:
        case errors.HfHubHTTPError() as cause:
            return _refusal(asking, cause)
        case httpx2.TransportError() as cause:
            return hub_errors.unreachable(asking, cause)
        case DownloadError() as cause:
            return cause
        case _:
            return error


def _refusal(asking: Asking, error: errors.HfHubHTTPError) -> DownloadError | TransientError:
    """Say what one of the library's errors means; the order matters, one is a kind of another."""
    said = error.server_message or ""
    status = error.response.status_code
    match error:
        case errors.GatedRepoError():
            return hub_errors.gated(asking, said)
        case errors.DisabledRepoError():
            return hub_errors.disabled(asking)
        case errors.RepositoryNotFoundError() if asking.repo:
            return hub_errors.repo_not_found(asking)
        case errors.RevisionNotFoundError():
            return hub_errors.revision_not_found(asking)
        case errors.RemoteEntryNotFoundError():
            return hub_errors.entry_not_found(asking)
        case _ if status in RETRIED:
            return hub_errors.transient(asking, status, error.response.headers, said)
        case _:
            return hub_errors.refused(asking, status, said)


class _CheckedClient(httpx2.Client):
    """The library's client, kept in bounds while a `Call` is made."""

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Send a request; an answer that may pass becomes TransientError, which nobody retries."""
        call = _current.call
        if call is None or options.pop("stream", False):
            return super().send(request, **options)
        if call.is_upload:
            request.stream = _Counted(request.stream, call)
        try:
            response = super().send(request, stream=True, **options)
            with _closing_on_error(response):
                response.stream = _Bounded(response.stream, call)
                response.read()
        except httpx2.TransportError as error:
            if call.is_upload:
                raise
            raise hub_errors.unreachable(call.asking, error) from error
        if response.status_code in RETRIED and not call.is_upload:
            said = response.headers.get("x-error-message", "")
            raise hub_errors.transient(call.asking, response.status_code, response.headers, said)
        return response


class _Bounded(httpx2.SyncByteStream):
    """A body that ends: after so many bytes, and when the time is over."""

    def __init__(self, stream: Any, call: Call) -> None:
        self._stream = stream
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        n_bytes = 0
        for piece in self._stream:
            n_bytes += len(piece)
            if n_bytes > MAX_ANSWER_BYTES:
                raise hub_errors.nonsense(self._call.asking, "an endless answer")
            _check_time(self._call)
            yield piece

    def close(self) -> None:
        self._stream.close()


class _Counted(httpx2.SyncByteStream):
    """What is sent, told to whoever watches."""

    def __init__(self, stream: Any, call: Call) -> None:
        self._stream = stream
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            yield piece
            self._call.report(len(piece))


@contextmanager
def _closing_on_error(response: httpx2.Response) -> Generator[None]:
    try:
        yield
    except BaseException:
        response.close()
        raise


def _check_request(request: httpx2.Request) -> None:
    """Look at each request, also at those that a redirect or a next page leads to."""
    call = _current.call
    if call is None:
        return
    _check_time(call)
    silence_s = UPLOAD_SILENCE_S if call.is_upload else call.timeout_s
    waits = {"connect": CONNECT_S, "read": silence_s, "write": silence_s, "pool": CONNECT_S}
    request.extensions["timeout"] = waits
    if origin(str(request.url)) == origin(call.asking.endpoint):
        return
    # The hub's storage is told where to put bytes by the address alone, never by the token.
    request.headers.pop("authorization", None)
    if not call.is_upload or request.method not in ("PUT", "POST"):
        raise hub_errors.led_away(call.asking, str(request.url))


def _check_time(call: Call) -> None:
    if time.monotonic() > call.ends_at:
        raise hub_errors.too_slow(call.asking, call.timeout_s)


def _new_client() -> httpx2.Client:
    try:
        return _CheckedClient(
            verify=tls_context(),
            follow_redirects=True,
            max_redirects=5,
            # A small answer that unpacks to a huge one would pass every bound.
            headers={"accept-encoding": "identity"},
            event_hooks={"request": [_check_request], "response": [_check_response]},
        )
    except (ImportError, ValueError) as error:
        # The address of a proxy may hold a password, so it is not shown.
        msg = (
            "The proxy that the environment names cannot be used. Correct HTTPS_PROXY and "
            "ALL_PROXY; luci knows http and https proxies."
        )
        raise DownloadError(msg, code="proxy") from error


def _check_response(response: httpx2.Response) -> None:
    call = _current.call
    is_packed = response.headers.get("content-encoding", "identity").lower() != "identity"
    if call is not None and not call.is_upload and is_packed:
        raise hub_errors.nonsense(call.asking, "a compressed answer that was not asked for")


def _silence() -> None:
    """Keep the library's own words, which a hub may choose, off the terminal."""
    logger = logging.getLogger("huggingface_hub")
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
    logger.addHandler(logging.NullHandler())
    logger.propagate = False


set_client_factory(_new_client)
_silence()
