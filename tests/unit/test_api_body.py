from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from luci_tui.host.openai.body import THREAD_BYTES, depth_exceeds, parse_object
from luci_tui.host.openai.errors import ApiError
from luci_tui.host.openai.parameters import field_path

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\[]{}é'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


def depth_of(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


@settings(max_examples=30, deadline=None)
@given(value=JSON, ascii_only=st.booleans())
def test_depth_given_any_json_then_is_that_of_the_value(value: object, *, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    depth = depth_of(value)
    assert not depth_exceeds(body, depth)
    assert depth == 0 or depth_exceeds(body, depth - 1)


@pytest.mark.parametrize(
    ("piece", "is_deep"),
    [(b'"', True), (b'""', True), (b'{"', True), (b"\\", True), (b'\\"', False), (b'"\\', False)],
)
def test_depth_given_a_hostile_body_then_one_pass_is_enough(piece: bytes, *, is_deep: bool) -> None:
    # A pattern that goes back would take hours for this, and the test would time out.
    assert depth_exceeds(piece * 100_000 + b"]" + b"[" * 66, 64) is is_deep


async def test_object_given_a_long_body_then_it_is_the_same() -> None:
    wanted = {"text": "x" * THREAD_BYTES, "n": [1, 2.5, None]}
    assert await parse_object(json.dumps(wanted).encode(), 8) == wanted


async def test_object_given_keys_that_differ_then_none_is_twice() -> None:
    assert await parse_object(b'{"a": {"a": 1}, "A": {"a": 2}}', 8)
    with pytest.raises(ApiError, match="'a' twice"):
        await parse_object(b'{"b": [{"a": 1, "\\u0061": 2}]}', 8)


@pytest.mark.parametrize(
    ("location", "path"),
    [
        (("messages", 0, "content"), "messages[0].content"),
        (
            ("messages", 2, "content", "list[Part]", 1, "image_url", "url"),
            "messages[2].content[1].image_url.url",
        ),
        (("tool_choice", "NamedTool", "function", "name"), "tool_choice.function.name"),
        (("stop", "str"), "stop"),
        ((), "body"),
    ],
)
def test_field_path_then_is_written_as_openai_does(
    location: tuple[int | str, ...], path: str
) -> None:
    assert field_path(location) == path
