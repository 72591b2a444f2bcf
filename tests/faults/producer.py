"""Providers: they send every event until it is acknowledged, some of them more often, and in no order."""

import http.client
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files

from app.sources.stripe.source import SOURCE as STRIPE
from app.sources.typeform.source import SOURCE as TYPEFORM
from tests.support.makers import checkout
from tests.support.stack_parts import FORM_SECRET, SECRET

PATIENCE_SECONDS = 25.0
"""How long a provider waits for an answer."""


@dataclass(frozen=True)
class Event:
    """One event of a provider. key: the dedupe key of the conversion it speaks of."""

    source: str
    body: bytes
    key: str


@dataclass
class Pile:
    """Events of one round, and in `posts` the order in which they are sent, repeats among them."""

    events: list[Event] = field(default_factory=list)
    posts: list[Event] = field(default_factory=list)

    @property
    def keys(self) -> set[str]:
        return {event.key for event in self.events}


def make_pile(name: str, count: int, seed: int) -> Pile:
    """`count` distinct events: purchases (a third of them described by two events), submissions, and persons with both."""
    dice = random.Random(seed)
    pile = Pile()
    while len(pile.events) < count:
        tag = f"{name}-{len(pile.events)}-{seed}"
        what = dice.random()
        if what < 0.25:
            pile.events.append(_submission(tag))
        elif what < 0.4 and count - len(pile.events) > 1:
            pile.events += [_submission(tag), _purchase(tag)]
        elif what < 0.65 and count - len(pile.events) > 1:
            pile.events += [_purchase(tag), _purchase(tag, "checkout.session.async_payment_succeeded")]
        else:
            pile.events.append(_purchase(tag))
    pile.posts = list(pile.events)
    for event in pile.events:
        while dice.random() < 0.3:
            pile.posts.append(event)
    dice.shuffle(pile.posts)
    return pile


def _purchase(tag: str, event_type: str = "checkout.session.completed") -> Event:
    found = json.loads(checkout(tag, event_id=f"evt_{event_type[17:23]}_{tag}"))
    found["type"] = event_type
    return Event("stripe", json.dumps(found).encode(), f"sale:stripe:pi_{tag}")


def _submission(tag: str) -> Event:
    text = (files("app.sources.typeform") / "example.json").read_text(encoding="utf-8")
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = text.replace("@ID@", tag).replace("@ISO@", now).replace("user_ada", f"user_{tag}")
    text = text.replace("clk_example1", f"clk_{tag}").replace("ada@example.com", f"p{tag}@example.com")
    return Event("typeform", text.encode(), f"lead:typeform:token{tag}")


class Producer:
    """Posts a pile with several connections. What is answered 503, or not at all, is sent again after a moment.

    port: one, or several, each connection choosing one of them.
    """

    def __init__(
        self, port: int | Sequence[int], pile: Pile, threads: int = 8, a_second: float | None = None, seed: int = 1
    ) -> None:
        self._ports = [port] if isinstance(port, int) else port
        self._rest = 0.0 if a_second is None else threads / a_second
        self._lock = threading.Lock()
        self._waiting = [(0.0, event) for event in reversed(pile.posts)]
        self._flying = 0
        self._dice = random.Random(seed)
        self.answers: Counter[object] = Counter()
        """How often each status came, or the kind of failure."""
        self.acknowledged: set[str] = set()
        """Dedupe keys of which some event was answered 200."""
        self.posted = 0
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._post_all, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    @property
    def left(self) -> int:
        return len(self._waiting) + self._flying

    def join(self, seconds: float) -> bool:
        """Whether everything was acknowledged within that time."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._ends.set()
        return not self.left

    def _post_all(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._ends.is_set():
            with self._lock:
                if not self._waiting and not self._flying:
                    break
                due = [i for i in range(len(self._waiting) - 1, max(-1, len(self._waiting) - 64), -1)
                       if self._waiting[i][0] <= time.monotonic()][:1]  # fmt: skip
                event = self._waiting.pop(due[0])[1] if due else None
                self._flying += event is not None
            if event is None:
                time.sleep(0.02)
                continue
            connection, answer = self._post(connection, event)
            with self._lock:
                self._flying -= 1
                self.posted += 1
                self.answers[answer] += 1
                if answer == 200:
                    self.acknowledged.add(event.key)
                else:
                    again = (time.monotonic() + self._dice.uniform(0.1, 0.5), event)
                    self._waiting.insert(self._dice.randint(0, len(self._waiting)), again)
            if self._rest:
                time.sleep(self._rest * self._dice.uniform(0.5, 1.5))

    def _post(
        self, connection: http.client.HTTPConnection | None, event: Event
    ) -> tuple[http.client.HTTPConnection | None, object]:
        source, secret = (STRIPE, SECRET) if event.source == "stripe" else (TYPEFORM, FORM_SECRET)
        headers = {"Content-Type": "application/json", **source.sign(event.body, secret, datetime.now(UTC))}
        try:
            if connection is None:
                connection = http.client.HTTPConnection(
                    "127.0.0.1", self._dice.choice(self._ports), timeout=PATIENCE_SECONDS
                )
            connection.request("POST", f"/webhooks/{event.source}", event.body, headers)
            response = connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            if connection is not None:
                connection.close()
            return None, type(error).__name__
        if response.status == 200:
            assert json.loads(text)["outcome"] in ("sale", "lead", "duplicate"), text
        return connection, response.status
