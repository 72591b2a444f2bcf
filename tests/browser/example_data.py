"""A shop's last weeks as example data: for the pictures in the README, and for looking at the pages.

Everything goes through the bridge's own mapping, recording and claims; only the clock and the destination's answers are generated.
"""

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.destinations.formats.base import Sent
from app.destinations.formats.registry import format_of
from app.destinations.http import Answer
from app.intake.verify_and_map import kept_headers
from app.ledger import tables
from app.ledger.actions import bulk
from app.ledger.actions.edit import edit
from app.ledger.actions.replay import replay
from app.ledger.alerting.refusals import add_refusals
from app.ledger.engine import Ledger
from app.ledger.forwarding import breaker
from app.ledger.forwarding.breaker import ensure_destination
from app.ledger.forwarding.claims import Claimed, claim, has_due
from app.ledger.forwarding.outcomes import Outcome, finish
from app.ledger.inbound.details import Detail, keep_details
from app.ledger.inbound.quarantine import Refused, keep
from app.ledger.reading.deliveries import delivery
from app.ledger.recording.arrival import Arrival, Policy, Route
from app.ledger.recording.record import record
from app.ledger.transaction import Tx
from app.model import Inbound, Rules
from app.sources.catalog import all_sources
from tests.browser import example_bodies as bodies
from tests.browser.example_bodies import Human
from workers.retry import due_after

MINUTE, HOUR, DAY = 60, 3600, 86_400
SCHEDULE = (5.0, 30.0, 120.0, 600.0, 3600.0, 10_800.0, 21_600.0, 43_200.0, 86_400.0)
RULES = Rules()
BUSY = (1, 1, 1, 1, 1, 2, 4, 7, 10, 12, 13, 12, 11, 13, 14, 13, 12, 10, 8, 7, 6, 5, 3, 2)
"""How busy each hour of a day is."""


def _refuse(tx: Tx, at: int) -> None:
    """A submission that Typeform signed with a secret which the bridge does not have."""
    reason, client = "the signature is not of this body and any configured secret", "203.0.113.0/24"
    add_refusals(tx, {("typeform", "wrong"): 1}, at)
    keep_details(tx, [("typeform", "wrong", at, Detail(reason, client, "Typeform-Signature", True, None, 812))])
    keep(tx, [Refused("typeform", at, client, reason, str(at), str(at), {"content-type": "application/json"}, b"{}")])


@dataclass(order=True)
class Moment:
    """Something that happens: a body that arrives, or a thing that somebody does."""

    at: float
    source: str = ""
    body: bytes = b""
    act: Callable[[], None] | None = None


class Shop:
    """Plays what happened, into `ledger_url`, up to now."""

    def __init__(self, ledger_url: str, destination: str = "main", seed: int = 7) -> None:
        self._now = self._end = time.time()
        self._ledger = Ledger(ledger_url, clock=lambda: self._now)
        self._destination, self._dice = destination, random.Random(seed)
        self._sources = all_sources({})
        self._policy = Policy(
            RULES,
            [Route(destination, format_of("events"))],
            person_hold_seconds=900,
            purchase_hold_seconds=900,
            deferred={"clerk": frozenset({"stripe"})},
        )
        self._outage = (self._end - 29 * HOUR, self._end - 28.4 * HOUR)

    def play(self, per_day: int = 160, days: int = 7) -> None:
        """Fills the ledger; takes some seconds."""
        with self._ledger.write() as tx:
            self._now = self._end - 70 * DAY
            ensure_destination(tx, self._destination, "print")
        for moment in sorted(self._moments(per_day, days), key=lambda moment: moment.at):
            self._work_until(moment.at)
            self._now = moment.at
            if moment.act is not None:
                moment.act()
            else:
                self._take(moment.source, moment.body)
            self._now += self._dice.uniform(0.003, 0.02)
            self._forward()
        self._now = self._end
        with self._ledger.write() as tx:
            row = ("bridge-1", 4242, "1", int((self._end - 3 * DAY) * 1000), int((self._end + DAY) * 1000))
            columns = ("host", "pid", "pid_started", "started_at", "heartbeat_at")
            tx.insert(tables.workers, columns, [row, ("bridge-2", 4243, *row[2:])])
            refused = {("stripe", "wrong"): 3, ("stripe", "too old"): 11, ("typeform", "missing"): 1}
            add_refusals(tx, refused, int((self._end - DAY) * 1000))
            for minutes in (95, 60, 20):
                _refuse(tx, int((self._end - minutes * MINUTE) * 1000))
        self._ledger.close()

    def _moments(self, per_day: int, days: int) -> Iterator[Moment]:
        yield from bodies.marta(self._end, DAY)
        dice, end = self._dice, self._end
        for _ in range(per_day * days):
            at = self._some_time(days)
            human = Human.make(dice)
            kind = dice.choices(("buy", "subscribe", "form", "sign up", "call"), (50, 14, 20, 10, 6))[0]
            yield from (Moment(at + later, source, body) for later, source, body in bodies.BY_KIND[kind](human, dice))
        for hours, change in ((50, {"currency": "try"}), (21, {"currency": "try"}), (3.2, {"currency": "try"})):
            yield Moment(end - hours * HOUR, "stripe", bodies.checkout(Human.make(dice), dice, **change))
        for hours in (76, 30, 4.1, 0.4):
            yield Moment(end - hours * HOUR, "stripe", bodies.checkout(Human("", ""), dice, metadata={}))
        for minutes in (170, 61, 44, 9, 3):
            human = Human(dice.choice(bodies.FIRST), dice.choice(bodies.LAST), "busy.example")
            yield Moment(end - minutes * MINUTE, "stripe", bodies.checkout(human, dice))
        for seconds in (200, 95, 20):
            yield Moment(end - seconds, "stripe", bodies.first_invoice(Human.make(dice), dice))
        yield Moment(end - 20 * HOUR, act=lambda: self._pause("token is rotated"))
        yield Moment(end - 20 * HOUR + 9 * MINUTE, act=self._resume)
        yield Moment(end - 1.9 * HOUR, act=self._mend)

    def _some_time(self, days: int) -> float:
        while True:
            at = self._end - self._dice.uniform(0.01, days * DAY)
            if self._dice.random() * max(BUSY) < BUSY[datetime.fromtimestamp(at, UTC).hour] or self._end - at < HOUR:
                return at

    def _take(self, source: str, body: bytes) -> None:
        body = bodies.dated(body, self._now)
        content = {"content-type": "application/json", "user-agent": bodies.AGENTS.get(source, "Webhook/1.0")}
        inbound = Inbound(body, content)
        mapped = self._sources[source].map(inbound, RULES)
        arrival = Arrival(source, mapped, inbound, kept_headers(content), datetime.fromtimestamp(self._now, UTC))
        self._ledger.transact(lambda tx: record(tx, [arrival], self._policy))

    def _work_until(self, at: float) -> None:
        """The worker, between two things that happen."""
        step = max(2.0, min(300.0, (at - self._now) / 40))
        while self._now + step < at:
            self._now += step
            self._forward()

    def _forward(self) -> None:
        ledger = self._ledger
        while True:
            now = int(self._now * 1000)
            with ledger.read() as tx:
                if not has_due(tx, self._destination, now):
                    return
            with ledger.write() as tx:
                claimed = claim(tx, self._destination, "1.1", limit=100, now=now, claim_ms=60_000, hold_ms=900_000)
            if not claimed:
                return
            outcomes = [self._answer(one, now) for one in claimed]
            self._now += 0.05
            with ledger.write() as tx:
                later = int(self._now * 1000)
                finish(tx, self._destination, outcomes, now=later, token_print="print")

    def _answer(self, one: Claimed, now: int) -> Outcome:
        payload = json.loads(one.payload)
        status, answer = 200, json.dumps({"success": True, "id": f"conv_{one.id}"})
        took = int(self._dice.lognormvariate(3.6, 0.5))
        if self._outage[0] < self._now < self._outage[1]:
            status, answer, took = 503, "upstream connect error or disconnect/reset before headers", took * 9
        elif payload.get("currency") == "TRY":
            status = 422
            answer = '{"error":{"code":"currency_not_enabled","message":"TRY is not enabled for this program"}}'
        elif "busy.example" in str(payload.get("email")):
            status, answer = 429, '{"error":{"code":"rate_limited","message":"Too many requests for this advertiser"}}'
        elif payload.get("clickId") == "clk_expired":
            status, answer = 404, '{"error":{"code":"click_not_found","message":"The click is older than 90 days"}}'
        verdict = format_of("events").verdict(Answer(status, {}, answer.encode()), Sent(one.kind, one.payload))
        tries = one.attempts + 1 - one.schedule_start
        due_at = due_after(verdict.result, tries, SCHEDULE, now_ms=now, dice=self._dice.random())
        headers = json.dumps(
            {"content-type": "application/json", "server": "cloudflare", "x-request-id": f"req_{now:x}"}
        )
        return Outcome(one, verdict.result, now, took, status, verdict.error, headers, answer, due_at)

    def _pause(self, reason: str) -> None:
        with self._ledger.write() as tx:
            breaker.pause(tx, self._destination, reason, actor="grace")

    def _resume(self) -> None:
        with self._ledger.write() as tx:
            breaker.resume(tx, self._destination, actor="grace")

    def _mend(self) -> None:
        """Somebody looks at what failed: replays one, edits one and discards some."""
        with self._ledger.write() as tx:
            statement = "SELECT id FROM deliveries WHERE status = 'dead' ORDER BY id"
            dead = list(tx.run(statement).scalars())
            replay(tx, dead[-1], actor="grace")
            found = delivery(tx, dead[-2])
            payload: dict[str, Any] = found["payload"] | {"clickId": "clk_8sKq2"}
            edit(tx, found, json.dumps(payload), actor="linus")
            bulk.step(tx, bulk.Job("discard", ids=dead[:3]), (), actor="linus")


def receive_in_sandbox(ledger_url: str) -> None:
    """What the sandbox would have received of the newest deliveries, one of them with a fault, one twice."""
    ledger = Ledger(ledger_url)
    with ledger.write() as tx:
        statement = (
            "SELECT kind, dedupe_key, payload, delivered_at FROM deliveries WHERE status = 'delivered'"
            " ORDER BY id DESC LIMIT 24"
        )
        fault = "email: String should match pattern '^[^@ ]+@[^@ ]+$'"
        rows = [
            (at, kind, key, fault if number == 5 else None, payload)
            for number, (kind, key, payload, at) in enumerate(tx.run(statement).all())
        ]
        columns = ("received_at", "kind", "idempotency_key", "problem", "body")
        tx.insert(tables.sandbox_requests, columns, [rows[8], *reversed(rows)])
    ledger.close()
