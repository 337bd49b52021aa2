from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from luci_tui.errors import ConfigError
from luci_tui.host.openai.key import KeyRing, key_file, load_keys


def test_key_file_then_it_lies_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCI_HOME", str(tmp_path))
    assert key_file() == tmp_path / "api_key"


def test_keys_given_no_file_then_makes_a_private_one_with_a_random_key(tmp_path: Path) -> None:
    path = tmp_path / "home" / "api_key"
    keys = load_keys(path)
    assert load_keys(path) == keys
    assert len(keys[0]) > 40
    assert keys != load_keys(tmp_path / "other")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [one.name for one in path.parent.iterdir()] == ["api_key"]


def test_keys_given_many_that_make_the_file_at_once_then_all_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "api_key"
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(load_keys, [path] * 32))
    assert len(found) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
def test_keys_given_a_file_that_others_may_use_then_refuses(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "api_key"
    load_keys(path)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=rf"mode {mode:04o}.* chmod 600 "):
        load_keys(path)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"short\n", b"\xff" * 40])
def test_keys_given_a_file_without_a_good_key_then_refuses(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "api_key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="Delete it") as caught:
        load_keys(path)
    assert caught.value.code == "bad_key_file"


def test_keys_given_a_link_or_a_folder_then_refuses(tmp_path: Path) -> None:
    load_keys(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "folder").mkdir(0o700)
    for name in ("link", "folder"):
        with pytest.raises(ConfigError, match="Delete it"):
            load_keys(tmp_path / name)


def test_key_ring_given_several_keys_then_tells_their_clients_apart() -> None:
    ring = KeyRing(("first-key-of-sixteen", "second-key-of-sixteen"))
    first, second = (
        ring.client_of(key) for key in (b"first-key-of-sixteen", b"second-key-of-sixteen")
    )
    assert first
    assert second
    assert first != second
    assert "first" not in first
    assert ring.client_of(b"first-key-of-sixtee") is None
    assert ring.client_of(b"") is None
    assert KeyRing().client_of(b"") is None
