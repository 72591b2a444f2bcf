"""Channels of alerts: each gets every alert and all-clear once, whatever becomes of the others, over restarts."""

import json
import ssl
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from app.alerts.channel import AlertUnsent, Channel
from app.alerts.channels import channels_of
from app.alerts.email import EmailChannel
from app.alerts.thread import AlertThread
from app.config.bridge_toml import AlertTable
from app.config.settings import Settings
from app.errors import ConfigurationError
from app.ledger import tables
from app.ledger.alerting.conditions import Detector
from app.ledger.alerting.history import HistoryFilter, Record, history
from app.ledger.engine import Ledger
from tests.conftest import FakeDestination
from tests.destinations.test_http import CERTIFICATE
from tests.support.mail import PASSWORD, USER, MailServer
from tests.support.makers import change, one

START = 1_790_000_000_000
KEY = "0123456789abcdef0123456789ABCDEF"
DELIVERY = (
    "id", "conversion_id", "person_id", "event_id", "source", "kind", "destination", "dedupe_key", "status", "payload",
    "created_at", "last_status", "last_error", "dead_at",
)  # fmt: skip


@pytest.fixture
def mail() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.close()


@pytest.fixture
def pager() -> Iterator[FakeDestination]:
    server = FakeDestination()
    server.answer = lambda _request: (202, {}, b'{"status":"success"}')
    yield server
    server.close()


@pytest.fixture
def channels(
    make_settings: Callable[..., Settings], destination: FakeDestination, mail: MailServer, pager: FakeDestination
) -> tuple[Channel, ...]:
    """All three, as the environment configures them."""
    return channels_of(
        make_settings(
            ALERT_WEBHOOK_URL=f"{destination.url}/hook",
            ALERT_SMTP_URL=f"smtp://alerts%40example.com:p%40ss%3Aword%2Fof%20the%20tests@{mail.address}",
            ALERT_EMAIL_TO="ops@example.com, cto@example.com",
            ALERT_PAGERDUTY_KEY=KEY,
            ALERT_PAGERDUTY_URL=f"{pager.url}/v2/enqueue",
        )
    )


class Clock:
    """One alert thread, as of a process that may be restarted."""

    def __init__(self, ledger: Ledger, channels: Sequence[Channel]) -> None:
        self.now, self._ledger, self._channels = START, ledger, channels
        self.restart()

    def restart(self, channels: Sequence[Channel] | None = None) -> None:
        self._channels = self._channels if channels is None else channels
        detector = Detector(AlertTable(), ["main"], [], 900)
        self._thread = AlertThread(
            self._ledger, detector, self._channels, "https://bridge.example", lambda _tx: self.now
        )

    def go(self, minutes: float) -> None:
        for _ in range(int(minutes * 4)):
            self.now += 15_000
            self._thread.look()

    def history(self, **expected: Any) -> Sequence[Record]:
        with self._ledger.read() as tx:
            return history(tx, HistoryFilter(**expected))


def die(ledger: Ledger, number: int, at: int) -> None:
    facts = {"sale": {"minor": 1500, "currency": "JPY", "invoice_id": "in_1"}}
    row = (number, number, 1, 1, "stripe", "sale", "main", f"k{number}", "dead", "{}", at, 422, "no", at)
    with ledger.write() as tx:
        tx.insert(tables.deliveries, DELIVERY, [row])
        tx.run(
            "INSERT INTO conversions (id, state, kind, source, dedupe_key, event_id, occurred_at, created_at, facts)"
            " VALUES (?, 'counted', 'sale', 'stripe', ?, 1, ?, ?, ?)",
            *(number, f"k{number}", at, at, json.dumps(facts)),
        )


def sent(record: Record) -> list[tuple[str, str, str]]:
    return [(made.channel, made.what, made.state) for made in record.notified]


def test_a_broken_channel_stops_no_other_and_nothing_is_sent_twice_after_a_restart(
    ledger: Ledger,
    channels: tuple[Channel, ...],
    destination: FakeDestination,
    mail: MailServer,
    pager: FakeDestination,
) -> None:
    clock = Clock(ledger, channels)
    destination.answer = lambda _request: (500, {}, b"")
    for number in range(3):
        die(ledger, number, clock.now)
    clock.go(3)
    (message,) = mail.mails
    assert message["Subject"].startswith("[Conversion Bridge] 3 deliveries to main have failed permanently")
    assert (message["To"], message["From"]) == ("ops@example.com, cto@example.com", "ops@example.com")
    text = message.get_content()
    assert "At stake: 4,500 JPY." in text
    assert "https://bridge.example/failed?status=dead" in text
    assert mail.logins == [(USER, PASSWORD)]
    (trigger,) = pager.payloads
    assert pager.requests[0]["path"] == "/v2/enqueue"
    assert (trigger["routing_key"], trigger["event_action"]) == (KEY, "trigger")
    assert trigger["payload"]["severity"] == "critical"
    assert trigger["payload"]["summary"].startswith("3 deliveries to main have failed permanently")
    assert trigger["links"] == [{"href": "https://bridge.example/failed?status=dead", "text": "Dashboard"}]
    (record,) = clock.history(state="open")
    assert sent(record) == [("webhook", "alert", "waiting"), ("email", "alert", "sent"), ("pagerduty", "alert", "sent")]
    assert record.notified[0].problem == "the alert webhook answered 500"

    clock.restart()
    clock.go(5)
    assert (len(mail.mails), len(pager.requests)) == (1, 1)
    destination.answer = lambda _request: (200, {}, b"")
    destination.requests.clear()
    clock.go(10)
    assert [payload["text"][:1] for payload in destination.payloads] == ["\N{LARGE RED CIRCLE}"]

    change(ledger, "UPDATE deliveries SET status = 'delivered'")
    clock.go(5)
    clock.restart()
    clock.go(5)
    assert "All clear" in mail.mails[1].get_content()
    assert "All clear" in destination.payloads[1]["text"]
    resolve = pager.payloads[1]
    assert resolve == {"routing_key": KEY, "event_action": "resolve", "dedup_key": trigger["dedup_key"]}
    assert (len(mail.mails), len(pager.requests), len(destination.requests)) == (2, 2, 2)
    assert len({message["Message-ID"] for message in mail.mails}) == 2
    (record,) = clock.history(state="past")
    assert [made.state for made in record.notified] == ["sent"] * 6
    assert clock.history(state="open") == []


def test_nobody_is_paged_for_what_is_over_and_a_message_says_when_it_ended(
    ledger: Ledger,
    channels: tuple[Channel, ...],
    destination: FakeDestination,
    mail: MailServer,
    pager: FakeDestination,
) -> None:
    clock = Clock(ledger, channels)
    pager.answer = destination.answer = lambda _request: (503, {}, b"")
    mail.refusal = "450 busy"
    die(ledger, 1, clock.now)
    clock.go(3)
    change(ledger, "UPDATE deliveries SET status = 'delivered'")
    clock.go(4)
    problems = {made.channel: made.problem for made in clock.history()[0].notified}
    assert problems == {
        "webhook": "the alert webhook answered 503",
        "email": "the mail server refused the recipients (450)",
        "pagerduty": "PagerDuty answered 503",
    }
    pager.answer = destination.answer = lambda _request: (202, {}, b"")
    mail.refusal = None
    tries = len(pager.requests)
    destination.requests.clear()
    clock.go(20)
    assert len(pager.requests) == tries
    (payload,) = destination.payloads
    assert "It ended at" in payload["text"]
    assert "It ended at" in mail.mails[0].get_content()
    assert len(mail.mails) == 1
    (record,) = clock.history()
    assert sent(record) == [("webhook", "alert", "sent"), ("email", "alert", "sent"), ("pagerduty", "alert", "dropped")]


def test_a_channel_that_is_added_later_gets_nothing_of_older_incidents(
    ledger: Ledger, channels: tuple[Channel, ...], mail: MailServer, pager: FakeDestination
) -> None:
    clock = Clock(ledger, ())
    die(ledger, 1, clock.now)
    clock.go(3)
    (record,) = clock.history(kind="dead", subject="main")
    assert record.notified == []
    clock.restart(channels)
    clock.go(3)
    change(ledger, "UPDATE deliveries SET status = 'delivered'")
    clock.go(5)
    assert (mail.mails, pager.requests) == ([], [])
    assert clock.history(since=clock.now) == []


def test_what_the_version_before_reported_goes_on_here(
    ledger: Ledger, channels: tuple[Channel, ...], destination: FakeDestination, mail: MailServer
) -> None:
    old = (
        "INSERT INTO alerts (topic, kind, subject, incident, began_at, bad_at, told_at, say, detail)"
        " VALUES (?, ?, 'main', ?, ?, ?, ?, ?, ?)"
    )
    waiting = json.dumps({"waiting": 1, "by_hand": True})
    change(ledger, old, "paused:main", "paused", "paused:main", START, START, START, None, waiting)
    dead = json.dumps({"count": 1, "codes": {"422": 1}, "last_at": START})
    change(ledger, old, "dead:main", "dead", "dead:main", START, START, None, "alert", dead)
    die(ledger, 1, START)
    clock = Clock(ledger, channels)
    clock.go(1)
    assert len(mail.mails) == 1, "the one that was to be sent"
    assert one(ledger, "SELECT COUNT(*) FROM alerts WHERE say IS NOT NULL") == (0,), "that version sends nothing of it"
    clock.go(5)
    paused, _ = sorted(clock.history(), key=lambda record: record.incident.kind != "paused")
    assert sent(paused) == [("webhook", "alert", "sent"), ("webhook", "over", "sent")]
    assert "accepts deliveries again" in str(destination.payloads)


def test_a_password_is_sent_to_no_server_without_tls_and_to_none_with_a_wrong_certificate() -> None:
    plain = MailServer("127.0.0.2")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE / "localhost.pem", CERTIFICATE / "localhost.key")
    secure = MailServer("127.0.0.2", context)
    try:
        for server, problem in ((plain, "offers no TLS"), (secure, "SSLCertVerificationError")):
            channel = EmailChannel(f"smtp://me:never-sent@{server.address}", ("ops@example.com",), "b@example.com")
            with pytest.raises(AlertUnsent, match=problem) as caught:
                channel.test("x")
            assert "never-sent" not in str(caught.value)
            assert (server.logins, server.mails) == ([], [])
    finally:
        plain.close()
        secure.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("smtp://me:wrong@{}", "the mail server answered 535 to the user name and password"),
        ("smtps://me:wrong@{}", "the mail server does not answer"),
        ("smtp://127.0.0.1:1", "the mail server does not answer (ConnectionRefusedError)"),
    ],
)
def test_what_is_wrong_at_the_mail_server_is_said_without_its_secrets(mail: MailServer, url: str, problem: str) -> None:
    channel = EmailChannel(url.format(mail.address), ("ops@example.com",), "b@example.com")
    with pytest.raises(AlertUnsent) as caught:
        channel.test("x")
    assert str(caught.value).startswith(problem)
    assert "wrong@" not in str(caught.value)
    assert "ops@" not in repr(caught.value)


def test_secrets_may_stand_in_files_and_half_a_channel_is_an_error(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    for name, value in (("smtp", "smtp://mail.example"), ("key", f"{KEY}\n")):
        (tmp_path / name).write_text(value)
    settings = make_settings(
        ALERT_SMTP_URL_FILE=str(tmp_path / "smtp"),
        ALERT_EMAIL_TO="ops@example.com",
        ALERT_PAGERDUTY_KEY_FILE=str(tmp_path / "key"),
    )
    assert [channel.name for channel in channels_of(settings)] == ["email", "pagerduty"]
    assert KEY not in repr(channels_of(settings))
    assert "mail.example" not in repr(settings)
    with pytest.raises(ConfigurationError, match="set ALERT_EMAIL_TO too"):
        make_settings(ALERT_EMAIL_TO="")
    with pytest.raises(ConfigurationError, match="set ALERT_SMTP_URL too"):
        make_settings(ALERT_SMTP_URL_FILE="", ALERT_EMAIL_TO="ops@example.com")
