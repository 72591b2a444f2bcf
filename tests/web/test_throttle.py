"""How often somebody may get the password wrong."""

from ipaddress import ip_network

import pytest
from werkzeug.exceptions import TooManyRequests

from app.web.throttle import MOST_FAILURES, MOST_KNOWN, MOST_OF_ALL, WINDOW_SECONDS, Throttle, client_of

PROXIES = [ip_network("10.0.0.0/8"), ip_network("2001:db8::1/128")]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def throttle(clock: Clock) -> Throttle:
    return Throttle(clock)


def is_open(throttle: Throttle, address: str) -> bool:
    try:
        throttle.begin(address)
    except TooManyRequests:
        return False
    return True


def test_failures_are_forgotten_after_a_minute(throttle: Throttle, clock: Clock) -> None:
    assert [is_open(throttle, "192.0.2.1") for _ in range(MOST_FAILURES + 1)] == [True] * MOST_FAILURES + [False]
    clock.now += WINDOW_SECONDS + 0.1
    assert is_open(throttle, "192.0.2.1")


def test_the_refusal_says_when_to_come_again(throttle: Throttle) -> None:
    for _ in range(MOST_FAILURES):
        throttle.begin("192.0.2.1")
    with pytest.raises(TooManyRequests) as refused:
        throttle.begin("192.0.2.1")
    assert refused.value.retry_after == 60


def test_tries_at_once_are_no_more_than_one_after_the_other(throttle: Throttle) -> None:
    """Each counts from its beginning, before it is known whether the password is right."""
    assert sum(is_open(throttle, "192.0.2.1") for _ in range(50)) == MOST_FAILURES


def test_a_success_takes_back_itself_and_no_failure(throttle: Throttle) -> None:
    for _ in range(MOST_FAILURES - 1):
        throttle.begin("192.0.2.1")
    for _ in range(3):
        throttle.begin("192.0.2.1")
        throttle.succeeded("192.0.2.1")
    throttle.begin("192.0.2.1")
    assert not is_open(throttle, "192.0.2.1")


def test_guesses_from_many_addresses_are_bounded_and_keep_out_nobody_who_was_in_before(
    throttle: Throttle, clock: Clock
) -> None:
    throttle.begin("192.0.2.1")
    throttle.succeeded("192.0.2.1")
    strangers = [f"198.51.{n // 250}.{n % 250}" for n in range(MOST_OF_ALL + 100)]
    assert sum(is_open(throttle, one) for one in strangers) == MOST_OF_ALL
    assert is_open(throttle, "192.0.2.1")
    assert len(throttle._tries) <= MOST_OF_ALL + 1
    clock.now += WINDOW_SECONDS + 0.1
    assert is_open(throttle, "203.0.113.9")
    assert len(throttle._tries) == len(throttle._of) == 1


def test_what_is_remembered_of_those_who_were_in_is_bounded(throttle: Throttle) -> None:
    for n in range(MOST_KNOWN + 10):
        throttle.succeeded(f"10.1.{n // 250}.{n % 250}")
    assert len(throttle._known) == MOST_KNOWN


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("", "nonsense", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
def test_who_is_throttled_together(throttle: Throttle, one: str, other: str, together: bool) -> None:
    for _ in range(MOST_FAILURES):
        throttle.begin(one)
    assert is_open(throttle, other) is not together


@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.1", "192.0.2.1"),  # no proxy of ours
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),  # the first was written by anyone who asks
        ("10.0.0.1", "198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("2001:db8::1", "[2001:db8:5::1]:443, ::ffff:10.0.0.3", "2001:db8:5::1"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "unknown", "unknown"),
        ("10.0.0.1", ",", ""),
        ("10.0.0.1", "", "10.0.0.1"),
    ],
)
def test_the_address_that_asks(remote: str, forwarded: str, client: str) -> None:
    assert client_of(remote, forwarded, PROXIES) == client
