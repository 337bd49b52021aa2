"""Images and sound of messages, as the worker takes them apart."""

from __future__ import annotations

import base64
import contextlib
import json
from io import BytesIO

import pytest
from PIL import Image

from luci_tui.engine import media
from luci_tui.engine.media import decode_image, media_part, refuse_media, take_media
from luci_tui.errors import RequestError
from tests.support.projectors import png, wav


def saved(picture: Image.Image, format_name: str, **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, format_name, **options)
    return file.getvalue()


def message(*parts: object) -> str:
    return json.dumps([{"role": "user", "content": list(parts)}])


def image_url(content: bytes, kind: str = "image/png") -> dict[str, object]:
    data = base64.b64encode(content).decode()
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}


def test_messages_without_media_stay_as_they_are() -> None:
    for text in (None, "[]", "no JSON", message({"type": "text", "text": "hello"})):
        assert take_media(text) == (text, [])


def test_media_leave_numbered_places_in_their_order() -> None:
    parts = (
        {"type": "text", "text": "what is"},
        image_url(png(7, 5, seed=1)),
        {"type": "input_audio", "input_audio": {"data": encoded(wav()), "format": "wav"}},
    )
    text, found = take_media(message(*parts))
    assert text is not None
    assert json.loads(text)[0]["content"] == [
        {"type": "text", "text": "what is"},
        {"type": "media", "index": 0},
        {"type": "media", "index": 1},
    ]
    assert [(one.is_audio, one.width, one.height) for one in found] == [
        (False, 7, 5),
        (True, 0, 0),
    ]
    assert len(found[0].data) == 3 * 7 * 5
    assert found[1].data == wav()
    with pytest.raises(RequestError, match="without a projector"):
        refuse_media(message(*parts))


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_same_file_has_the_same_id_and_another_one_has_not() -> None:
    first, again, other = (decode_image(png(seed=seed), "image/png") for seed in (1, 1, 2))
    assert first.id == again.id != other.id


@pytest.mark.parametrize("format_name", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_each_format_is_decoded_to_the_pixels_it_holds(format_name: str) -> None:
    content = saved(Image.new("RGB", (8, 6), (200, 30, 30)), format_name)
    part = media_part(content)
    assert part is not None
    _, (found,) = take_media(message(part))
    assert (found.width, found.height) == (8, 6)
    red, green, blue = found.data[:3]
    assert red > 180
    assert green < 60
    assert blue < 60


def test_transparent_pixels_are_white() -> None:
    content = saved(Image.new("RGBA", (2, 2), (0, 0, 0, 0)), "PNG")
    assert decode_image(content, "image/png").data == b"\xff" * 12


def test_photo_is_turned_upright_as_its_exif_data_asks() -> None:
    picture = Image.new("RGB", (4, 2), "black")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    found = decode_image(saved(picture, "JPEG", exif=exif), "image/jpeg")
    assert (found.width, found.height) == (2, 4)


def test_large_picture_is_made_smaller_and_keeps_its_shape() -> None:
    found = decode_image(saved(Image.new("RGB", (8192, 1024)), "JPEG"), "image/jpeg")
    assert (found.width, found.height) == (4096, 512)


def test_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(media, "MAX_PIXELS", 1000)
    with pytest.raises(RequestError, match="40 x 40 pixels") as caught:
        decode_image(png(40, 40), "image/png")
    assert caught.value.code == "invalid_image"


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (image_url(png()[:60]), "invalid_image"),
        (image_url(b"\x89PNG\r\n\x1a\n" + bytes(40)), "invalid_image"),
        (image_url(png(), "image/jpeg"), "invalid_image"),
        (image_url(png(), "image/tiff"), "invalid_image"),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "invalid_image"),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,@"}}, "invalid_image"),
        (
            {"type": "input_audio", "input_audio": {"data": encoded(png()), "format": "wav"}},
            "invalid_audio",
        ),
        (
            {"type": "input_audio", "input_audio": {"data": encoded(wav()), "format": "ogg"}},
            "invalid_audio",
        ),
        ({"type": "input_audio", "input_audio": {"data": "@", "format": "wav"}}, "invalid_audio"),
    ],
)
def test_what_is_no_medium_is_refused(part: object, code: str) -> None:
    with pytest.raises(RequestError) as caught:
        take_media(message(part))
    assert caught.value.code == code


def test_damaged_pictures_are_decoded_or_refused_and_nothing_else() -> None:
    for format_name in ("PNG", "JPEG", "GIF", "WEBP", "BMP"):
        whole = saved(Image.effect_noise((24, 24), 80).convert("RGB"), format_name)
        kind = f"image/{format_name.lower()}"
        for at in range(0, len(whole), max(1, len(whole) // 60)):
            damaged = whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]
            for content in (damaged, whole[:at]):
                # Any other error fails the test.
                with contextlib.suppress(RequestError):
                    found = decode_image(content, kind)
                    assert len(found.data) == 3 * found.width * found.height


def test_too_many_media_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MAX_MEDIA", 2)
    with pytest.raises(RequestError, match="more than 2"):
        take_media(message(*[image_url(png())] * 3))


def test_file_of_neither_kind_makes_no_part() -> None:
    assert media_part(b"hello") is None
    assert media_part(b"RIFF....WEBPVP8 ") == {
        "type": "image_url",
        "image_url": {"url": f"data:image/webp;base64,{encoded(b'RIFF....WEBPVP8 ')}"},
    }
