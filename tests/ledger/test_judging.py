"""Who is at fault where something is refused or fails: the destination, or that delivery alone. On both databases."""

import json
from collections.abc import Set
from itertools import pairwise

import pytest

from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import BREAKER_FAILURES, LONGEST_RECHECK_MS, destination_state, ensure_destination
from app.ledger.forwarding.claims import Claimed, claim, has_due
from app.ledger.forwarding.judging import PAUSE_REPEATS, REFUSED_RETRY_SECONDS
from app.ledger.forwarding.outcomes import Outcome, finish
from tests.ledger.test_forwarding import HOLD, NOW, Bench, ids

SECOND = 1000
MINUTE = 60 * SECOND


class Court(Bench):
    """A destination whose answers depend on the delivery, and a clock that goes on."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.now = NOW

    def send(
        self, limit: int = 100, *, poison: Set[int] = frozenset(), status: int = 403, after: int = 10
    ) -> list[int]:
        """Claims, and records that all but `poison` is taken; returns what was tried."""
        claimed = self.claim(limit, now=self.now)
        self.now += after
        self.settle(claimed, poison, status)
        return ids(claimed)

    def settle(
        self, claimed: list[Claimed], poison: Set[int] = frozenset(), status: int = 403, location: str | None = None
    ) -> None:
        kinds = {401: "unauthorized", 403: "unauthorized", 308: "redirected", 302: "redirected", 422: "permanent"}
        outcomes = []
        for one in claimed:
            result = kinds.get(status, "unknown") if one.id in poison else "delivered"
            due_at = self.now + 5 * SECOND if result == "unknown" else None
            headers = json.dumps({"location": location} if location else {})
            outcome = Outcome(one, result, self.now, 5, status if one.id in poison else 200, "why", headers, "", due_at)  # type: ignore[arg-type]
            outcomes.append(outcome)
        with self.ledger.write() as tx:
            finish(tx, "main", outcomes, now=self.now, token_print="print")

    def prove(self) -> None:
        """Something was taken under this configuration, some time ago."""
        self.add(9999)
        self.send()
        self.now += 10 * MINUTE

    def statuses(self) -> dict[int, str]:
        return dict(self.rows("id, status"))


@pytest.fixture
def court(ledger: Ledger) -> Court:
    return Court(ledger)


@pytest.mark.parametrize("status", [401, 403, 302])
def test_one_refused_beside_others_that_are_taken_is_dead_for_its_own_fault_and_stops_nothing(
    court: Court, status: int
) -> None:
    court.prove()
    bad = court.add(1)
    good = [court.add(n) for n in range(2, 30)]
    court.send(poison={bad}, status=status)
    assert court.state().paused_at is None
    good.append(court.add(30))
    court.now += SECOND
    court.send(poison={bad}, status=status)
    court.now += MINUTE
    court.send(poison={bad}, status=status)
    assert court.statuses()[bad] == "dead"
    assert all(court.statuses()[one] == "delivered" for one in good)
    assert court.state().paused_at is None
    (error,) = [error for identity, error in court.rows("id, last_error") if identity == bad]
    assert error == f"answered {status} while other deliveries were taken: the destination rejected this one"


def test_one_refused_that_comes_alone_after_others_were_taken_is_dead_after_its_second_try(court: Court) -> None:
    court.add(1)
    court.send()
    bad = court.add(2)
    for _ in range(2):
        court.now += 2 * SECOND
        assert court.send(poison={bad}) == [bad]
    assert court.statuses()[bad] == "dead"
    assert court.state().paused_at is None


@pytest.mark.parametrize("status", [401, 302, 308])
def test_a_token_that_expires_right_after_a_success_kills_no_delivery(court: Court, status: int) -> None:
    court.add(1)
    court.send()
    waiting = court.add(2)
    for _ in range(8):
        court.now += 2 * SECOND
        court.send(poison={waiting}, status=status)
    assert court.statuses()[waiting] == "pending"


@pytest.mark.parametrize("status", [401, 302])
def test_a_quiet_site_whose_only_delivery_is_refused_for_minutes_pauses_and_resumes_with_the_next_one_taken(
    court: Court, status: int
) -> None:
    court.prove()
    waiting = court.add(1)
    for wait in REFUSED_RETRY_SECONDS[:PAUSE_REPEATS]:
        assert court.send(poison={waiting}, status=status) == [waiting]
        assert court.state().paused_at is None
        court.now += wait * SECOND
    court.send(poison={waiting}, status=status)
    assert court.state().paused_at is not None
    assert court.statuses()[waiting] == "pending"
    following = court.add(2)
    court.now += LONGEST_RECHECK_MS
    court.send(poison={waiting}, status=status)
    assert court.statuses()[following] == "delivered"
    assert court.state().paused_at is None


@pytest.mark.parametrize("status", [401, 302])
def test_several_that_get_a_plain_refusal_pause_at_once_though_others_were_taken_before(
    court: Court, status: int
) -> None:
    court.add(1)
    court.send()
    court.now += 2 * SECOND
    refused = {court.add(n) for n in range(2, 5)}
    court.send(poison=refused, status=status)
    assert court.state().paused_at is not None
    assert {row[1:] for row in court.rows("id, status, attempts") if row[0] in refused} == {("pending", 0)}


@pytest.mark.parametrize("status", [401, 302])
def test_what_was_in_flight_when_refusals_began_is_no_evidence_against_a_refused_delivery(
    court: Court, status: int
) -> None:
    court.prove()
    refused = [court.add(n) for n in range(1, 4)]
    early = court.claim(3, now=court.now)
    taken = court.add(4)
    court.now += 2  # begins while the others are in flight (they take 5 ms), and reached the destination before them
    late = court.claim(1, now=court.now)
    court.now -= 2
    court.settle(early, set(refused), status)
    court.now += 2
    court.settle(late)
    for _ in range(8):
        court.now += 10 * MINUTE
        court.send(poison=set(refused), status=status)
    assert [court.statuses()[one] for one in (*refused, taken)] == ["pending", "pending", "pending", "delivered"]
    assert court.state().paused_at is not None


@pytest.mark.parametrize("status", [401, 403, 302])
def test_a_success_in_a_future_that_the_clock_has_left_is_no_evidence(court: Court, status: int) -> None:
    court.now += 60 * MINUTE
    court.prove()
    court.now = NOW
    refused = [court.add(n) for n in range(1, 6)]
    while court.state().paused_at is None:
        court.now += MINUTE
        assert court.now < NOW + 40 * MINUTE
        court.send(poison=set(refused), status=status)
    assert {court.statuses()[one] for one in refused} == {"pending"}
    taken = court.add(6)
    court.now += 5 * MINUTE
    assert court.send(poison=set(refused), status=status) == [taken]
    assert court.state().paused_at is None
    assert court.state().taken_at == court.now


def test_one_refused_with_nothing_else_to_send_pauses_nothing_and_spends_no_attempt(court: Court) -> None:
    court.prove()
    bad = court.add(1)
    for _ in range(4):
        court.send(poison={bad})
        court.now += 10 * MINUTE
    assert court.state().paused_at is None
    assert [row for row in court.rows("id, status, attempts") if row[0] == bad] == [(bad, "pending", 0)]
    good = court.add(2)
    court.send(poison={bad})
    assert court.statuses()[good] == "delivered", "and the next one goes"


def test_several_different_ones_refused_and_nothing_taken_pauses(court: Court) -> None:
    court.prove()
    all_of_them = {court.add(n) for n in range(1, 41)}
    tried = court.send(16, poison=all_of_them)
    assert len(tried) == 16
    assert court.state().paused_at is None, "these may be bad ones in a row: others are tried singly"
    singly = []
    while court.state().paused_at is None:
        (one,) = court.send(poison=all_of_them)
        singly.append(one)
    assert len(singly) == 3
    assert not set(singly) & set(tried), "the least tried first"
    assert (
        court.state().paused_reason
        == "the destination answered 403: check DESTINATION_TOKEN, or a firewall in front of it"
    )
    assert court.claim(now=court.now) == []
    assert {row[1:] for row in court.rows("id, status, attempts") if row[0] in all_of_them} == {("pending", 0)}


def test_bad_ones_in_a_row_before_good_ones_pause_nothing(court: Court) -> None:
    court.prove()
    bad = {court.add(n) for n in range(1, 11)}
    good = [court.add(n) for n in range(11, 60)]
    for _ in range(60):
        court.send(4, poison=bad)
        court.now += 200
    assert court.state().paused_at is None
    assert all(court.statuses()[one] == "delivered" for one in good)
    court.now += MINUTE
    court.send(poison=bad)
    assert {court.statuses()[one] for one in bad} == {"dead"}


def test_bad_ones_in_a_row_with_nothing_behind_them_wait_for_minutes_before_that_pauses(court: Court) -> None:
    court.add(1)
    court.send()
    bad = {court.add(n) for n in range(2, 8)}
    began = court.now
    while court.state().paused_at is None:
        court.send(poison=bad)
        court.now += SECOND
        assert court.now - began < 30 * MINUTE
    assert court.now - began > 2 * MINUTE
    assert {court.statuses()[one] for one in bad} == {"pending"}


def test_bad_ones_in_a_row_are_dead_once_another_one_is_taken(court: Court) -> None:
    court.add(1)
    court.send()
    bad = {court.add(n) for n in range(2, 8)}
    for _ in range(40):
        court.send(poison=bad)
        court.now += SECOND
    assert court.state().paused_at is None
    good = court.add(99)
    for _ in range(240):
        court.send(poison=bad)
        court.now += SECOND
    assert court.statuses()[good] == "delivered"
    assert {court.statuses()[one] for one in bad} == {"dead"}


def test_what_was_refused_before_is_no_evidence_against_a_destination_that_took_others_since(court: Court) -> None:
    court.prove()
    bad = {court.add(n) for n in range(1, 6)}
    good = court.add(6)
    court.send(poison=bad)
    assert court.statuses()[good] == "delivered"
    court.now += MINUTE
    court.send(poison=bad)
    assert court.state().paused_at is None
    assert {court.statuses()[one] for one in bad} == {"dead"}


@pytest.mark.parametrize("status", [401, 308])
def test_a_plain_refusal_of_a_configuration_that_never_worked_pauses_at_once(court: Court, status: int) -> None:
    one = court.add(1)
    court.send(poison={one}, status=status)
    assert court.state().paused_at is not None
    assert court.rows("status, attempts") == [("pending", 0)]


def test_a_redirect_pauses_and_names_where_it_leads_without_its_secrets(court: Court) -> None:
    court.add(1)
    court.add(2)
    court.settle(court.claim(), {1, 2}, 308, "https://user:pw@new.example/api/track/sale?token=s#x")
    reason = court.state().paused_reason
    assert reason == (
        "the destination answered 308, a redirect to https://new.example/api/track/sale: redirects are not followed,"
        " so correct DESTINATION_URL"
    )
    assert (
        court.rows("status, attempts, last_error")
        == [("pending", 0, "answered 308, a redirect to https://new.example/api/track/sale")] * 2
    )


@pytest.mark.parametrize("location", [None, "", "/login", "http://[", "\x1b[31mred", "x" * 5000])
def test_any_location_is_survived(court: Court, location: str | None) -> None:
    court.add(1)
    court.settle(court.claim(), {1}, 308, location)
    reason = court.state().paused_reason
    assert reason is not None
    assert reason.startswith("the destination answered 308, a redirect")
    assert reason.isprintable()
    assert len(reason) < 500
    assert ("/login" in reason) == (location == "/login")


def test_a_pause_for_refusals_is_tested_with_one_that_was_not_refused_and_ends_when_it_is_taken(court: Court) -> None:
    old = {court.add(n) for n in range(1, 4)}
    court.send(poison=old, status=401)
    assert court.state().paused_at is not None
    court.now += MINUTE
    with court.ledger.read() as tx:
        assert not has_due(tx, "main", court.now), "nothing that was not refused itself"
    assert court.claim(now=court.now) == []
    new = court.add(7)
    with court.ledger.read() as tx:
        assert has_due(tx, "main", court.now)
    assert court.send() == [new]
    assert court.state().paused_at is None
    assert set(court.send()) == old, "what was refused is due at once"


def test_a_pause_for_refusals_is_tested_ever_more_rarely(court: Court) -> None:
    everything = {court.add(n) for n in range(1, 100)}
    court.send(1, poison=everything, status=401)
    began, tried = court.now, []
    for _ in range(1200):
        court.now += SECOND
        tried += [court.now for _ in court.send(poison=everything, status=401)]
    assert tried[0] - began >= 30 * SECOND
    assert 5 <= len(tried) <= 10, "in twenty minutes"
    assert max(b - a for a, b in pairwise(tried)) <= LONGEST_RECHECK_MS + 2 * SECOND


def test_a_pause_by_hand_is_never_tested(court: Court) -> None:
    from app.ledger.forwarding.breaker import pause

    with court.ledger.write() as tx:
        pause(tx, "main", "maintenance", actor="Grace")
    court.add(1)
    assert court.claim(now=court.now + 24 * 60 * MINUTE) == []


def test_another_url_or_token_ends_the_pause(court: Court) -> None:
    court.add(1)
    court.send(poison={1}, status=308)
    with court.ledger.write() as tx:
        ensure_destination(tx, "main", "another print")
    assert ids(court.claim(now=court.now)) == [1]


def test_two_workers_of_which_one_has_the_old_token_do_not_kill_what_the_old_one_sends(court: Court) -> None:
    court.prove()
    one = court.add(1)
    claimed = court.claim(now=court.now)
    court.now += 10
    with court.ledger.write() as tx:
        fresh = Outcome(Claimed(9, "x", "sale", "{}", "k", 0, 0, 0, False), "delivered", court.now, 5, 200)
        finish(tx, "main", [fresh], now=court.now, token_print="new print")
    with court.ledger.write() as tx:
        refused = Outcome(claimed[0], "unauthorized", court.now - 5, 5, 401, "why")
        finish(tx, "main", [refused], now=court.now, token_print="old print")
    assert court.statuses()[one] == "pending"


def test_payloads_that_always_fail_do_not_hold_up_the_good_ones_that_wait_behind_them(court: Court) -> None:
    bad = {court.add(n) for n in range(1, 501)}
    good = [court.add(n) for n in range(501, 1501)]  # probes are drawn: eight bad ones in a row take two minutes
    began = court.now
    while not all(court.statuses()[one] == "delivered" for one in good):
        assert court.now - began < 2 * MINUTE
        court.send(64, poison=bad, status=500)
        court.now += 200


def test_payloads_that_fail_again_and_again_are_not_held_against_a_destination_that_takes_others(court: Court) -> None:
    bad = {court.add(n) for n in range(1, 6)}
    for number in range(40):
        good = court.add(1000 + number)
        court.send(poison=bad, status=500)
        assert court.statuses()[good] == "delivered"
        for one in range(3):
            court.send(poison=bad, status=500, after=5 * SECOND + one)
        assert not court.state().is_open


def test_an_outage_of_few_deliveries_still_opens_the_breaker(court: Court) -> None:
    court.prove()
    few = {court.add(n) for n in range(1, 4)}
    for _ in range(6):
        court.send(poison=few, status=500)
        court.now += 6 * SECOND
    assert court.state().is_open


def test_the_least_tried_is_probed_first(court: Court) -> None:
    old = {court.add(n) for n in range(1, BREAKER_FAILURES + 1)}
    court.send(poison=old, status=500)
    assert court.state().is_open
    court.now += 20 * SECOND
    fresh = court.add(77)
    assert ids(court.claim(now=court.now)) == [fresh]


def test_a_probe_keeps_the_order_within_a_person(court: Court) -> None:
    bad = {court.add(n) for n in range(1, BREAKER_FAILURES + 1)}
    court.send(poison=bad, status=500)
    lead = court.add(50, "lead")
    for _ in range(30):
        court.add(50)
    court.now += 2 * SECOND
    claimed = []
    for token in range(3):  # whichever is chosen at random, the Lead goes first
        with court.ledger.write() as tx:
            claimed += claim(tx, "main", f"1.{token}", limit=9, now=court.now, claim_ms=60_000, hold_ms=HOLD)
    assert ids(claimed) == [lead]


def test_a_destination_without_a_row_is_well(court: Court) -> None:
    with court.ledger.read() as tx:
        state = destination_state(tx, "nowhere")
    assert not state.is_open
    assert not state.is_doubted
    assert state.paused_at is None
