"""Which certificates a server is checked against: those of the environment, or of the system."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi

from luci_tui.config import certificates
from luci_tui.errors import DownloadError


def tls_context() -> ssl.SSLContext:
    """Make a context that checks servers, with a company's own certificates where they are named.

    Raises:
        DownloadError: the file or folder that the environment names cannot be used; code
            "certificates".
    """
    named = certificates()
    if not named:
        context = ssl.create_default_context()
        context.load_verify_locations(cafile=certifi.where())
        return context
    try:
        if Path(named).is_dir():
            return ssl.create_default_context(capath=named)
        return ssl.create_default_context(cafile=named)
    except OSError as error:  # ssl.SSLError is one
        msg = (
            f"The certificates in {named} cannot be read ({error.strerror or error}). "
            "Correct SSL_CERT_FILE, or unset it."
        )
        raise DownloadError(msg, code="certificates") from error
