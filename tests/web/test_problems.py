"""The verdict: all that is wrong, worst first, each with since when, how many and what to do; the same for page and doctor."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from app.bootstrap import make_health
from app.config.settings import Settings
from app.ledger.alerting.refusals import HOUR_MS, add_refusals
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import BREAKER_FAILURES, pause
from app.ledger.reading.summary.problem import LEVELS, Verdict
from app.ledger.reading.summary.problems import Health
from tests.support.makers import change, checkout, one, settle, signed
from tests.web.conftest import Browser


@pytest.fixture
def health(make_settings: Callable[..., Settings]) -> Health:
    return make_health(make_settings())


@pytest.fixture
def worker(ledger: Ledger) -> None:
    """A worker that is alive for the next minute."""
    with ledger.write() as tx:
        now = tx.now()
    statement = "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at) VALUES ('h', 1, '', ?, ?)"
    change(ledger, statement, now, now + 60_000)


def verdict_of(health: Health, ledger: Ledger) -> Verdict:
    with ledger.read() as tx:
        return health.verdict(tx)


def kinds_of(health: Health, ledger: Ledger) -> dict[str, str]:
    return {problem.kind: problem.level for problem in verdict_of(health, ledger).problems}


def refuse(ledger: Ledger, source: str, reason: str, count: int, ago_ms: int = 0) -> None:
    with ledger.write() as tx:
        add_refusals(tx, {(source, reason): count}, tx.now() - ago_ms)


def test_a_bridge_that_works_has_no_problem(health: Health, ledger: Ledger, worker: None) -> None:
    verdict = verdict_of(health, ledger)
    assert (verdict.level, verdict.headline, list(verdict.problems)) == (None, "Ready. Nothing has come in yet.", [])


def test_no_worker_is_the_first_thing_to_say_with_what_waits(
    health: Health, ledger: Ledger, post: Callable[[bytes], Any]
) -> None:
    post(checkout(1))
    problem = verdict_of(health, ledger).problems[0]
    assert (problem.kind, problem.level, problem.count) == ("no worker", "bad", 1)
    assert problem.text == "No worker is alive, so nothing is forwarded. 1 delivery is queued."


@pytest.mark.parametrize(("count", "level"), [(1, "warn"), (9, "warn"), (40, "bad")])
def test_refusals_of_a_source_that_never_worked_are_a_problem_from_the_first(
    health: Health, ledger: Ledger, worker: None, count: int, level: str
) -> None:
    refuse(ledger, "typeform", "wrong", count)
    verdict = verdict_of(health, ledger)
    (problem,) = verdict.problems
    assert (verdict.level, problem.kind, problem.subject, problem.level) == (level, "refused", "typeform", level)
    assert problem.count == count
    assert f"(wrong signature ×{count})" in problem.text
    assert "TYPEFORM_WEBHOOK_SECRET" in problem.remedy
    assert problem.since is not None


def test_refusals_of_a_source_that_worked_are_a_problem_until_it_works_again(
    health: Health, ledger: Ledger, post: Callable[[bytes], Any], worker: None
) -> None:
    post(checkout(1))
    settle(ledger, "delivered")
    refuse(ledger, "stripe", "wrong", 2, ago_ms=-1000)
    assert kinds_of(health, ledger) == {}, "two strangers"
    refuse(ledger, "stripe", "wrong", 3, ago_ms=-2000)
    assert kinds_of(health, ledger) == {"refused": "warn"}
    change(ledger, "UPDATE events SET last_received_at = last_received_at + 10000")
    assert kinds_of(health, ledger) == {}


def test_a_problem_says_since_when_and_stays_with_that(health: Health, ledger: Ledger, worker: None) -> None:
    refuse(ledger, "typeform", "wrong", 40, ago_ms=5_000)
    refuse(ledger, "typeform", "wrong", 40)
    with ledger.read() as tx:
        (problem,) = health.verdict(tx).problems
        assert problem.since is not None
        assert 4_000 < tx.now() - problem.since < 60_000
    assert verdict_of(health, ledger).problems[0].since == problem.since


def test_refusals_are_no_alarm_any_more_once_the_newest_request_is_accepted(
    health: Health, ledger: Ledger, post: Callable[[bytes], Any], worker: None
) -> None:
    refuse(ledger, "stripe", "wrong", 40, ago_ms=5_000)
    (problem,) = verdict_of(health, ledger).problems
    assert problem.level == "bad"
    post(checkout(1))
    settle(ledger, "delivered")
    (problem,) = verdict_of(health, ledger).problems
    assert (problem.kind, problem.level) == ("refused", "warn")
    assert problem.remedy.startswith("The newest request was accepted. Redeliver the refused ones at Stripe")


def test_refusals_of_days_ago_are_over(health: Health, ledger: Ledger, worker: None) -> None:
    refuse(ledger, "typeform", "wrong", 40, ago_ms=30 * HOUR_MS)
    assert kinds_of(health, ledger) == {}


@pytest.mark.parametrize(
    ("reason", "shown", "remedy"),
    [
        ("missing", "no signature", "Turn on signing"),
        ("too old", "too old", "clock"),
        ("unreadable", "unreadable", "cannot be read"),
    ],
)
def test_each_reason_has_its_remedy(
    health: Health, ledger: Ledger, worker: None, reason: str, shown: str, remedy: str
) -> None:
    refuse(ledger, "stripe", reason, 5)
    (problem,) = verdict_of(health, ledger).problems
    assert shown in problem.text
    assert remedy in problem.remedy


def test_a_source_with_a_token_in_its_url_is_told_so(
    make_settings: Callable[..., Settings], ledger: Ledger, worker: None
) -> None:
    health = make_health(make_settings(ELEMENTOR_PATH_TOKEN="a-token-of-sixteen-characters"))
    refuse(ledger, "elementor", "wrong", 12)
    (problem,) = verdict_of(health, ledger).problems
    assert "wrong token ×12" in problem.text
    assert "ELEMENTOR_PATH_TOKEN" in problem.remedy


def test_no_source_at_all_is_not_ready(make_settings: Callable[..., Settings], ledger: Ledger, worker: None) -> None:
    health = make_health(make_settings(STRIPE_WEBHOOK_SECRET="", TYPEFORM_WEBHOOK_SECRET=""))
    verdict = verdict_of(health, ledger)
    assert (verdict.level, verdict.headline) == ("warn", "Nothing can come in: no source is configured.")


def test_everything_at_once_is_listed_worst_first(
    health: Health, ledger: Ledger, post: Callable[[bytes], Any], worker: None, web: FlaskClient
) -> None:
    for number in range(1, 6):
        post(checkout(number))
    settle(ledger, "permanent", status=422)
    retrying = "UPDATE deliveries SET status = 'retrying', dead_at = NULL, due_at = 9999999999999"
    change(ledger, f"{retrying} WHERE id = (SELECT MIN(id) FROM deliveries)")
    parked = web.post("/webhooks/stripe", **signed(checkout(6, currency=None)))
    assert parked.get_json()["outcome"] == "parked"
    refuse(ledger, "typeform", "wrong", 40)
    with ledger.write() as tx:
        pause(tx, "sandbox", "maintenance", actor="Ada")
        event = tx.run("SELECT MIN(id) FROM events").scalar()
        tx.run("INSERT INTO conflicts (at, event_id, person_id, reason) VALUES (?, ?, 7, 'x')", tx.now(), event)
        tx.run("INSERT INTO destinations (name) VALUES ('gone')")
        tx.run("UPDATE deliveries SET destination = 'gone' WHERE status = 'retrying'")
    found = verdict_of(health, ledger)
    assert {problem.kind for problem in found.problems} == {
        "paused", "refused", "stranded", "dead", "parked", "conflicts", "retrying",
    }  # fmt: skip
    levels = [LEVELS.index(problem.level) for problem in found.problems]
    assert levels == sorted(levels)
    assert found.headline == found.problems[0].text
    for problem in found.problems:
        assert problem.path.startswith("/")
        assert problem.link
        assert problem.remedy or problem.kind == "retrying"
        assert problem.since or problem.kind == "stranded"
        assert problem.count or problem.kind == "paused"


def test_a_destination_that_fails_or_is_paused_says_what_waits(
    health: Health, ledger: Ledger, post: Callable[[bytes], Any], worker: None
) -> None:
    post(checkout(1))
    change(ledger, "INSERT INTO destinations (name, failures) VALUES ('sandbox', ?)", BREAKER_FAILURES)
    (problem,) = verdict_of(health, ledger).problems
    assert (problem.kind, problem.level, problem.count) == ("down", "warn", 1)
    change(
        ledger, "UPDATE destinations SET paused_at = 5, paused_token = 'x', paused_reason = 'answered 401: key expired'"
    )
    (problem,) = verdict_of(health, ledger).problems
    assert (problem.kind, problem.level, problem.since) == ("paused", "bad", 5)
    assert problem.text == "Forwarding to sandbox is paused: answered 401: key expired. 1 delivery is queued."
    assert "reload" in problem.remedy


def test_deliveries_that_nobody_sends_although_a_worker_is_alive_are_late(
    health: Health, ledger: Ledger, post: Callable[[bytes], Any], worker: None
) -> None:
    post(checkout(1))
    change(ledger, "UPDATE deliveries SET due_at = due_at - 3600000, created_at = created_at - 3600000")
    (problem,) = verdict_of(health, ledger).problems
    assert (problem.kind, problem.level, problem.count) == ("late", "bad", 1)


def test_the_page_lists_every_problem_with_its_link(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger, worker: None
) -> None:
    post(checkout(1))
    settle(ledger, "permanent", status=422)
    refuse(ledger, "typeform", "wrong", 40)
    text = browser.get("/").text
    assert 'class="verdict bad"' in text
    assert "Typeform: 40 requests were refused (wrong signature ×40)." in text
    assert "TYPEFORM_WEBHOOK_SECRET" in text
    assert "1 delivery failed permanently." in text
    assert 'href="/failed?status=dead"' in text
    assert "All caught up" not in text
    assert one(ledger, "SELECT COUNT(*) FROM events") == (1,)


def test_a_destination_that_attributes_little_is_noted_and_nothing_is_wrong(
    health: Health, ledger: Ledger, post: Callable[[bytes], Any], worker: None
) -> None:
    for number in range(30):
        post(checkout(number))
    settle(ledger, "delivered")
    change(ledger, "UPDATE deliveries SET status = 'unattributed' WHERE mod(id, 3) = 0")
    (number,) = one(ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'unattributed'")
    verdict = verdict_of(health, ledger)
    (problem,) = verdict.problems
    assert verdict.level is None
    assert verdict.headline.startswith("All caught up")
    assert (problem.kind, problem.level, problem.count) == ("unattributed", "note", number)
    assert "of the newest 30 conversions" in problem.text
