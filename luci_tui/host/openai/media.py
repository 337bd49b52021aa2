"""Images and sound in messages: only as data: URIs, and only for a model that can see or hear.

No model here has a projector yet, so a good part is refused with that reason, and a bad one with
its own. Nothing is ever fetched.
"""

from __future__ import annotations

import base64
import binascii
import re

from luci_tui.host.openai.errors import ApiError, invalid_request

IMAGE_TYPES = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
    "image/bmp": (b"BM",),
}
"""MIME type -> how its files begin."""
AUDIO_FORMATS = {"wav": (b"RIFF",), "mp3": (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2")}

_DATA_URI = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,")


def check_image(url: str, param: str) -> None:
    """Look at the `url` of an image_url part.

    Raises:
        ApiError: 400, always; it says whether the image or the model is the reason.
    """
    match = _DATA_URI.match(url)
    if match is None:
        scheme = url.partition(":")[0][:20] if ":" in url[:21] else ""
        raise invalid_request(
            f"{param} is no data: URI{f' but {scheme!r}' if scheme else ''}. Nothing is fetched; "
            "send data:image/png;base64,….",
            param=param,
            code="invalid_image_url",
        )
    kind = match.group(1)
    if kind not in IMAGE_TYPES:
        known = ", ".join(IMAGE_TYPES)
        raise invalid_request(
            f"{param} has the type {kind[:40]!r}. Send one of {known}.",
            param=param,
            code="invalid_image_format",
        )
    content = _decoded(url[match.end() :], param, "invalid_image")
    if not content.startswith(IMAGE_TYPES[kind]):
        raise invalid_request(
            f"{param} does not begin as {kind} does. Send the file's own type.",
            param=param,
            code="invalid_image",
        )
    raise _no_projector(param, "image")


def check_audio(data: str, format_name: str, param: str) -> None:
    """Look at the fields of an input_audio part.

    Raises:
        ApiError: 400, always; it says whether the sound or the model is the reason.
    """
    if format_name not in AUDIO_FORMATS:
        raise invalid_request(
            f"{param}.format {format_name[:20]!r} is not known. Send wav or mp3.",
            param=f"{param}.format",
            code="invalid_audio_format",
        )
    content = _decoded(data, f"{param}.data", "invalid_audio")
    if not content.startswith(AUDIO_FORMATS[format_name]):
        raise invalid_request(
            f"{param}.data does not begin as {format_name} does. Send the file's own format.",
            param=f"{param}.data",
            code="invalid_audio",
        )
    raise _no_projector(param, "sound")


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


def _no_projector(param: str, what: str) -> ApiError:
    return invalid_request(
        f"This model takes no {what}: it has no projector. Send text alone.",
        param=param,
        code="media_not_supported",
    )
