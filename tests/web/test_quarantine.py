"""Requests refused for a wrong signature are kept, bounded and apart, and taken in once the secret here is right."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from app.ledger.engine import Ledger
from app.ledger.inbound.bounds import Bounds, enforce
from app.ledger.inbound.quarantine import Refused, held, keep
from app.sources.catalog import SOURCES, example
from app.web.public.refusal_counter import RefusalCounter
from tests.support.makers import change, checkout, count, one, stripe_headers
from tests.web.conftest import API, Browser

NEW = "whsec_the_secret_after_its_rotation"


def flush(app: Flask) -> None:
    app.extensions["refusals"].flush()


def scalar(ledger: Ledger, statement: str) -> Any:
    return one(ledger, statement)[0]


def ids(ledger: Ledger) -> list[int]:
    with ledger.read() as tx:
        return [row.id for row in reversed(held(tx))]


def outcomes(ledger: Ledger) -> list[tuple[str, str, int]]:
    with ledger.read() as tx:
        rows = tx.run("SELECT source, outcome, received_count FROM events ORDER BY id").all()
    return [tuple(row) for row in rows]


def test_what_was_refused_while_the_secret_was_wrong_is_taken_in_once(
    make_app: Callable[..., Flask], ledger: Ledger
) -> None:
    before = make_app()
    web = before.test_client()
    first, second = checkout(1), checkout(2)
    old = datetime.now(UTC) - timedelta(hours=1)
    for body, secret, at in (
        (first, NEW, None),
        (first, NEW, datetime.now(UTC) - timedelta(seconds=5)),  # the provider's retry: another signature
        (second, NEW, None),
        (checkout(3), "whsec_of_somebody_else_altogether", None),
        (checkout(4), NEW, old),  # replayed: refused for its age, whatever the secret
    ):
        assert web.post("/webhooks/stripe", data=body, headers=stripe_headers(body, at, secret)).status_code == 401
    flush(before)
    assert count(ledger, "quarantine") == 4
    assert [count(ledger, table) for table in ("events", "deliveries", "persons", "conversions")] == [0, 0, 0, 0]

    after = make_app(STRIPE_WEBHOOK_SECRET=NEW)
    web = after.test_client()
    assert web.post("/webhooks/stripe", data=second, headers=stripe_headers(second, secret=NEW)).status_code == 200
    answer = web.post("/api/v1/quarantine/verify", json={"source": "stripe"}, headers=API)
    assert answer.json is not None
    assert (answer.json["taken"], answer.json["refused"], answer.json["next"]) == (2, 1, None)
    (problem,) = answer.json["problems"].values()
    assert "not of this body" in problem
    assert sorted(outcomes(ledger)) == [("stripe", "sale", 1), ("stripe", "sale", 2)]  # the second one came twice
    assert count(ledger, "deliveries") == 2
    assert count(ledger, "quarantine") == 1
    assert "2 accepted (1 duplicate, 1 sale), 1 refused again" in scalar(
        ledger, "SELECT detail FROM audit WHERE action = 'verify again'"
    )

    assert web.post("/api/v1/quarantine/drop", json={"all": True}, headers=API).json == {"dropped": 1}
    wrongs: list[dict[str, Any]] = [{}, {"ids": []}, {"all": False}, {"source": "stripe", "all": True}, {"ids": ["1"]}]
    for wrong in wrongs:
        assert web.post("/api/v1/quarantine/drop", json=wrong, headers=API).status_code == 422


def test_the_pages_verify_and_drop_what_is_selected(make_app: Callable[..., Flask], ledger: Ledger) -> None:
    before = make_app()
    hostile = json.dumps(
        {"form_response": {"token": "</pre><script>alert(1)</script>\u202e", "a": "ada@kern.example"}}
    ).encode()
    typeform = SOURCES["typeform"]
    for body, secret in (
        (hostile, "typeform secret after rotation"),
        (b"\xff" * (1024 * 1024), "typeform secret after rotation"),
    ):
        headers = typeform.sign(body, secret, datetime.now(UTC)) | {"X-Note": "<b>&\u0661".encode().decode("latin-1")}
        assert before.test_client().post("/webhooks/typeform", data=body, headers=headers).status_code == 401
    flush(before)
    small, large = ids(ledger)
    browser = Browser(before.test_client(), "password of the tests")
    assert "2 requests" in browser.get("/inbound").text
    assert "2 in quarantine" in browser.get("/inbound").text
    assert "Typeform has no manual resend" in browser.get("/inbound").text
    page = browser.get(f"/inbound/quarantine/{small}").text
    assert "ada@kern.example" in page
    assert "<script>alert" not in page
    assert "\u202e" not in page
    assert "The first 64 KiB" in browser.get(f"/inbound/quarantine/{large}").text
    assert browser.get("/inbound/quarantine/999999999").status_code == 404
    assert (
        "Select at least one"
        in browser.client.post("/inbound/quarantine/verify", data={"csrf": browser.csrf}, follow_redirects=True).text
    )

    after = Browser(
        make_app(TYPEFORM_WEBHOOK_SECRET="typeform secret after rotation").test_client(), "password of the tests"
    )
    assert after.submit("/inbound/quarantine/verify", id=str(large)).status_code == 302
    shown = after.get("/inbound/quarantine?source=typeform").text
    assert "refused again" in shown  # authentic, and no event of Typeform's
    confirm = after.submit("/inbound/quarantine/drop", id=str(large))
    assert "Drop 1 request?" in confirm.text
    assert len(ids(ledger)) == 2
    after.submit("/inbound/quarantine/drop", id=str(large), confirmed="1")
    assert ids(ledger) == [small]


def test_only_what_the_confirmation_counted_is_dropped(make_app: Callable[..., Flask], ledger: Ledger) -> None:
    app = make_app()
    browser = Browser(app.test_client(), "password of the tests")

    def refuse(number: int) -> None:
        body = checkout(number)
        browser.client.post("/webhooks/stripe", data=body, headers=stripe_headers(body, secret=NEW))
        flush(app)

    refuse(1)
    (first,) = ids(ledger)
    confirm = browser.submit("/inbound/quarantine/drop", all="1").text
    assert "Drop 1 request?" in confirm
    fields = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', confirm))
    refuse(2)
    browser.submit("/inbound/quarantine/drop", **fields)
    (second,) = ids(ledger)
    assert second > first
    assert "Drop 1 request?" in browser.submit("/inbound/quarantine/drop", id=str(second)).text
    browser.submit("/inbound/quarantine/drop", id=str(first))
    assert "These requests are no longer in the quarantine" in browser.get("/inbound/quarantine").text


def test_a_viewer_sees_no_body_and_changes_nothing(make_app: Callable[..., Flask], ledger: Ledger) -> None:
    app = make_app(DASHBOARD_VIEWER_PASSWORD="viewers may look")
    body = checkout(1, customer_details={"email": "ada@kern.example"})
    headers = stripe_headers(body, secret=NEW) | {"User-Agent": "robot of ada@kern.example"}
    assert app.test_client().post("/webhooks/stripe", data=body, headers=headers).status_code == 401
    flush(app)
    viewer = Browser(app.test_client(), "viewers may look")
    (identity,) = ids(ledger)
    for path in ("/inbound", "/inbound/quarantine", f"/inbound/quarantine/{identity}"):
        page = viewer.get(path)
        assert page.status_code == 200
        assert "ada@kern.example" not in page.text
        assert "customer_details" not in page.text
        assert '<button class="primary">Verify' not in page.text
    assert viewer.submit("/inbound/quarantine/verify", all="1").status_code == 403
    assert viewer.submit("/inbound/quarantine/drop", all="1", confirmed="1").status_code == 403
    assert ids(ledger) == [identity]


SENDERS = {
    "revenuecat": ("Bearer another-long-secret", {}),
    "chargebee": ("bridge:another-long-secret", {}),
    "auth0": ("another-long-secret-of-auth0", {}),
    "wufoo": ("another handshake key & more", {}),
    "hubspot": ("another-hubspot-client-secret", {"PUBLIC_URL": "https://bridge.example"}),
    "svix": ("whsec_YW5vdGhlciBsb25nIHNlY3JldCBvZiBzdml4", {}),
}


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", SENDERS)
def test_credentials_are_not_kept_and_the_right_one_is_found_again(
    name: str, make_app: Callable[..., Flask], ledger: Ledger
) -> None:
    secret, more = SENDERS[name]
    variable = f"{name.upper()}_WEBHOOK_SECRET"
    wrong = "whsec_d3JvbmcgbG9uZyBzZWNyZXQgb2Ygc3ZpeA==" if name == "svix" else "wrong:long-secret-here"
    before = make_app(**{variable: wrong, **more})
    source, now = SOURCES[name], datetime.now(UTC)
    body, kind = example(name)
    body = source.stamp(body, secret)
    url = f"https://bridge.example/webhooks/{name}"
    headers = source.sign(body, secret, now, url=url) | {
        "Content-Type": kind,
        "Cookie": "session=very-private",
        "X-Api-Key": "key-very-private",
        "X-Auth-Token": "token-very-private",
    }
    assert before.test_client().post(f"/webhooks/{name}", data=body, headers=headers).status_code == 401
    flush(before)
    with ledger.read() as tx:
        row = tx.run("SELECT headers, sealed, body FROM quarantine").one()
    kept = f"{row[0]} {row[1]} {bytes(row[2])!r}"
    assert "very-private" not in kept
    if not getattr(getattr(source, "signature", None), "signs_body", True) or name == "wufoo":
        assert "another" not in kept
    after = make_app(**{variable: secret, **more})
    answer = after.test_client().post("/api/v1/quarantine/verify", json={"all": True}, headers=API)
    assert answer.json is not None
    assert answer.json["problems"] == {}
    assert answer.json["taken"] == 1
    assert "another" not in str(scalar(ledger, "SELECT headers FROM events"))


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_only_what_another_secret_would_heal_is_kept(make_app: Callable[..., Flask], ledger: Ledger) -> None:
    app = make_app(ELEMENTOR_PATH_TOKEN="a-token-of-sixteen-characters")
    web, body = app.test_client(), checkout(1)
    right = stripe_headers(body)["Stripe-Signature"]
    for signature in ("", "t=no,v1=1", "v1=12", right.replace("v1=", "v0=")):
        headers = {"Stripe-Signature": signature}
        assert web.post("/webhooks/stripe", data=body, headers=headers).status_code == 401
    assert web.post("/webhooks/stripe", data=b"[", headers=stripe_headers(b"[")).status_code == 400
    assert web.post("/webhooks/elementor/another-token-of-sixteen", data=body).status_code == 401
    assert web.post("/webhooks/tally", data=body, headers={"Tally-Signature": "x"}).status_code == 404
    flush(app)
    assert count(ledger, "quarantine") == 0
    off = make_app(QUARANTINE_ROWS="0")
    assert (
        off.test_client().post("/webhooks/stripe", data=body, headers=stripe_headers(body, secret=NEW)).status_code
        == 401
    )
    flush(off)
    assert count(ledger, "quarantine") == 0


def refused(number: int, client: str, size: int = 100, source: str = "stripe", at: int = 1_000_000_000_000) -> Refused:
    digest = f"{source} {client} {number}"
    return Refused(source, at, client, "wrong", digest, digest, {}, b"x" * size)


def test_a_flood_pushes_out_neither_what_came_before_nor_what_comes_from_elsewhere(ledger: Ledger) -> None:
    def fill(numbers: range, client: str, **more: Any) -> None:
        with ledger.write() as tx:
            keep(tx, [refused(number, client, **more) for number in numbers])
            enforce(tx, bounds, 1_000_000_000_000)

    def numbers_of(client: str) -> list[int]:
        with ledger.read() as tx:
            rows = tx.run("SELECT digest FROM quarantine WHERE client = ? ORDER BY id", client).scalars()
            return [int(digest.rpartition(" ")[2]) for digest in rows]

    bounds = Bounds(rows=40, total_bytes=1_000_000, days=14)
    fill(range(10), "provider")
    fill(range(5), "quiet", source="typeform")
    for start in range(0, 400, 100):
        fill(range(start, start + 100), "flood")
    fill(range(10, 12), "provider")
    flood = numbers_of("flood")
    assert numbers_of("provider") == list(range(12))
    assert numbers_of("quiet") == list(range(5))
    assert len(flood) == 28
    assert flood[0] == 0
    assert flood[-1] == 399
    bounds = Bounds(rows=40, total_bytes=4_000, days=14)  # 45 requests of 100 bytes
    fill(range(400, 401), "flood")
    assert numbers_of("quiet") == list(range(5))
    assert scalar(ledger, "SELECT SUM(size) FROM quarantine") <= 4_000
    with ledger.write() as tx:
        assert enforce(tx, bounds, 1_000_000_000_000 + 15 * 86_400_000) > 0
    assert count(ledger, "quarantine") == 0


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_process_keeps_a_bounded_sample_of_a_flood(make_app: Callable[..., Flask], ledger: Ledger) -> None:
    app = make_app()
    web = app.test_client()
    for number in range(60):
        body = checkout(number)
        address = "203.0.113.7" if number % 2 else "198.51.100.9"
        headers = stripe_headers(body, secret=NEW)
        web.post("/webhooks/stripe", data=body, headers=headers, environ_base={"REMOTE_ADDR": address})
    body = checkout(1000)
    web.post(
        "/webhooks/stripe",
        data=body,
        headers=stripe_headers(body, secret=NEW),
        environ_base={"REMOTE_ADDR": "2001:db8::1"},
    )
    flush(app)
    with ledger.read() as tx:
        by_client = dict(tx.run("SELECT client, COUNT(*) FROM quarantine GROUP BY client").all())
        counted = tx.run("SELECT SUM(count) FROM refusals").scalar()
    assert by_client == {"203.0.113.0/24": 20, "198.51.100.0/24": 20, "2001:db8::/48": 1}
    assert counted == 61


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_of_requests_that_come_at_one_moment_none_takes_the_place_of_another(ledger: Ledger) -> None:
    counter = RefusalCounter(ledger, Bounds(100, 1_000_000, None))

    def request(number: int) -> Refused:
        return Refused("stripe", number, "203.0.113.0/24", "wrong", f"d{number}", f"b{number}", {}, b"{}")

    def slow() -> Refused:
        """While this one is prepared, another one comes, and then a flush."""
        counter.hold("stripe", "203.0.113.0/24", lambda: request(2))
        counter.count("stripe", "wrong")
        counter.flush()
        return request(1)

    counter.hold("stripe", "203.0.113.0/24", slow)
    counter.count("stripe", "wrong")
    counter.flush()
    counter.stop()
    with ledger.read() as tx:
        assert tx.run("SELECT digest FROM quarantine ORDER BY digest").scalars().all() == ["d1", "d2"]


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_the_command_lists_verifies_and_drops(
    make_app: Callable[..., Flask], bridge: Callable[..., Result], ledger: Ledger, ledger_url: str
) -> None:
    app = make_app()
    for number, secret in ((1, NEW), (2, "whsec_of_somebody_else_altogether")):
        body = checkout(number)
        app.test_client().post("/webhooks/stripe", data=body, headers=stripe_headers(body, secret=secret))
    flush(app)
    assert len(bridge("quarantine", "list", "--json", DATABASE_URL=ledger_url).output.splitlines()) == 2
    assert "quarantined" in bridge("refusals", DATABASE_URL=ledger_url).output
    done = bridge("quarantine", "verify", "--all", DATABASE_URL=ledger_url, STRIPE_WEBHOOK_SECRET=NEW)
    assert "1 accepted (1 sale), 1 refused again." in done.output
    assert done.exit_code == 1
    assert bridge("quarantine", "verify", DATABASE_URL=ledger_url).exit_code == 2
    assert bridge("quarantine", "drop", "--all", DATABASE_URL=ledger_url).exit_code == 2
    assert "1 dropped" in bridge("quarantine", "drop", "--source", "stripe", "--yes", DATABASE_URL=ledger_url).output
    assert "empty" in bridge("quarantine", "list", DATABASE_URL=ledger_url).output


def test_forget_drops_and_export_shows_what_names_a_person(
    make_app: Callable[..., Flask], bridge: Callable[..., Result], ledger: Ledger, ledger_url: str
) -> None:
    app = make_app()
    for number, note in ((1, ""), (2, "of P1@example.com"), (3, "")):
        body = checkout(number, note=note)
        app.test_client().post("/webhooks/stripe", data=body, headers=stripe_headers(body, secret=NEW))
    flush(app)
    shown = json.loads(bridge("export", "p1@example.com", DATABASE_URL=ledger_url).output)
    assert [row["source"] for row in shown["quarantined"]] == ["stripe", "stripe"]
    assert "p1@example.com" in shown["quarantined"][0]["body"]
    done = bridge("forget", "p1@example.com", "--yes", DATABASE_URL=ledger_url)
    assert "2 requests dropped from the quarantine" in done.output
    assert len(ids(ledger)) == 1
    assert bridge("export", "p1@example.com", DATABASE_URL=ledger_url).exit_code == 1
    change(ledger, "UPDATE quarantine SET received_at = received_at - ?", 15 * 86_400_000)
    assert "removed from the quarantine: 1" in bridge("prune", DATABASE_URL=ledger_url).output
    assert ids(ledger) == []
