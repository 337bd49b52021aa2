"""Bandwidth, slow tails and waits before a retry, with times that the tests make up."""

from __future__ import annotations

import pytest

from luci_tui.download.answers import retry_after_s
from luci_tui.download.pace import MAX_RETRY_AFTER_S, Backoff, Limiter, Speed


def test_limiter_lets_exactly_its_rate_through() -> None:
    limiter = Limiter(1000.0)
    now_s = 0.0
    for _ in range(400):
        now_s += limiter.book(37, now_s)
    assert 400 * 37 / now_s == pytest.approx(1000.0, rel=0.02)


def test_limiter_is_shared_by_those_who_take_turns() -> None:
    limiter = Limiter(1000.0)
    waits = [limiter.book(100, 0.0) for _ in range(10)]
    assert waits[-1] == pytest.approx(0.95, abs=0.06)
    assert waits == sorted(waits)


def test_limiter_makes_up_for_short_pauses_only() -> None:
    limiter = Limiter(1000.0)
    limiter.book(100, 0.0)
    assert limiter.book(100, 1000.0) <= 0.1
    assert limiter.book(1000, 1000.0) >= 0.9


def test_limiter_without_a_limit_and_with_one_that_comes_later() -> None:
    limiter = Limiter()
    assert limiter.book(10**12, 0.0) == 0.0
    limiter.bytes_per_s = 100.0
    assert limiter.book(100, 1.0) > 0.9
    limiter.bytes_per_s = 0.0
    assert limiter.book(100, 1.0) == 0.0


def rates(speed: Speed, *bytes_per_s: int, from_s: float = 0.0) -> float:
    now_s = from_s
    for rate in bytes_per_s:
        now_s += 1.0
        speed.note(rate, now_s)
    return now_s


def test_speed_of_a_steady_download_is_its_rate_and_never_a_slow_tail() -> None:
    speed = Speed(0.0)
    now_s = rates(speed, *[1000] * 100)
    assert speed.bytes_per_s(now_s) == pytest.approx(1000)
    assert not speed.is_slow_tail()


def test_tail_far_below_the_usual_rate_is_slow() -> None:
    speed = Speed(0.0)
    now_s = rates(speed, *[1000] * 30)
    now_s = rates(speed, *[50] * 9, from_s=now_s)
    assert not speed.is_slow_tail()
    rates(speed, 50, from_s=now_s)
    assert speed.is_slow_tail()
    speed.forget(now_s + 1)
    assert not speed.is_slow_tail()


def test_slow_download_from_the_beginning_is_no_slow_tail() -> None:
    speed = Speed(0.0)
    rates(speed, *[50] * 100)
    assert not speed.is_slow_tail()


def test_one_good_second_saves_a_slow_tail() -> None:
    speed = Speed(0.0)
    now_s = rates(speed, *[1000] * 30)
    rates(speed, *[50] * 5, 900, *[50] * 5, from_s=now_s)
    assert not speed.is_slow_tail()


def test_backoff_doubles_to_its_limit_and_begins_again_after_success() -> None:
    backoff = Backoff(first_s=1.0, max_s=8.0, jitter=lambda: 1.0)
    assert [backoff.wait_s(None) for _ in range(6)] == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    backoff.succeeded()
    assert backoff.wait_s(None) == 1.0
    assert Backoff(first_s=1.0, jitter=lambda: 0.0).wait_s(None) == 0.5


def test_backoff_does_as_the_server_asks_within_reason() -> None:
    backoff = Backoff(first_s=1.0)
    assert backoff.wait_s(7.0) == 7.0
    assert backoff.wait_s(10.0**9) == MAX_RETRY_AFTER_S


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("17", 17.0),
        ("soon", None),
        ("-5", None),
        ("9" * 400, 999_999_999.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 40.0),
        ("Thu, 01 Jan 1970 00:00:10 GMT", 0.0),
        ("Thu, 01 Jan 99999 00:00:10 GMT", None),
    ],
)
def test_retry_after_is_a_number_or_a_date(text: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": text}, now_s=60.0) == seconds
