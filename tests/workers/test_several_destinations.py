"""Several destinations in one worker: each has its own senders, pauses and budget in flight."""

import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from app.destinations.formats.registry import format_of
from app.destinations.target import Destination
from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import destination_state
from tests.conftest import wait_for
from tests.support.makers import one
from tests.support.ports import Port
from tests.support.scripted import ScriptedDestination
from workers.forward import Forwarder

COLUMNS = (
    "id", "conversion_id", "person_id", "event_id", "source", "kind", "destination", "dedupe_key", "status", "payload",
    "due_at", "created_at",
)  # fmt: skip
COUNT = 400


class Two:
    """A worker's forwarder for two destinations, and COUNT deliveries due to each."""

    def __init__(self, ledger: Ledger, **options: object) -> None:
        self.ledger = ledger
        self.well, self.ill = ScriptedDestination(), ScriptedDestination()
        self.stop = threading.Event()
        places = (("ill", self.ill), ("well", self.well))  # the ill one has the first turn
        self.forwarder = Forwarder(
            ledger,
            [self._destination(name, place.url, **options) for name, place in places],
            (0.2, 0.2, 60.0),
            900,
            self.stop,
        )
        self.forwarder.worker_id = 1
        now = int(time.time() * 1000)
        rows = []
        for n, (name, _) in enumerate(places * COUNT):
            rows.append(
                (n + 1, n // 2, n // 2, n // 2, "stripe", "sale", name, f"sale:{n // 2}", "pending", "{}", now, now)
            )
        with ledger.write() as tx:
            tx.insert(tables.deliveries, COLUMNS, rows)
        self._thread = threading.Thread(target=self.forwarder.run, args=(lambda: None,), daemon=True)

    def _destination(self, name: str, url: str, **options: object) -> Destination:
        fields = {"timeout_seconds": 100, "concurrency": 8, "allow_private": True, **options}
        return Destination(name, url, "token", format_of("events"), **fields)  # type: ignore[arg-type]

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self.ill.script = self.well.script = lambda _key, _before: "ok"
        self.ill.lets_go = True
        self.stop.set()
        if self._thread.ident:
            self._thread.join(15)
        self.forwarder.close()
        self.well.close()
        self.ill.close()

    def count(self, name: str, status: str) -> int:
        with self.ledger.read() as tx:
            statement = "SELECT COUNT(*) FROM deliveries WHERE destination = ? AND status = ?"
            return int(tx.run(statement, name, status).scalar_one())


@pytest.fixture
def two(ledger: Ledger) -> Iterator[Two]:
    made = Two(ledger)
    yield made
    made.close()


def serve_the_well_one(two: Two) -> None:
    two.start()
    wait_for(lambda: two.count("well", "delivered") == COUNT)


@pytest.mark.parametrize("what", ["hang", "drip"])
def test_one_that_hangs_does_not_delay_the_other(two: Two, what: str) -> None:
    two.well.delay_seconds = 0.02
    two.ill.script, two.ill.drip_seconds = (lambda _key, _before: what), 1.5
    serve_the_well_one(two)
    assert one(two.ledger, "SELECT COUNT(*) FROM attempts") == (COUNT,), "not one request to the ill one is over"
    assert two.count("ill", "delivered") == 0
    assert two.ill.open_requests <= 8, "what hangs has its own budget in flight"


def test_one_that_fails_opens_its_own_breaker_alone(two: Two) -> None:
    two.ill.script = lambda _key, _before: "500"
    serve_the_well_one(two)
    wait_for(lambda: two.count("ill", "retrying") >= 8)
    with two.ledger.read() as tx:
        assert destination_state(tx, "ill").is_open
        assert not destination_state(tx, "well").is_open


def test_one_without_a_route_to_it_harms_no_other(ledger: Ledger) -> None:
    two = Two(ledger)
    try:
        two.ill.close()
        with Port(urlsplit(two.ill.url).port or 0):
            serve_the_well_one(two)
        assert two.count("ill", "delivered") == 0
    finally:
        two.close()


def test_a_rate_holds_back_the_one_that_has_it(ledger: Ledger) -> None:
    two = Two(ledger, rate=5)
    two.forwarder._pools[1].destination = two._destination("well", two.well.url)
    try:
        serve_the_well_one(two)
        assert two.count("ill", "delivered") < COUNT
    finally:
        two.close()
