"""Images and sound in messages: only as data: URIs, in the formats that are taken.

What cannot be what it says is refused here, with the place in the request; the worker decodes it,
and says whether the model can see or hear. Nothing is ever fetched.
"""

from __future__ import annotations

import base64
import binascii

from luci_tui.engine.media import (
    AUDIO_STARTS,
    DATA_URI,
    IMAGE_FORMATS,
    IMAGE_STARTS,
    MAX_AUDIO_BYTES,
)
from luci_tui.host.openai.errors import invalid_request


def check_image(url: str, param: str) -> None:
    """Look at the `url` of an image_url part.

    Raises:
        ApiError: 400.
    """
    match = DATA_URI.match(url)
    if match is None:
        scheme = url.partition(":")[0][:20] if ":" in url[:21] else ""
        raise invalid_request(
            f"{param} is no data: URI{f' but {scheme!r}' if scheme else ''}. Nothing is fetched; "
            "send data:image/png;base64,….",
            param=param,
            code="invalid_image_url",
        )
    kind = match.group(1)
    if kind not in IMAGE_FORMATS:
        known = ", ".join(IMAGE_FORMATS)
        raise invalid_request(
            f"{param} has the type {kind[:40]!r}. Send one of {known}.",
            param=param,
            code="invalid_image_format",
        )
    content = _decoded(url[match.end() :], param, "invalid_image")
    if not content.startswith(IMAGE_STARTS[kind]):
        raise invalid_request(
            f"{param} does not begin as {kind} does. Send the file's own type.",
            param=param,
            code="invalid_image",
        )


def check_audio(data: str, format_name: str, param: str) -> None:
    """Look at the fields of an input_audio part.

    Raises:
        ApiError: 400.
    """
    if format_name not in AUDIO_STARTS:
        raise invalid_request(
            f"{param}.format {format_name[:20]!r} is not known. Send wav or mp3.",
            param=f"{param}.format",
            code="invalid_audio_format",
        )
    content = _decoded(data, f"{param}.data", "invalid_audio")
    if not content.startswith(AUDIO_STARTS[format_name]):
        raise invalid_request(
            f"{param}.data does not begin as {format_name} does. Send the file's own format.",
            param=f"{param}.data",
            code="invalid_audio",
        )
    if len(content) > MAX_AUDIO_BYTES:
        raise invalid_request(
            f"{param}.data has {len(content)} bytes; {MAX_AUDIO_BYTES} are taken. Send less.",
            param=f"{param}.data",
            code="invalid_audio",
        )


def _decoded(text: str, param: str, code: str) -> bytes:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_request(
            f"{param} is no base64. Encode the file again.", param=param, code=code
        ) from error
    if not content:
        raise invalid_request(f"{param} is empty. Send a file.", param=param, code=code)
    return content
