"""Pictures and sounds of a person's messages: what they are, and how a model gets them."""

from __future__ import annotations

import base64
import io
import warnings
from dataclasses import dataclass

from luci_tui.chat.records import Medium
from luci_tui.engine import frames
from luci_tui.engine.media import (
    AUDIO_STARTS,
    IMAGE_FORMATS,
    IMAGE_STARTS,
    MAX_AUDIO_BYTES,
    MAX_PIXELS,
)
from luci_tui.errors import ChatError
from luci_tui.units import format_bytes

MAX_MEDIA = 8
"""In one message."""
MAX_BYTES = 16 * 1024 * 1024
"""Of one picture or sound."""
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""Of all that a message carries; the request about it is a third longer."""
MAX_PROMPT_BYTES = 40 * 1024 * 1024
"""Of all that one prompt carries, the newest first: a frame to a worker holds 64 MiB."""
MAX_PROMPT_MEDIA = 64
"""Of pictures and sounds in one prompt; as in engine/media.py."""
GUESSED_TOKENS = 256
"""What a picture or a sound takes of the context until the model has read it; where it takes more,
the engine says so and the prompt is planned again.

Gemma 3 makes 256 tokens of a picture. Source: https://arxiv.org/abs/2503.19786, section 2.1
"""


REMOTE = "remote"
"""Architecture of a model that is served by another machine."""


@dataclass(frozen=True)
class LoadedMedium:
    """A picture or a sound with its content."""

    medium: Medium
    content: bytes

    @property
    def part(self) -> dict[str, object]:
        """Itself as a part of OpenAI's messages."""
        text = base64.b64encode(self.content).decode()
        kind = self.medium.kind
        if self.medium.is_audio:
            name = kind.partition("/")[2]
            return {"type": "input_audio", "input_audio": {"data": text, "format": name}}
        return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{text}"}}


@dataclass(frozen=True)
class StoredMedium:
    """What a picture or a sound holds, and to which message it belongs."""

    message_id: str
    place: int
    """In `Message.media`."""
    content: bytes


def takes(info: frames.ModelInfo, medium: Medium) -> bool:
    """Tell whether a model can be given a medium; a server elsewhere says it by itself."""
    if info.architecture == REMOTE:
        return True
    return info.takes_audio if medium.is_audio else info.takes_images


def medium_of(name: str, content: bytes) -> Medium | None:
    """Say what a file holds; None = no picture and no sound of those that models take.

    Raises:
        ChatError: it is one, but cannot be used; code "bad_medium".
    """
    for kind, starts in IMAGE_STARTS.items():
        if content.startswith(starts) and (kind != "image/webp" or content[8:12] == b"WEBP"):
            width, height = _pixels(content, kind)
            return Medium(name=name, kind=kind, size_bytes=len(content), width=width, height=height)
    for audio, starts in AUDIO_STARTS.items():
        if content.startswith(starts):
            if len(content) > MAX_AUDIO_BYTES:
                raise _bad(f"a sound may have {format_bytes(MAX_AUDIO_BYTES)}. Send less.")
            return Medium(name=name, kind=f"audio/{audio}", size_bytes=len(content))
    return None


def checked_media(given: list[tuple[str, bytes]]) -> tuple[LoadedMedium, ...]:
    """Take what a message shall carry.

    Args:
        given: (name, content) of each.

    Raises:
        ChatError: one of them cannot be used, or they are too many; code "bad_medium".
    """
    if len(given) > MAX_MEDIA:
        raise _bad(f"A message carries {MAX_MEDIA} pictures and sounds at most. Send fewer.")
    if sum(len(content) for _, content in given) > MAX_MESSAGE_BYTES:
        raise _bad(
            f"The pictures and sounds of a message have {format_bytes(MAX_MESSAGE_BYTES)} at most."
            " Send fewer, or smaller ones."
        )
    found: list[LoadedMedium] = []
    for name, content in given:
        medium = medium_of(name, content)
        if medium is None:
            known = ", ".join([*IMAGE_STARTS, *(f"audio/{one}" for one in AUDIO_STARTS)])
            raise _bad(f'"{name}" is none of {known}. Convert it.')
        found.append(LoadedMedium(medium, content))
    return tuple(found)


def _pixels(content: bytes, kind: str) -> tuple[int, int]:
    """Read how large a picture is, from its header alone."""
    # Pillow is imported with the first picture: most chats have none.
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are checked here
            with Image.open(io.BytesIO(content), formats=[IMAGE_FORMATS[kind]]) as picture:
                width, height = picture.size
    except Exception as error:
        # A damaged file makes Pillow raise nearly anything: OSError, SyntaxError, struct.error.
        what = "the picture is damaged. Save it again."
        raise _bad(what) from error
    if width * height > MAX_PIXELS:
        raise _bad(f"a picture may have {MAX_PIXELS:,} pixels. Send a smaller one.")
    return width, height


def _bad(what: str) -> ChatError:
    return ChatError(what[:1].upper() + what[1:], code="bad_medium")
