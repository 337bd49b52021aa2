"""What is wrong when a hub refuses or does not answer: one sentence, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from luci_tui.download.answers import retry_after_s
from luci_tui.download.hub_facts import plain_words
from luci_tui.download.hub_token import HubToken
from luci_tui.errors import DownloadError
from luci_tui.units import format_duration

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509, 520, 522, 524, 529})
_RATE_LIMIT = re.compile(r'"\w+"\s*;\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d{1,6})')
"""Source: draft-ietf-httpapi-ratelimit-headers-09; r = requests left, t = seconds until more."""


@dataclass(frozen=True)
class Asking:
    """What a request is about, for the sentence that says why it failed."""

    endpoint: str
    repo: str = ""
    """Empty = about no repository."""
    revision: str = ""
    token: HubToken | None = None

    @property
    def page(self) -> str:
        """Return the address that a person opens."""
        return f"{self.endpoint}/{self.repo}"

    @property
    def subject(self) -> str:
        """Return what is asked for, in a sentence."""
        return self.repo or self.endpoint


class TransientError(Exception):
    """The hub does not answer now; it may when it is asked again.

    Args:
        error: What is said if it goes on like that.
        retry_after_s: What the hub asks for; None = nothing.
    """

    def __init__(self, error: DownloadError, retry_after_s: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.retry_after_s = retry_after_s


def gated(asking: Asking, said: str) -> DownloadError:
    """Say which of the things that a gated model wants is missing.

    Args:
        asking: The request.
        said: The hub's own words, which alone tell the cases apart.
    """
    words = said.lower()
    what = f"{asking.repo} is gated"
    if asking.token is None:
        code, text = (
            "gated_no_token",
            "and there is no token. Accept its licence at {page}, then run",
        )
        text += " `luci login`."
    elif "fine-grained" in words or "token settings" in words or "scope" in words:
        code, text = "gated_no_scope", f"and the token ({asking.token.source}) may not read gated "
        text += 'models. Give it "read access to public gated repositories" at '
        text += f"{asking.endpoint}/settings/tokens; the model's page is {{page}}."
    elif "awaiting" in words or "pending" in words:
        code, text = (
            "gated_pending",
            "and your request waits for its owner's approval. {page} shows",
        )
        text += " how it stands; try again when it is granted."
    elif "rejected" in words:
        code, text = "gated_rejected", "and its owner has rejected your request. See {page}, or use"
        text += " another model."
    else:
        code, text = "gated_not_accepted", "and its licence is not accepted by your account. Open"
        text += " {page}, accept it, and try again."
    return DownloadError(f"{what}, {text.format(page=asking.page)}", code=code)


def repo_not_found(asking: Asking) -> DownloadError:
    """Say that there is no such repository, or that it is not shown to strangers."""
    way = "it is private and this token may not read it" if asking.token else "it is private"
    help_text = "Check the name." if asking.token else "Check the name, or run `luci login`."
    return DownloadError(
        f"{asking.endpoint} has no model repository {asking.repo}, or {way}. {help_text}",
        code="repo_not_found",
    )


def revision_not_found(asking: Asking) -> DownloadError:
    """Say that a repository has no such branch, tag or commit."""
    return DownloadError(
        f"{asking.repo} has no revision {asking.revision!r}. Leave it away for the newest one, or "
        f"look at {asking.page}/commits/main.",
        code="revision_not_found",
    )


def entry_not_found(asking: Asking) -> DownloadError:
    """Say that the hub knows nothing under an address."""
    return DownloadError(
        f"{asking.endpoint} has nothing there for {asking.subject}. Check the name, and "
        "HF_ENDPOINT.",
        code="not_found",
    )


def refused(asking: Asking, status: int, said: str) -> DownloadError:
    """Say what a status means that is no answer."""
    words = f" ({plain_words(said, 200)})" if plain_words(said) else ""
    subject, token = asking.subject, asking.token
    if status == 403 and ("fine-grained" in words.lower() or "gated" in words.lower()):
        return gated(asking, said)
    match status:
        case 401 if token is None:
            code, text = "unauthorized", f"{subject} needs a login{words}. Run `luci login`."
        case 401:
            code, source = "unauthorized", token.source if token else ""
            text = f"The hub does not know the token ({source}){words}. Make a new "
            text += f"one at {asking.endpoint}/settings/tokens and run `luci login`."
        case 403:
            code = "forbidden"
            text = f"The hub does not allow this for {subject}{words}. Check what the token may do."
        case 404 | 410:
            return entry_not_found(asking)
        case 451:
            code, text = "disabled", f"{subject} is not given out{words}. Use another model."
        case 429:
            code = "rate_limited"
            text = f"{asking.endpoint} allows no more requests for the moment{words}. Try again in "
            text += "some minutes" + ("." if token else ", or run `luci login` for more.")
        case _ if status >= 500 or status in RETRIED:
            code = "hub_down"
            text = f"{asking.endpoint} answers {status} for {subject}{words}. Try again later."
        case _:
            code = "refused"
            text = f"{asking.endpoint} answers {status} for {subject}{words}. Check HF_ENDPOINT."
    return DownloadError(text, code=code)


def disabled(asking: Asking) -> DownloadError:
    """Say that the hub has closed a repository."""
    msg = f"The hub has disabled {asking.repo}. See {asking.page}, or use another model."
    return DownloadError(msg, code="disabled")


def transient(asking: Asking, status: int, headers: Mapping[str, str], said: str) -> TransientError:
    """Make of a status that may pass what the caller waits for."""
    wait_s = retry_after_s(headers)
    if wait_s is None and (match := _RATE_LIMIT.search(headers.get("ratelimit", ""))):
        wait_s = float(match[1])
    return TransientError(refused(asking, status, said), wait_s)


def unreachable(asking: Asking, error: Exception) -> DownloadError | TransientError:
    """Say that no answer came; what no second try mends is a DownloadError."""
    words = plain_words(str(error), 200) or type(error).__name__
    if "CERTIFICATE_VERIFY_FAILED" in words:
        return DownloadError(
            f"The certificate of {asking.endpoint} is not trusted. If your network has its own "
            "certificates, name their file in SSL_CERT_FILE.",
            code="certificate",
        )
    return TransientError(
        DownloadError(
            f"{asking.endpoint} cannot be reached ({words}). Check the network, HF_ENDPOINT and "
            "the proxy variables.",
            code="network",
        )
    )


def too_slow(asking: Asking, timeout_s: float) -> DownloadError:
    """Say that an answer took too long."""
    return DownloadError(
        f"{asking.endpoint} gave no whole answer for {asking.subject} within "
        f"{format_duration(timeout_s)}. Try again later.",
        code="timeout",
    )


def led_away(asking: Asking, url: str) -> DownloadError:
    """Say that the hub sends to another place, which is not asked."""
    return DownloadError(
        f"{asking.endpoint} sends on to {plain_words(url, 100)!r} for {asking.subject}, which is "
        "not followed. Check HF_ENDPOINT.",
        code="redirect",
    )


def nonsense(asking: Asking, error: Exception | str) -> DownloadError:
    """Say that an answer cannot be understood."""
    words = plain_words(str(error), 100) or type(error).__name__
    return DownloadError(
        f"{asking.endpoint} answers something for {asking.subject} that is no answer of a hub "
        f"({words}). Check HF_ENDPOINT.",
        code="untrusted",
    )


def offline(asking: Asking) -> DownloadError:
    """Say that the environment forbids asking."""
    return DownloadError(
        f"{asking.subject} cannot be looked up: HF_HUB_OFFLINE is set. Unset it to ask the hub.",
        code="offline",
    )
