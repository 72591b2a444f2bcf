"""One worker's job: what it sends, records, repeats and leaves alone; real threads, a real ledger, a scripted destination."""

import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest

from app.destinations.formats.registry import format_of
from app.destinations.target import Destination
from app.errors import LedgerUnavailable
from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import destination_state, pause, resume
from app.ledger.forwarding.claims import Claimed
from tests.conftest import wait_for
from tests.ledger.test_forwarding import COLUMNS
from tests.support.scripted import ScriptedDestination
from workers.forward import Forwarder
from workers.senders import EventLoop, SenderPool

TOKEN = "a token that nobody may read"


class Office:
    """A ledger with deliveries, a destination, and any number of workers of one process."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.place = ScriptedDestination()
        self.workers: list[tuple[Forwarder, threading.Event, threading.Thread]] = []
        self._last = 0

    def add(self, count: int, *, person: int | None = None, kind: str = "sale") -> list[int]:
        now = int(time.time() * 1000)
        ids = list(range(self._last + 1, self._last + count + 1))
        self._last += count
        rows = [
            (n, n, person or n, n, "stripe", kind, "main", f"{kind}:{n}", "pending", f'{{"n":{n}}}', now - 10, now - 10)
            for n in ids
        ]
        with self.ledger.write() as tx:
            tx.insert(tables.deliveries, COLUMNS, rows)
        return ids

    def work(
        self, *, schedule: tuple[float, ...] = (0.05, 0.1, 60), token: str = TOKEN, **options: Any
    ) -> threading.Event:
        """Starts a worker; returns its stop flag."""
        stop_seconds = options.pop("stop_seconds", None)
        fields = {"timeout_seconds": 3, "concurrency": 8, "allow_private": True, "url": self.place.url, **options}
        url, wire = fields.pop("url"), fields.pop("wire", "events")
        stop = threading.Event()
        destination = Destination("main", url, token, format_of(wire), **fields)
        forwarder = Forwarder(self.ledger, [destination], schedule, 900, stop, stop_seconds=stop_seconds)
        forwarder.worker_id = len(self.workers) + 1

        def run() -> None:
            while not stop.is_set():  # as its sweeper would, it looks again and again
                forwarder.run(lambda: None)
                stop.wait(0.05)

        thread = threading.Thread(target=run, daemon=True)
        self.workers.append((forwarder, stop, thread))
        thread.start()
        return stop

    def stop(self, seconds: float = 15) -> float:
        """Stops all workers; how long it took."""
        began = time.monotonic()
        for _, stop, _ in self.workers:
            stop.set()
        for forwarder, _, thread in self.workers:
            thread.join(seconds)
            forwarder.close()
        self.workers.clear()
        return time.monotonic() - began

    def close(self) -> None:
        self.place.script = lambda _key, _before: "ok"
        self.stop()
        self.place.close()

    def all(self, statement: str) -> list[tuple[Any, ...]]:
        with self.ledger.read() as tx:
            return [tuple(row) for row in tx.run(statement).all()]

    def counts(self) -> dict[str, int]:
        return {status: int(n) for status, n in self.all("SELECT status, COUNT(*) FROM deliveries GROUP BY status")}

    def state(self) -> Any:
        with self.ledger.read() as tx:
            return destination_state(tx, "main")


@pytest.fixture
def office(ledger: Ledger) -> Iterator[Office]:
    made = Office(ledger)
    yield made
    made.close()


def test_several_workers_share_a_backlog_and_send_each_delivery_once(office: Office) -> None:
    office.add(300)
    for _ in range(3):
        office.work()
    wait_for(lambda: office.counts() == {"delivered": 300})
    assert len(office.place.asked) == 300
    assert len({asked.key for asked in office.place.asked}) == 300
    assert office.all("SELECT COUNT(*) FROM deliveries WHERE claim IS NOT NULL") == [(0,)]


def test_what_comes_after_everything_was_sent_does_not_wait(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.forward.REST_SECONDS", 3600)
    office.work()
    for _ in range(3):
        office.add(1)
        wait_for(lambda: set(office.counts()) == {"delivered"})


def test_a_persons_deliveries_go_one_after_the_other_whoever_sends_them(office: Office) -> None:
    office.place.delay_seconds = 0.02
    ids = office.add(12, person=7)
    for _ in range(3):
        office.work()
    wait_for(lambda: office.counts() == {"delivered": 12})
    assert [asked.key for asked in office.place.asked] == [f"sale:{n}" for n in ids]
    times = [asked.at for asked in office.place.asked]
    assert all(later - earlier >= 0.02 for earlier, later in pairwise(times)), "never two at once"


def test_the_rate_holds_over_all_workers(office: Office) -> None:
    office.add(90)
    began = time.monotonic()
    for _ in range(3):
        office.work(rate=30.0)
    wait_for(lambda: office.counts() == {"delivered": 90})
    took = time.monotonic() - began
    assert took > 1.8, "a second's worth may be saved up, the other 60 take two seconds"
    for number, asked in enumerate(
        office.place.asked, 1
    ):  # late is not an offence: they may have been held up on their way
        assert number <= 32 + 30 * (asked.at - began), "never more than the rate and what was saved up"


@pytest.mark.parametrize("value", ["seconds", "date"])
def test_retry_after_is_waited_for_whether_it_is_seconds_or_a_date(office: Office, value: str) -> None:
    begin = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nRetry-After: "
    until: list[float] = []

    def answer(_key: str, before: int) -> str:
        if before:
            return "ok"
        until.append(time.time() + 2 if value == "seconds" else int(time.time()) + 3)
        text = b"2" if value == "seconds" else formatdate(until[0], usegmt=True).encode()
        office.place.answers["429"] = begin + text + b"\r\n\r\n"
        return "429"

    office.place.script = answer
    office.add(1)
    office.work(schedule=(0.05, 0.05))
    wait_for(lambda: office.counts() == {"delivered": 1})
    _, second = office.place.asked
    late = second.at + (time.time() - time.monotonic()) - until[0]
    assert late > -0.3
    assert not office.state().is_open


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_pauses_and_a_new_one_or_a_person_resumes(office: Office, status: int) -> None:
    office.place.answers["401"] = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
    office.place.script = lambda _key, _before: "401"
    office.add(20)
    office.work()
    wait_for(lambda: office.state().paused_at is not None)
    office.stop()
    made = len(office.place.asked)
    assert made <= 16 + 3, "what was in flight, and three that were tried singly"
    assert office.all("SELECT DISTINCT status, attempts, claim FROM deliveries") == [("pending", 0, None)]
    office.place.script = lambda _key, _before: "ok"
    office.work()
    time.sleep(0.5)
    assert len(office.place.asked) == made, "the same token stays refused"
    office.stop()
    if status == 401:
        office.work(token="another token")
    else:
        with office.ledger.write() as tx:
            assert resume(tx, "main", actor="Grace")
        office.work()
    wait_for(lambda: office.counts() == {"delivered": 20})


# A redirect waits until another delivery is taken after it (tests/ledger/test_judging.py): here all go at once.
@pytest.mark.parametrize("status", [403])
def test_one_payload_that_is_refused_for_itself_is_dead_and_all_others_go(office: Office, status: int) -> None:
    """A firewall that dislikes what somebody wrote into a form answers 403, or leads to its page."""
    office.place.answers["wall"] = b"HTTP/1.1 %d No\r\nLocation: /blocked\r\nContent-Length: 0\r\n\r\n" % status
    office.place.script = lambda key, _before: "wall" if key.endswith("0") else "ok"
    office.add(100)
    for _ in range(2):
        office.work()
    wait_for(lambda: office.counts() == {"delivered": 90, "dead": 10})
    assert office.state().paused_at is None
    errors = office.all("SELECT DISTINCT last_error FROM deliveries WHERE status = 'dead'")
    assert all("the destination rejected this one" in error for (error,) in errors)


def test_a_redirect_pauses_names_where_it_leads_and_another_url_resumes(office: Office) -> None:
    office.place.answers["moved"] = (
        b"HTTP/1.1 308 Moved\r\nLocation: https://new.example/api/track/sale\r\nContent-Length: 0\r\n\r\n"
    )
    office.place.script = lambda _key, _before: "moved"
    office.add(20)
    office.work()
    wait_for(lambda: office.state().paused_at is not None)
    office.stop()
    assert "https://new.example/api/track/sale" in office.state().paused_reason
    assert office.all("SELECT DISTINCT status, attempts, claim FROM deliveries") == [("pending", 0, None)]
    office.place.script = lambda _key, _before: "ok"
    office.work(url=f"{office.place.url}/moved")
    wait_for(lambda: office.counts() == {"delivered": 20})


def test_good_payloads_flow_beside_many_that_always_fail(office: Office) -> None:
    # Probes are drawn by chance: with two of three failing, one run in fifteen would draw failing ones alone for too long.
    office.place.script = lambda key, _before: "500" if int(key.split(":")[1]) <= 300 else "ok"
    office.add(740)
    office.work(schedule=(0.5, 1.0, 2.0, 600.0))
    wait_for(lambda: office.counts().get("delivered") == 440)


def test_a_pause_by_hand_stops_what_is_due_and_a_resume_sends_it(office: Office) -> None:
    with office.ledger.write() as tx:
        assert pause(tx, "main", "maintenance", actor="Grace")
    office.add(5)
    office.work()
    time.sleep(0.4)
    assert office.place.asked == []
    with office.ledger.write() as tx:
        assert resume(tx, "main", actor="Grace")
    wait_for(lambda: office.counts() == {"delivered": 5})


def test_an_outage_costs_single_probes_and_afterwards_all_goes_at_full_speed(office: Office) -> None:
    office.place.script = lambda _key, _before: "500"
    office.add(200)
    for _ in range(2):
        office.work(schedule=(0.05,) * 50)
    wait_for(lambda: office.state().is_open)
    wait_for(lambda: office.all("SELECT COUNT(*) FROM deliveries WHERE claim IS NOT NULL") == [(0,)])
    before = len(office.place.asked)
    assert before <= 2 * 16, "what was in flight when it opened"
    wait_for(lambda: len(office.place.asked) >= before + 2)
    probes = office.place.asked[before:]
    assert all(later.at - earlier.at > 0.5 for earlier, later in pairwise(probes)), "one at a time, and with a pause"
    office.place.script = lambda _key, _before: "ok"
    wait_for(lambda: office.counts() == {"delivered": 200})
    assert not office.state().is_open


def answer(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def test_a_lead_that_cannot_be_read_yet_is_waited_for_and_is_no_outage(office: Office) -> None:
    message = b'{"error":{"code":"not_found","message":"Lead event not found for externalId: user_1"}}'
    office.place.answers["early"] = answer("404 Not Found", message)
    office.place.script = lambda _key, before: "ok" if before else "early"
    ids = office.add(30)
    office.work(wire="dub")
    wait_for(lambda: office.counts() == {"delivered": len(ids)})
    assert office.all("SELECT DISTINCT attempts FROM deliveries") == [(2,)]
    assert office.all("SELECT DISTINCT result, status FROM attempts WHERE number = 1") == [("transient", 404)]
    assert (office.state().failures, office.state().probe_at) == (0, None)


@pytest.mark.parametrize("wire", ["events", "track", "dub"])
def test_a_success_that_says_no_is_not_delivered(office: Office, wire: str) -> None:
    office.place.answers["no"] = answer("200 OK", b'{"success":false,"message":"quota exceeded"}')
    office.place.script = lambda _key, _before: "no"
    office.add(1)
    office.work(wire=wire)
    wait_for(lambda: office.counts() == {"dead": 1})
    ((error,),) = office.all("SELECT last_error FROM deliveries")
    assert error == "the destination answered with success false, so nothing was recorded"


def test_what_was_claimed_ahead_goes_back_untried_when_the_destination_stops_taking_anything(office: Office) -> None:
    """A fast destination is claimed for ahead of its answers, and an outage must not spend an attempt of all of that."""
    taken: list[str] = []

    def answer(key: str, _before: int) -> str:
        taken.append(key)
        return "ok" if len(taken) <= 1500 else "500"

    office.place.script = answer
    office.add(3000)
    office.work(schedule=(60.0,) * 5)
    wait_for(lambda: office.state().is_open)
    wait_for(lambda: office.all("SELECT COUNT(*) FROM deliveries WHERE claim IS NOT NULL") == [(0,)])
    ((failed,),) = office.all("SELECT COUNT(*) FROM deliveries WHERE attempts > 0 AND status <> 'delivered'")
    assert 8 <= failed <= 64, "a few rounds of what is in flight, and not the hundreds that were claimed"


def test_an_answer_is_kept_at_64_kib_at_most_and_without_the_token(office: Office) -> None:
    text = f"refused: {TOKEN} ".encode() + b"x" * 200_000
    office.place.answers["refused"] = b"HTTP/1.1 400 Bad\r\nX-Echo: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        TOKEN.encode(),
        len(text),
        text,
    )
    office.place.script = lambda _key, _before: "refused"
    office.add(1)
    office.work()
    wait_for(lambda: office.counts() == {"dead": 1})
    ((headers, body),) = office.all("SELECT answer_headers, answer_body FROM attempts")
    assert body.startswith("refused: ***")
    assert len(body) <= 64 * 1024
    assert TOKEN not in headers
    assert "***" in headers


def test_while_the_ledger_is_away_a_dripping_answer_is_cut_all_the_same(office: Office) -> None:
    """The deadline is the sender's own: it was the job's, which waits for the ledger at such a time."""
    office.place.script, office.place.drip_seconds = (lambda _key, _before: "drip"), 1.0
    office.add(1)
    office.work(timeout_seconds=0.5, schedule=(60.0,))
    wait_for(lambda: office.place.open_requests == 1)
    real, away = office.ledger.transact, threading.Event()

    def transact(work: Callable[..., Any]) -> Any:
        if away.is_set():
            time.sleep(1)
            raise LedgerUnavailable("away")
        return real(work)

    office.ledger.transact = transact  # type: ignore[method-assign]
    away.set()
    wait_for(lambda: office.place.open_requests == 0)
    away.clear()
    wait_for(lambda: office.counts() == {"retrying": 1})
    assert office.all("SELECT result, error FROM attempts") == [("unknown", "no whole answer within 0.5 s")]


def test_a_worker_that_is_told_to_stop_gives_back_what_it_has_not_begun_and_ends_in_time(office: Office) -> None:
    office.place.script = lambda _key, _before: "hang"
    office.add(40)
    office.work(concurrency=4, timeout_seconds=30, stop_seconds=2.0)
    wait_for(lambda: office.place.open_requests == 4)
    assert 2 <= office.stop() < 10
    assert office.all("SELECT COUNT(*) FROM deliveries WHERE claim IS NOT NULL") == [(0,)]
    assert office.counts() == {"retrying": 4, "pending": 36}
    assert office.all("SELECT DISTINCT result FROM attempts") == [("unknown",)]


def test_what_waited_for_a_sender_until_its_claim_grew_old_is_not_sent() -> None:
    """A machine that slept: its claims were taken over meanwhile."""
    place = ScriptedDestination()
    loop = EventLoop()
    pool = SenderPool(Destination("main", place.url, "t", format_of("events"), allow_private=True), (1.0,), 4, loop)
    old = Claimed(1, "1.1", "sale", "{}", "sale:1", 0, 0, 0, False)
    fresh = Claimed(2, "1.1", "sale", "{}", "sale:2", 0, 0, 0, False)
    pool.submit([old], time.monotonic() - 1)
    pool.submit([fresh], time.monotonic() + 30)
    got: list[Any] = []
    unsent: list[Claimed] = []

    def collect() -> bool:
        outcomes, too_old = pool.collect()
        got.extend(outcomes)
        unsent.extend(too_old)
        return bool(got and unsent)

    wait_for(collect)
    pool.close()
    loop.close()
    place.close()
    assert [o.claimed.id for o in got] == [2]
    assert [c.id for c in unsent] == [1]
    assert [asked.key for asked in place.asked] == ["sale:2"]


def test_the_job_ends_when_nothing_is_due_and_says_how_much_it_did(office: Office) -> None:
    office.add(3)
    stop = threading.Event()
    forwarder = Forwarder(
        office.ledger,
        [Destination("main", office.place.url, TOKEN, format_of("events"), allow_private=True)],
        (1.0,),
        900,
        stop,
    )
    looked: list[bool] = []
    assert forwarder.run(lambda: looked.append(forwarder.is_running)) == 3
    assert looked == [False], "the nudge's flag falls before the first look"
    assert not forwarder.is_running
    forwarder.close()


def test_what_is_new_does_not_wait_until_a_backlog_is_sent(office: Office) -> None:
    office.place.delay_seconds = 0.02
    office.add(1200)
    office.work(concurrency=4)
    wait_for(lambda: len(office.place.asked) > 60)
    (new,) = office.add(1)
    wait_for(lambda: f"sale:{new}" in {asked.key for asked in office.place.asked})
    assert len(office.place.asked) < 600
