import pytest

from luci_tui.tui.web.guard import Asked, Guard, cookie_name, headers_for

GUARD = Guard("the-key")
OWN = "127.0.0.1:8000"


def asked(**fields: str) -> Asked:
    values = {"path": "/", "host": OWN, "origin": "", "key": "", "cookie": "the-key", **fields}
    return Asked(**values)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"host": "localhost:9000"},
        {"host": "[::1]:8000"},
        {"cookie": "", "key": "the-key"},
        {"path": "/ws", "origin": f"http://{OWN}"},
        {"path": "/ws", "host": "LOCALHOST:1", "origin": "http://LOCALHOST:1"},
    ],
)
def test_own_page_with_the_key_is_answered(fields: dict[str, str]) -> None:
    assert GUARD.refuse(asked(**fields)) == ""


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"host": "evil.example:8000"}, "answers only to 127.0.0.1"),
        ({"host": "127.0.0.1.evil.example"}, "answers only to 127.0.0.1"),
        ({"host": "evil.example@127.0.0.1.x"}, "answers only to 127.0.0.1"),
        ({"host": ""}, "answers only to 127.0.0.1"),
        ({"host": "[::1"}, "answers only to 127.0.0.1"),
        ({"path": "/ws"}, "only to its own page"),
        ({"path": "/ws", "origin": "null"}, "only to its own page"),
        ({"path": "/ws", "origin": "http://evil.example"}, "only to its own page"),
        ({"path": "/ws", "origin": "http://127.0.0.1:9999"}, "only to its own page"),
        ({"origin": "http://evil.example"}, "only to its own page"),
        ({"cookie": ""}, "key is missing or wrong"),
        ({"cookie": "the-kez"}, "key is missing or wrong"),
        ({"cookie": "", "key": "the-key "}, "key is missing or wrong"),
        ({"cookie": "café\u20ac"}, "key is missing or wrong"),
    ],
)
def test_anything_else_is_refused_in_one_sentence(fields: dict[str, str], said: str) -> None:
    assert said in GUARD.refuse(asked(**fields))


def test_only_the_right_key_in_the_address_moves_into_a_cookie() -> None:
    assert GUARD.brings_key(asked(key="the-key"))
    assert not GUARD.brings_key(asked(key="other"))
    assert not GUARD.brings_key(asked(key=""))
    assert cookie_name(8000) != cookie_name(8001)


def test_keys_are_long_and_unlike_and_no_part_of_what_is_logged() -> None:
    one, other = Guard(), Guard()
    assert one.key != other.key
    assert len(one.key) >= 32
    assert one.key not in repr(one)


def test_headers_let_the_page_talk_to_this_server_alone() -> None:
    policy = headers_for("localhost:8000")["Content-Security-Policy"]
    assert "connect-src 'self' ws://localhost:8000;" in policy
    assert "default-src 'none'" in policy
    assert "evil" not in headers_for("evil.example")["Content-Security-Policy"]
