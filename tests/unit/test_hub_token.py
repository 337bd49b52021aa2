"""The token for the hub on the disk and in the environment."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from luci_tui.config import PUBLIC_HUB, HubEnvironment, certificates, hub_environment
from luci_tui.download.hub_token import find_token, may_expire, remove_token, store_token
from luci_tui.errors import ConfigError

TOKEN = "hf_" + "x" * 30
NAMES = (
    *("HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HOME", "HF_TOKEN_PATH"),
    *("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "XDG_CACHE_HOME"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
)


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


def test_environment_without_anything_is_the_public_hub() -> None:
    found = hub_environment()
    assert (found.endpoint, found.token, found.is_offline) == (PUBLIC_HUB, "", False)
    assert found.token_file == Path.home() / ".cache" / "huggingface" / "token"
    assert certificates() == ""


def test_environment_is_read_under_the_names_of_the_hubs_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://mirror.example/hub/ ")
    monkeypatch.setenv("HUGGING_FACE_HUB_TOKEN", f" {TOKEN}\n")
    monkeypatch.setenv("HF_HOME", "$WHERE/hf")
    monkeypatch.setenv("WHERE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "yes")
    monkeypatch.setenv("CURL_CA_BUNDLE", "/c.pem")
    found = hub_environment()
    assert (found.token, found.token_variable) == (TOKEN, "HUGGING_FACE_HUB_TOKEN")
    assert found.token_file == tmp_path / "hf" / "token"
    assert (found.endpoint, found.is_offline) == ("https://mirror.example/hub", True)
    assert certificates() == "/c.pem"
    monkeypatch.setenv("HF_TOKEN", "other")
    monkeypatch.setenv("HF_TOKEN_PATH", "~/t")
    monkeypatch.setenv("SSL_CERT_DIR", "/certs")
    assert hub_environment().token_variable == "HF_TOKEN"
    assert hub_environment().token_file == Path.home() / "t"
    assert certificates() == "/certs"
    assert TOKEN not in repr(found)


def at(folder: Path, token: str = "") -> HubEnvironment:
    return HubEnvironment(
        token=token, token_variable="HF_TOKEN", token_file=folder / "hf" / "token"
    )


def test_token_is_stored_for_its_owner_alone_and_removed(tmp_path: Path) -> None:
    environment = at(tmp_path)
    assert find_token(environment) is None
    assert not remove_token(environment)
    old_mask = os.umask(0)
    try:
        store_token(environment, "the-old-one")
        path = store_token(environment, TOKEN)
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    found = find_token(environment)
    assert found is not None
    assert (found.secret, found.source, found.is_from_environment) == (TOKEN, str(path), False)
    assert TOKEN not in repr(found)
    assert remove_token(environment)
    assert list(path.parent.iterdir()) == []


def test_token_of_the_environment_comes_first(tmp_path: Path) -> None:
    store_token(at(tmp_path), "the-stored-one")
    found = find_token(at(tmp_path, TOKEN))
    assert found is not None
    assert (found.secret, found.is_from_environment) == (TOKEN, True)


@pytest.mark.parametrize("content", [b"short", b"two words here", b"\xff" * 30, b"x" * 9000])
def test_stored_file_that_is_no_token_is_refused_without_its_content(
    content: bytes, tmp_path: Path
) -> None:
    environment = at(tmp_path)
    environment.token_file.parent.mkdir()
    environment.token_file.write_bytes(content)
    with pytest.raises(ConfigError, match="is no token") as caught:
        find_token(environment)
    assert content[:8].decode("latin-1") not in caught.value.message


def test_empty_token_file_is_none(tmp_path: Path) -> None:
    environment = at(tmp_path)
    environment.token_file.parent.mkdir()
    environment.token_file.write_text("\n")
    assert find_token(environment) is None


def test_login_through_the_browser_is_known_by_its_renewal(tmp_path: Path) -> None:
    environment = at(tmp_path)
    assert not may_expire(environment)
    store_token(environment, TOKEN)
    tokens = environment.token_file.with_name("stored_tokens")
    tokens.write_text("[mine]\nhf_token = x\n")
    assert not may_expire(environment)
    tokens.write_text("[oauth-me]\nhf_token = x\nrefresh_token = y\n")
    assert may_expire(environment)
