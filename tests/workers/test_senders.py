"""The senders of a worker: many requests at once on one thread."""

import threading
import time
from collections.abc import Iterator

import pytest

from app.destinations.formats.registry import format_of
from app.destinations.target import Destination
from app.ledger.forwarding.claims import Claimed
from app.ledger.forwarding.outcomes import Outcome
from app.stack.processes import raise_file_limit
from tests.conftest import wait_for
from tests.support.scripted import ScriptedDestination
from workers.senders import EventLoop, SenderPool

MANY = 1000


@pytest.fixture
def place() -> Iterator[ScriptedDestination]:
    made = ScriptedDestination()
    yield made
    made.lets_go = True
    made.close()


def claims(count: int) -> list[Claimed]:
    return [Claimed(n, "1.1", "sale", f'{{"n":{n}}}', f"sale:{n}", 0, 0, 0, False) for n in range(count)]


def test_a_thousand_requests_are_in_flight_at_once_without_a_thread_each(place: ScriptedDestination) -> None:
    raise_file_limit()
    place.script = lambda _key, _before: "hang"
    loop = EventLoop()
    target = Destination("main", place.url, "token", format_of("events"), 100, MANY, allow_private=True)
    pool = SenderPool(target, (60.0,), MANY, loop)
    before = threading.active_count()
    pool.submit(claims(2 * MANY), time.monotonic() + 1000)
    wait_for(lambda: place.open_requests == MANY)
    assert threading.active_count() <= before + 2
    assert len(pool.withdraw()) == MANY, "what no sender has begun"
    assert (len(pool.open_tasks), pool.free_slots()) == (MANY, MANY)
    pool.close()
    loop.close()


def test_more_is_claimed_ahead_of_a_fast_destination_than_of_a_slow_one(place: ScriptedDestination) -> None:
    loop = EventLoop()
    pool = SenderPool(Destination("main", place.url, "t", format_of("events"), allow_private=True), (60.0,), 4, loop)
    assert pool.window == 8
    outcomes: list[Outcome] = []

    def collect() -> bool:
        outcomes.extend(pool.collect()[0])
        return len(outcomes) == 3000

    pool.submit(claims(3000), time.monotonic() + 1000)
    windows: list[int] = []

    def watch() -> bool:
        windows.append(pool.window)
        return collect()

    wait_for(watch)
    assert max(windows) > 20, "it takes some hundreds in a tenth of a second"
    assert len({outcome.claimed.id for outcome in outcomes}) == 3000
    time.sleep(0.3)
    pool.collect()
    assert pool.window == 8
    pool.close()
    loop.close()
