"""Providers that send until they are asked to stop, so that whatever an operator does meanwhile happens under load."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence

from tests.faults.producer import Event, Pile, Producer, make_pile

PILE = 10
"""Events that are made at a time."""
PATIENCE_SECONDS = 150.0
"""How long something may stand still. How long it takes depends on the machine."""


def wait_while_it_goes_on(condition: Callable[[], object], progress: Callable[[], object], what: str) -> None:
    """Waits until `condition()` is true. AssertionError where `progress()` stands still meanwhile."""
    last, since = progress(), time.monotonic()
    while not condition():
        time.sleep(0.02)
        if (now := progress()) != last:
            last, since = now, time.monotonic()
        assert time.monotonic() - since < PATIENCE_SECONDS, f"{what}: at {last} for {PATIENCE_SECONDS:g} s"


class Load:
    """Stripe and Typeform: distinct purchases and submissions, each about three times in ten sent again.

    What is not answered 200 is sent again until it is. name: part of all ids, so that two loads speak of different purchases.
    """

    def __init__(self, ports: Sequence[int], name: str, *, a_second: float, seed: int) -> None:
        self._ports = ports
        self._name = name
        self._rate = a_second
        self._seed = seed
        self._over = threading.Event()
        self._error: BaseException | None = None
        self.events: list[Event] = []
        self.acknowledged: set[str] = set()
        self.answers: Counter[object] = Counter()
        self.posted = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def keys(self) -> set[str]:
        return {event.key for event in self.events}

    def go_on(self, least: int = PILE) -> None:
        """Until so many more events were acknowledged."""
        goal = len(self.acknowledged) + least
        wait_while_it_goes_on(
            lambda: self._error or len(self.acknowledged) >= goal, lambda: self.posted, "webhooks that were posted"
        )

    def stop(self) -> None:
        """Returns once everything that was sent is acknowledged. Idempotent."""
        self._over.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        number = 0
        try:
            while not self._over.is_set():
                number += 1
                self._send(make_pile(f"{self._name}{number}", PILE, self._seed))
        except BaseException as error:
            self._error = error

    def _send(self, pile: Pile) -> None:
        self.events += pile.events
        producer = Producer(self._ports, pile, threads=2, a_second=self._rate, seed=self._seed)
        whole = producer.join(PATIENCE_SECONDS)
        self.acknowledged |= producer.acknowledged
        self.answers += producer.answers
        self.posted += producer.posted
        if not whole:
            raise AssertionError(f"{producer.left} webhooks were not acknowledged: {producer.answers}")


def repost(ports: Sequence[int], events: list[Event], seed: int) -> Counter[object]:
    """Sends events again, as providers do when they are asked to. How often each status came."""
    producer = Producer(ports, Pile(events, list(events)), seed=seed)
    wait_while_it_goes_on(lambda: not producer.left, lambda: producer.left, "webhooks that are to be acknowledged")
    assert producer.join(PATIENCE_SECONDS), f"{producer.left} webhooks were not acknowledged: {producer.answers}"
    return producer.answers
