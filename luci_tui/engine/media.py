"""Images and sound of a request: out of its messages, decoded as far as the core needs.

A message carries them as OpenAI's parts do: `{"type": "image_url", "image_url": {"url":
"data:image/png;base64,…"}}` and `{"type": "input_audio", "input_audio": {"data": "…", "format":
"wav"}}`. Nothing is ever fetched. Pictures become RGB here, by Pillow; the core decodes sound.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from luci_tui.errors import RequestError

if TYPE_CHECKING:
    from PIL import Image

IMAGE_FORMATS: Final = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
    "image/bmp": "BMP",
}
"""MIME type -> Pillow's name of the decoder; no other decoder ever sees a file."""
IMAGE_STARTS: Final = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
    "image/webp": (b"RIFF",),
    "image/bmp": (b"BM",),
}
"""MIME type -> how its files begin."""
AUDIO_STARTS: Final = {
    "wav": (b"RIFF",),
    "mp3": (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"),
}
"""Format -> how its files begin."""
MAX_PIXELS: Final = 100_000_000
"""A picture of more is refused before it is decoded: it would take 300 MB."""
MAX_SIDE: Final = 4096
"""Pixels; larger pictures are made smaller, since no projector looks at more."""
MAX_AUDIO_BYTES: Final = 16 * 1024 * 1024
MAX_MEDIA: Final = 64
"""In one request."""

DATA_URI: Final = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,")


@dataclass(frozen=True)
class Medium:
    """One picture or sound as the core takes it."""

    is_audio: bool
    id: str
    """SHA-256 of the file, so that the same medium is known again in the next request."""
    data: bytes
    """Of a picture the pixels: RGB, rows from the top; of a sound the file."""
    width: int = 0
    """Pixels; 0 for sound."""
    height: int = 0


def media_part(content: bytes) -> dict[str, object] | None:
    """Make the part of a message that carries a file's image or sound; None = it is neither."""
    text = base64.b64encode(content).decode()
    for kind, starts in IMAGE_STARTS.items():
        if content.startswith(starts) and (kind != "image/webp" or content[8:12] == b"WEBP"):
            return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{text}"}}
    for name, starts in AUDIO_STARTS.items():
        if content.startswith(starts):
            return {"type": "input_audio", "input_audio": {"data": text, "format": name}}
    return None


def refuse_media(messages_json: str | None) -> None:
    """Refuse images and sound, for a model that was loaded without a projector.

    Raises:
        RequestError: the messages hold one; code "media_not_supported".
    """
    if messages_json is not None and _count_media(messages_json):
        msg = (
            "This model takes no images and no sound: it was loaded without a projector. "
            "Load it with the mmproj file that belongs to it, or send text alone."
        )
        raise RequestError(msg, code="media_not_supported")


def take_media(messages_json: str | None) -> tuple[str | None, list[Medium]]:
    """Take the media out of messages and leave `{"type": "media", "index": i}` in their places.

    Args:
        messages_json: OpenAI messages as JSON; text that is no such JSON is given back as it is,
            for the template to refuse.

    Raises:
        RequestError: a medium cannot be decoded, or there are more than MAX_MEDIA; codes
            "invalid_image", "invalid_audio", "invalid_request".
    """
    if messages_json is None or not _may_hold_media(messages_json):
        return messages_json, []
    try:
        messages: object = json.loads(messages_json)
    except ValueError:
        return messages_json, []
    media: list[Medium] = []
    for message in _dicts(messages):
        for part in _dicts(message.get("content")):
            medium = _medium(part)
            if medium is None:
                continue
            if len(media) == MAX_MEDIA:
                raise RequestError(
                    f"A request holds more than {MAX_MEDIA} images and sounds. Send fewer.",
                    code="invalid_request",
                )
            part.clear()
            part.update(type="media", index=len(media))
            media.append(medium)
    return json.dumps(messages, ensure_ascii=False), media


def _count_media(messages_json: str) -> int:
    """Count the images and sounds of messages without decoding one."""
    if not _may_hold_media(messages_json):
        return 0
    try:
        messages: object = json.loads(messages_json)
    except ValueError:
        return 0
    parts = (part for message in _dicts(messages) for part in _dicts(message.get("content")))
    return sum(part.get("type") in ("image_url", "input_audio") for part in parts)


def decode_image(content: bytes, kind: str) -> Medium:
    """Decode a picture, turned upright as its EXIF data asks.

    Args:
        content: The file.
        kind: Its MIME type, one of IMAGE_FORMATS.

    Raises:
        RequestError: it is no such picture, or larger than MAX_PIXELS; code "invalid_image".
    """
    # Pillow is imported with the first picture: a model that takes none never needs it.
    from PIL import Image, ImageOps

    if kind not in IMAGE_FORMATS:
        known = ", ".join(IMAGE_FORMATS)
        raise _bad_image(f"has the type {kind[:40]!r}; send one of {known}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes that we check ourselves
            picture = Image.open(io.BytesIO(content), formats=[IMAGE_FORMATS[kind]])
            width, height = picture.size
            if width * height > MAX_PIXELS:
                size = f"{width} x {height}"
                raise _bad_image(f"has {size} pixels; {MAX_PIXELS} are taken. Send a smaller one")
            picture.draft("RGB", (MAX_SIDE, MAX_SIDE))
            upright = _flat(ImageOps.exif_transpose(picture))
            upright.thumbnail((MAX_SIDE, MAX_SIDE))
    except RequestError:
        raise
    except Exception as error:
        # A damaged file makes Pillow raise nearly anything: OSError, SyntaxError, struct.error.
        raise _bad_image(f"cannot be decoded ({error}). Save it again") from error
    return Medium(
        is_audio=False,
        id=hashlib.sha256(content).hexdigest(),
        data=upright.tobytes(),
        width=upright.width,
        height=upright.height,
    )


def _flat(picture: Image.Image) -> Image.Image:
    """Give the picture as RGB, on white where it is transparent."""
    from PIL import Image

    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture.convert("RGBA"))
    return picture.convert("RGB")


def _medium(part: dict[str, object]) -> Medium | None:
    """Decode a part's medium; None = it is a part of another kind."""
    match part:
        case {"type": "image_url", "image_url": {"url": str(url)}}:
            match = DATA_URI.match(url)
            if match is None:
                what = "is no data: URI; nothing is fetched. Send the image itself"
                raise _bad_image(what)
            return decode_image(_decoded(url[match.end() :], "image"), match.group(1))
        case {"type": "input_audio", "input_audio": {"data": str(data), "format": str(name)}}:
            content = _decoded(data, "audio")
            if not content.startswith(AUDIO_STARTS.get(name, ())):
                msg = f"A sound is no {name[:20]} file. Send wav or mp3, and say which it is."
                raise RequestError(msg, code="invalid_audio")
            if len(content) > MAX_AUDIO_BYTES:
                msg = f"A sound has {len(content)} bytes; {MAX_AUDIO_BYTES} are taken. Send less."
                raise RequestError(msg, code="invalid_audio")
            return Medium(is_audio=True, id=hashlib.sha256(content).hexdigest(), data=content)
        case _:
            return None


def _decoded(text: str, what: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        msg = f"The {what} is no base64. Encode the file again."
        raise RequestError(msg, code=f"invalid_{what}") from error


def _bad_image(what: str) -> RequestError:
    return RequestError(f"An image {what}.", code="invalid_image")


def _may_hold_media(messages_json: str) -> bool:
    """Tell quickly that messages are text alone, as nearly all are."""
    return '"image_url"' in messages_json or '"input_audio"' in messages_json


def _dicts(value: object) -> list[dict[str, object]]:
    """Give the objects of a JSON array; none where it is no array."""
    if not isinstance(value, list):
        return []
    items = cast("list[object]", value)
    return [cast("dict[str, object]", item) for item in items if isinstance(item, dict)]
