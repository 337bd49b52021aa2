"""What a person writes to name a model."""

from __future__ import annotations

import pytest

from luci_tui.download.wanted import HubWish, NameWish, UrlWish, Wish, read_wish
from luci_tui.errors import CatalogError

MIRROR = "http://mirror.example:8080"


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("smollm2-360m", NameWish("smollm2-360m")),
        ("hf:o/r", HubWish("o/r")),
        ("hf://o/r", HubWish("o/r")),
        ("hf:o/r/", HubWish("o/r")),
        ("hf:o/r@v1", HubWish("o/r", "v1")),
        ("hf:o/r@refs%2Fpr%2F1", HubWish("o/r", "refs/pr/1")),
        ("hf:o/r:Q5_K_M", HubWish("o/r", quant="Q5_K_M")),
        ("hf:o/r@v1:q5_k_m", HubWish("o/r", "v1", quant="q5_k_m")),
        ("hf:o/r/a.gguf", HubWish("o/r", path="a.gguf")),
        ("hf:o/r@v1/sub/a b.gguf", HubWish("o/r", "v1", "sub/a b.gguf")),
        ("https://huggingface.co/o/r", HubWish("o/r")),
        ("https://huggingface.co/o/r/", HubWish("o/r")),
        ("https://huggingface.co/o/r/tree/v1", HubWish("o/r", "v1")),
        ("https://huggingface.co/o/r/blob/main/a.gguf", HubWish("o/r", path="a.gguf")),
        (
            "https://huggingface.co/o/r/resolve/refs%2Fpr%2F1/d/a%20b.gguf?download=true",
            HubWish("o/r", "refs/pr/1", "d/a b.gguf"),
        ),
        (f"{MIRROR}/o/r/resolve/v2/a.gguf", HubWish("o/r", "v2", "a.gguf")),
        ("https://example.org/m/a.gguf", UrlWish("https://example.org/m/a.gguf")),
        ("HTTPS://example.org/a.gguf?v=2#x", UrlWish("https://example.org/a.gguf?v=2")),
        ("https://huggingface.co.evil.example/o/r/blob/main/a.gguf", None),
    ],
)
def test_wish_given_a_form_then_it_is_understood(text: str, wish: Wish | None) -> None:
    assert read_wish(text, MIRROR) == (wish or UrlWish(text))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hf:",
        "hf:o",
        "hf:o/",
        "hf:o/..",
        "hf:../r",
        "hf:o/r@",
        "hf:o/r@../x",
        "hf:o/r@-x",
        "hf:o/r:",
        "hf:o/r/a.bin",
        "hf:o/r/../a.gguf",
        "hf:o/r//a.gguf",
        "hf:o/r/a\\b.gguf",
        "hf:o/r:Q4 K",
        "hf:o/r\x1b[2J",
        "https://huggingface.co/o/r/resolve/main/..%2F..%2Fa.gguf",
        "https://huggingface.co/o/r/blob/main/README.md",
        "https://example.org/a.zip",
        "https://example.org:99999/a.gguf",
        "https:///a.gguf",
        "https://[::1/a.gguf",
        "hf:o/" + "r" * 3000,
    ],
)
def test_wish_that_names_nothing_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(CatalogError) as caught:
        read_wish(text, MIRROR)
    assert caught.value.code == "bad_name"
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "url",
    [
        "https://me:pass-word@example.org/a.gguf",
        "https://example.org/a.gguf?token=pass-word",
        "https://example.org/a.gguf?v=1&X-Amz-Signature=pass-word",
        "https://example.org/a.gguf?sig=pass-word",
        "https://example.org/a.gguf?api_key=pass-word",
    ],
)
def test_address_with_a_secret_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(CatalogError) as caught:
        read_wish(url, MIRROR)
    assert caught.value.code == "secret"
    assert "pass-word" not in caught.value.message
