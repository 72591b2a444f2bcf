"""The HTTP table of the contract: what every request to /webhooks/… is answered, and what it leaves behind."""

import io
import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from click.testing import Result
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event, make_url

from app.config.settings import Settings
from app.errors import ConfigurationError
from app.ledger.engine import Ledger
from app.sources.catalog import SOURCES
from app.web.factory import create_app
from tests.conftest import STRIPE_SECRET
from tests.support.makers import away, change, checkout, count, execute_beside, one, signed, stripe_headers

TOKEN = "path_token-of-the-tests"
META = "an-app-secret-of-meta"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MIB = 1024 * 1024


def submission(number: int = 1, **fields: str) -> bytes:
    """What Elementor posts."""
    answers = {"form[id]": f"contact{number}", "fields[email][value]": f"f{number}@example.com", **fields}
    return "&".join(f"{name}={value}" for name, value in answers.items()).encode()


def bad_requests() -> dict[str, tuple[int, dict[str, Any]]]:
    """Every bad input: what is sent, and its status."""
    body = checkout()
    now = datetime.now(UTC)
    old, future = now - timedelta(hours=2), now + timedelta(hours=2)  # a slow machine must not make them right
    right = stripe_headers(body)["Stripe-Signature"]
    big = b'{"a": "' + b"x" * 2 * MIB + b'"}'

    def with_signature(value: str) -> dict[str, Any]:
        return {"data": body, "headers": {"Stripe-Signature": value}}

    return {
        "no body": (400, signed(b"")),
        "no body, no signature": (401, {"data": b""}),
        "2 MiB": (413, signed(big)),
        "2 MiB, no signature": (413, {"data": big}),
        "one byte too many": (413, signed(b" " * (MIB + 1))),
        "not UTF-8": (400, signed(b'{"id": "\xff\xfe"}')),
        "not JSON": (400, signed(b"hello=world")),
        "half of it": (400, signed(body[: len(body) // 2])),
        "NaN": (400, signed(b'{"id": NaN}')),
        "an array": (400, signed(b"[1, 2]")),
        "a number": (400, signed(b"42")),
        "null": (400, signed(b"null")),
        "an object of another shape": (400, signed(b'{"hello": "world"}')),
        "an id of another type": (400, signed(b'{"id": {}, "object": "event", "type": "x"}')),
        "10,000 arrays deep": (400, signed(b"[" * 10_000 + b"]" * 10_000)),
        "10,000 objects deep": (400, signed(b'{"a":' * 10_000 + b"1" + b"}" * 10_000)),
        "10,000 levels deep inside": (
            400,
            signed(body.replace(b'"metadata": {', b'"metadata": {"x": ' + b"[" * 10_000 + b"]" * 10_000 + b", ")),
        ),
        "no signature": (401, {"data": body}),
        "an empty signature": (401, with_signature("")),
        "a garbled signature": (401, with_signature("t=,v1,,=;x")),
        "a signature without a time": (401, with_signature(right.split(",", 1)[1])),
        "a time of 400 digits": (401, with_signature("t=" + "9" * 400 + "," + right.split(",", 1)[1])),
        "a time that is not a number": (401, with_signature("t=now," + right.split(",", 1)[1])),
        "a signature that is not ASCII": (401, with_signature("t=\xb2,v1=\xe9\xff\x80")),
        "a signature of 100 kB": (401, with_signature("t=1,v1=" + "a" * 100_000)),
        "a signature of another body": (401, {"data": body + b" ", "headers": stripe_headers(body)}),
        "a signature by another secret": (401, {"data": body, "headers": stripe_headers(body, secret="whsec_other")}),
        "a version that is not a signature": (401, with_signature(right.replace("v1=", "v0="))),
        "an old signature": (401, {"data": body, "headers": stripe_headers(body, old)}),
        "a future signature": (401, {"data": body, "headers": stripe_headers(body, future)}),
    }


def test_every_bad_request_gets_its_status_and_a_reason_and_leaves_no_row(web: FlaskClient, ledger: Ledger) -> None:
    expected, given = {}, {}
    for name, (status, request) in bad_requests().items():
        answer = web.post("/webhooks/stripe", **request)
        expected[name], given[name] = status, answer.status_code
        assert isinstance(answer.get_json()["error"], str), name
        assert STRIPE_SECRET not in answer.text
    assert given == expected
    assert [count(ledger, table) for table in ("events", "deliveries", "persons", "conversions")] == [0, 0, 0, 0]


def test_addresses_that_take_nothing_say_so_and_never_redirect(web: FlaskClient, ledger: Ledger) -> None:
    body = checkout()
    answers = {
        (method, path): web.open(path, method=method, **signed(body)).status_code
        for method, path in [
            ("POST", "/webhooks/unknown"),
            ("POST", "/webhooks/calendly"),  # known, and no secret configured
            ("POST", "/webhooks/Stripe"),
            ("POST", "/webhooks/stripe%00"),
            ("POST", "/webhooks/%FF%FE"),
            ("POST", "/webhooks/stripe/a-token"),
            ("POST", "/webhooks/stripe/a/b"),
            ("POST", "/webhooks//stripe"),
            ("POST", "/webhooks"),
            ("POST", "/webhooks/"),
            ("PUT", "/webhooks/stripe"),
            ("DELETE", "/webhooks/stripe"),
        ]
    }
    wrong_method = {key: status for key, status in answers.items() if key[0] != "POST"}
    assert set(wrong_method.values()) == {405}
    assert {status for key, status in answers.items() if key not in wrong_method} == {404}
    assert count(ledger, "events") == 0


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_webhook_url_says_that_it_is_one_where_it_would_take_a_webhook(
    make_app: Callable[..., Flask], ledger: Ledger, method: str
) -> None:
    web = make_app(ELEMENTOR_PATH_TOKEN="a-token-of-sixteen-characters").test_client()
    statuses = {}
    for path, status, title in [
        ("/webhooks/stripe", 200, "Stripe"),
        ("/webhooks/stripe/", 200, "Stripe"),
        ("/webhooks/elementor/a-token-of-sixteen-characters", 200, "Elementor"),
        ("/webhooks/elementor", 401, ""),
        ("/webhooks/elementor/another-token-of-the-same", 401, ""),
        ("/webhooks/stripe/a-token", 404, ""),
        ("/webhooks/calendly", 404, ""),
        ("/webhooks/unknown", 404, ""),
    ]:
        answer = web.open(path, method=method)
        statuses[path] = (answer.status_code, status)
        if status == 200:
            assert answer.mimetype == "text/plain"
            sentence = f"This is Conversion Bridge's webhook address for {title}"
            assert answer.text.startswith(sentence if method == "GET" else "")
            assert answer.text.count("\n") == (method == "GET")
    assert all(given == expected for given, expected in statuses.values()), statuses
    assert count(ledger, "events") == 0
    assert "bridge_webhooks_total{" not in web.get("/metrics").text, "it is not counted as a webhook"


def test_a_trailing_slash_is_taken_like_none(web: FlaskClient) -> None:
    answer = web.post("/webhooks/stripe/", **signed(checkout()))
    assert (answer.status_code, answer.get_json()["outcome"]) == (200, "sale")


def test_what_is_accepted_is_answered_with_outcome_event_id_and_reason(web: FlaskClient, ledger: Ledger) -> None:
    body = checkout(7)
    answer = web.post("/webhooks/stripe", **signed(body))
    assert answer.status_code == 200
    assert answer.json == {"outcome": "sale", "event_id": "evt_7", "reason": "a paid checkout session"}
    ignored = web.post("/webhooks/stripe", **signed(b'{"id": "evt_8", "object": "event", "type": "radar.x"}'))
    assert (ignored.get_json()["outcome"], ignored.get_json()["event_id"]) == ("ignored", "evt_8")
    assert count(ledger, "deliveries") == 1


def test_the_body_is_kept_to_the_byte_and_no_header_with_a_secret_is(web: FlaskClient, ledger: Ledger) -> None:
    body = b" \n" + checkout(1, customer_details={"email": "p1@example.com", "name": "Zoë 😀"}) + b"\r\n"
    headers = {**stripe_headers(body), "Authorization": "Bearer hidden", "Cookie": "a=hidden", "X-Other": "kept"}
    assert web.post("/webhooks/stripe", data=body, headers=headers).status_code == 200
    stored, kept = one(ledger, "SELECT body, headers FROM events")
    assert bytes(stored) == body
    assert "hidden" not in kept
    assert json.loads(kept)["x-other"] == "kept"


def test_an_event_received_again_is_a_count_on_its_first_row(web: FlaskClient, ledger: Ledger) -> None:
    body = checkout()
    outcomes = [web.post("/webhooks/stripe", **signed(body)).get_json()["outcome"] for _ in range(4)]
    assert outcomes == ["sale", "duplicate", "duplicate", "duplicate"]
    assert one(ledger, "SELECT COUNT(*), MAX(received_count) FROM events") == (1, 4)
    assert count(ledger, "deliveries") == 1


def test_another_event_of_a_counted_purchase_is_a_row_of_its_own_that_names_the_conversion(
    web: FlaskClient, ledger: Ledger
) -> None:
    first = web.post("/webhooks/stripe", **signed(checkout(1))).get_json()
    second = web.post("/webhooks/stripe", **signed(checkout(1, event_id="evt_other"))).get_json()
    assert (first["outcome"], second["outcome"], second["event_id"]) == ("sale", "duplicate", "evt_other")
    assert "sale:stripe:" in second["reason"]
    with ledger.read() as tx:
        rows = tx.run("SELECT outcome, conversion_id, received_count FROM events ORDER BY id").all()
    assert rows == [("sale", rows[0][1], 1), ("duplicate", rows[0][1], 1)]
    assert rows[0][1] is not None
    assert count(ledger, "deliveries") == 1


def test_the_same_event_from_many_threads_at_once_is_recorded_once(app: Flask, ledger: Ledger) -> None:
    body, statuses = checkout(), []

    def post() -> None:
        client = app.test_client()
        for _ in range(5):
            statuses.append(client.post("/webhooks/stripe", **signed(body)).status_code)

    threads = [threading.Thread(target=post) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 40
    assert one(ledger, "SELECT COUNT(*), MAX(received_count) FROM events") == (1, 40)
    assert count(ledger, "deliveries") == 1


def test_a_chunked_body_is_read_whole_and_is_too_large_past_the_limit(web: FlaskClient) -> None:
    def chunked(body: bytes) -> dict[str, Any]:
        return {
            "input_stream": io.BytesIO(body),
            "headers": {**stripe_headers(body), "Transfer-Encoding": "chunked"},
            "environ_overrides": {"wsgi.input_terminated": True},
        }

    answer = web.post("/webhooks/stripe", **chunked(checkout()))
    assert (answer.status_code, answer.get_json()["outcome"]) == (200, "sale")
    assert web.post("/webhooks/stripe", **chunked(b" " * 2 * MIB)).status_code == 413
    assert web.post("/webhooks/stripe", **chunked(b" " * (MIB + 1))).status_code == 413
    assert web.post("/webhooks/stripe", **chunked(b" " * MIB)).status_code == 400


@pytest.mark.parametrize("terminated", [True, False])
def test_a_body_whose_connection_ended_early_is_no_event(
    make_app: Callable[..., Flask], ledger: Ledger, terminated: bool
) -> None:
    body = submission()
    environment = {"CONTENT_LENGTH": str(len(body) + 10), **({"wsgi.input_terminated": True} if terminated else {})}
    web = make_app(ELEMENTOR_PATH_TOKEN=TOKEN).test_client()
    answer = web.post(
        f"/webhooks/elementor/{TOKEN}", input_stream=io.BytesIO(body), headers=FORM, environ_overrides=environment
    )
    assert answer.status_code == 400
    assert count(ledger, "events") == 0


def test_a_path_token_opens_its_source_and_is_kept_nowhere(
    make_app: Callable[..., Flask], ledger: Ledger, capfd: pytest.CaptureFixture[str]
) -> None:
    web = make_app(ELEMENTOR_PATH_TOKEN=f"{TOKEN},another-token-of-16").test_client()
    body = submission(page=f"https://bridge.example/webhooks/elementor/{TOKEN}")
    headers = {**FORM, "Referer": f"https://x.example/{TOKEN}", "X-Original-Url": f"/webhooks/elementor/{TOKEN}?a=b"}

    def status(path: str) -> int:
        return int(web.post(path, data=body, headers=headers).status_code)

    assert status("/webhooks/elementor") == 401
    assert status("/webhooks/elementor/") == 401
    assert status(f"/webhooks/elementor/{TOKEN[:-1]}") == 401
    assert status(f"/webhooks/elementor/{TOKEN}x") == 401
    assert status("/webhooks/elementor/caf%C3%A9%FF") == 401
    assert count(ledger, "events") == 0
    assert status(f"/webhooks/elementor/{TOKEN}") == 200
    assert status("/webhooks/elementor/another-token-of-16") == 200
    with ledger.read() as tx:
        for table in ("events", "conversions", "deliveries", "persons"):
            rows = tx.run(f"SELECT * FROM {table}").all()
            assert rows
            assert TOKEN not in str([[bytes(v) if isinstance(v, memoryview) else v for v in row] for row in rows])
    assert TOKEN not in "".join(capfd.readouterr())


def test_a_handshake_key_is_kept_nowhere_however_a_form_spells_it(
    make_app: Callable[..., Flask], ledger: Ledger
) -> None:
    key = "hand shake/key&of=ours"
    web = make_app(WUFOO_WEBHOOK_SECRET=key).test_client()
    body = urlencode({"Field1": "ada@example.com", "EntryId": "1", "HandshakeKey": key})
    assert web.post("/webhooks/wufoo", data=body, headers=FORM).status_code == 200
    with ledger.read() as tx:
        (kept,) = tx.run("SELECT body FROM events").scalars()
    assert b"HandshakeKey=***" in bytes(kept)
    assert b"shake" not in bytes(kept).replace(b"HandshakeKey", b"")


def test_a_signed_source_with_a_path_token_needs_both(make_app: Callable[..., Flask]) -> None:
    web = make_app(STRIPE_PATH_TOKEN=TOKEN).test_client()
    body = checkout()
    assert web.post("/webhooks/stripe", **signed(body)).status_code == 401
    assert web.post(f"/webhooks/stripe/{TOKEN}", data=body).status_code == 401
    assert web.post(f"/webhooks/stripe/{TOKEN}", **signed(body)).status_code == 200


def test_a_source_that_cannot_sign_is_not_opened_by_a_secret_alone(make_app: Callable[..., Flask]) -> None:
    with pytest.raises(ConfigurationError, match="ELEMENTOR_WEBHOOK_SECRET: Elementor does not sign"):
        make_app(ELEMENTOR_WEBHOOK_SECRET="a secret that nothing signs with")


def test_every_secret_of_a_rotation_is_accepted(make_app: Callable[..., Flask]) -> None:
    web = make_app(STRIPE_WEBHOOK_SECRET="whsec_the_old_one, whsec_the_new_one").test_client()
    for number, secret in enumerate(("whsec_the_old_one", "whsec_the_new_one")):
        body = checkout(number)
        assert web.post("/webhooks/stripe", data=body, headers=stripe_headers(body, secret=secret)).status_code == 200


def refused(web: FlaskClient, body: bytes) -> None:
    answer = web.post("/webhooks/stripe", **signed(body))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert isinstance(answer.get_json()["error"], str)


def test_a_ledger_that_is_away_is_503_and_nothing_is_half_recorded(
    web: FlaskClient, ledger: Ledger, ledger_url: str
) -> None:
    assert web.post("/webhooks/stripe", **signed(checkout(1))).status_code == 200
    with away(ledger, ledger_url):
        refused(web, checkout(2))
        assert web.post("/webhooks/stripe", data=checkout(2)).status_code == 401
        assert web.post("/webhooks/stripe", **signed(b"")).status_code == 400
    assert [count(ledger, table) for table in ("events", "deliveries", "dedupe_keys")] == [1, 1, 2]
    assert web.post("/webhooks/stripe", **signed(checkout(2))).get_json()["outcome"] == "sale"
    assert web.post("/webhooks/stripe", **signed(checkout(1))).get_json()["outcome"] == "duplicate"


def test_a_read_only_ledger_is_503(make_settings: Callable[..., Settings], ledger: Ledger, ledger_url: str) -> None:
    if ledger.is_sqlite:
        path = make_url(ledger_url).database
        count(ledger, "events")  # an open connection keeps the files that a reader needs
        frozen = Ledger(f"sqlite:///file:{path}?mode=ro&uri=true")
    else:
        execute_beside(
            ledger_url, f"ALTER DATABASE {make_url(ledger_url).database} SET default_transaction_read_only = on"
        )
        ledger.close()
        frozen = Ledger(ledger_url)
    app = create_app(make_settings(), frozen)
    refused(app.test_client(), checkout())
    app.extensions["writer"].stop()
    frozen.close()
    assert count(ledger, "events") == 0


def test_a_ledger_whose_tables_are_damaged_is_503_and_not_500(web: FlaskClient, ledger: Ledger) -> None:
    change(ledger, "ALTER TABLE identifiers RENAME TO elsewhere")
    refused(web, checkout())
    assert count(ledger, "events") == 0
    change(ledger, "ALTER TABLE elsewhere RENAME TO identifiers")
    assert web.post("/webhooks/stripe", **signed(checkout())).status_code == 200


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_full_disk_is_503_until_there_is_room(make_settings: Callable[..., Settings], ledger_url: str) -> None:
    ledger = Ledger(ledger_url)
    pages = one(ledger, "PRAGMA page_count")[0] + 8
    ledger.close()
    event.listen(ledger.engine, "connect", lambda raw, _: raw.execute(f"PRAGMA max_page_count = {pages}"))
    app = create_app(make_settings(), ledger)
    web = app.test_client()
    statuses = [
        web.post("/webhooks/stripe", **signed(checkout(n, metadata={"note": "x" * 4000}))).status_code
        for n in range(20)
    ]
    assert set(statuses) == {200, 503}
    recorded = statuses.count(200)
    assert [count(ledger, table) for table in ("events", "deliveries", "persons")] == [recorded] * 3
    app.extensions["writer"].stop()
    ledger.close()
    roomy = create_app(make_settings(), Ledger(ledger_url))
    assert roomy.test_client().post("/webhooks/stripe", **signed(checkout(19))).get_json()["outcome"] == "sale"
    roomy.extensions["writer"].stop()
    roomy.extensions["ledger"].close()


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_file_that_is_no_database_any_more_is_503(web: FlaskClient, ledger: Ledger, ledger_url: str) -> None:
    ledger.close()
    Path(make_url(ledger_url).database or "").write_bytes(b"this is not a database" * 100)
    refused(web, checkout())
    assert web.get("/readyz").status_code == 503


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_web_that_is_stopping_sends_the_provider_away_to_come_again(app: Flask, web: FlaskClient) -> None:
    app.extensions["writer"].stop()
    refused(web, checkout())


def test_woocommerce_s_unsigned_ping_is_answered_and_not_recorded(
    make_app: Callable[..., Flask], ledger: Ledger, tmp_path: Path
) -> None:
    config = tmp_path / "bridge.toml"
    config.write_text('[sources.woo.signature]\nheader = "X-WC-Webhook-Signature"\nencoding = "base64"\n')
    web = make_app(BRIDGE_CONFIG=str(config), WOO_WEBHOOK_SECRET="a-secret-of-the-shop-it-is").test_client()
    answer = web.post("/webhooks/woo", data=b"webhook_id=12", headers=FORM)
    assert (answer.status_code, answer.get_json()["outcome"], answer.get_json()["event_id"]) == (200, "ignored", None)
    assert (count(ledger, "events"), count(ledger, "refusals")) == (0, 0)
    assert web.post("/webhooks/woo", data=b"webhook_id=12&email=a@b.example", headers=FORM).status_code == 401
    signed_wrongly = {**FORM, "X-WC-Webhook-Signature": "AAAA"}
    assert web.post("/webhooks/woo", data=b"webhook_id=12", headers=signed_wrongly).status_code == 401


def test_a_ping_of_a_source_with_a_token_needs_the_token(
    make_app: Callable[..., Flask], ledger: Ledger, tmp_path: Path
) -> None:
    config = tmp_path / "bridge.toml"
    config.write_text('[sources.woo]\nkind = "lead"\n')
    web = make_app(BRIDGE_CONFIG=str(config), WOO_PATH_TOKEN=TOKEN).test_client()
    assert web.post("/webhooks/woo/wrong", data=b"webhook_id=12", headers=FORM).status_code == 401
    assert web.post(f"/webhooks/woo/{TOKEN}", data=b"webhook_id=12", headers=FORM).get_json()["outcome"] == "ignored"
    assert count(ledger, "events") == 0


def test_formbricks_can_be_connected_before_its_secret_is_known(make_app: Callable[..., Flask], ledger: Ledger) -> None:
    test = {"data": b'{"event":"testEndpoint"}', "headers": {"Content-Type": "application/json", "webhook-id": "msg_1"}}
    for web in (
        make_app().test_client(),
        make_app(FORMBRICKS_WEBHOOK_SECRET="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").test_client(),
    ):
        answer = web.post("/webhooks/formbricks", **test)
        assert (answer.status_code, answer.get_json()["outcome"]) == (200, "ignored")
    assert (count(ledger, "events"), count(ledger, "refusals")) == (0, 0)


def test_without_its_secret_formbricks_is_answered_nothing_but_its_test(
    make_app: Callable[..., Flask], ledger: Ledger
) -> None:
    web = make_app().test_client()
    assert web.post("/webhooks/formbricks", data=b'{"event":"responseFinished"}').status_code == 404
    assert web.post("/webhooks/clerk", data=b'{"event":"testEndpoint"}').status_code == 404
    assert count(ledger, "events") == 0


def test_a_request_with_several_events_is_recorded_as_several(make_app: Callable[..., Flask], ledger: Ledger) -> None:
    web = make_app(KIT_PATH_TOKEN=TOKEN).test_client()
    people = [{"id": n, "email_address": f"p{n}@example.com"} if n != 2 else {"id": n} for n in (1, 2, 3)]
    events = [{"id": f"event_{p['id']}", "type": "subscriber.created", "data": {"subscriber": p}} for p in people]
    answer = web.post(f"/webhooks/kit/{TOKEN}", json={"events": events})
    assert (answer.status_code, answer.get_json()["outcome"], answer.get_json()["event_id"]) == (200, "lead", "event_1")
    assert (count(ledger, "events"), count(ledger, "deliveries")) == (3, 2)
    assert web.post(f"/webhooks/kit/{TOKEN}", json={"events": events}).get_json()["outcome"] == "duplicate"
    assert (count(ledger, "events"), count(ledger, "deliveries")) == (3, 2)


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_each_lead_of_a_request_of_meta_is_an_event(
    make_app: Callable[..., Flask], ledger: Ledger, bridge: Callable[..., Result], tmp_path: Path
) -> None:
    def entry(page: int, *leads: int) -> dict[str, Any]:
        changes = [{"field": "leadgen", "value": {"leadgen_id": str(lead)}} for lead in leads]
        return {"id": str(page), "changes": [{"field": "feed", "value": {}}, *changes]}

    body = json.dumps({"object": "page", "entry": [entry(1, 11, 12), entry(2), entry(3, 13)]}).encode()
    (tmp_path / "body.json").write_bytes(body)
    mapped = [json.loads(line) for line in bridge("map", "metaleads", tmp_path / "body.json").stdout.splitlines()]
    assert [(line["outcome"], line["event_id"]) for line in mapped] == [
        ("parked", f"leadgen:{lead}") for lead in (11, 12, 13)
    ]
    web = make_app(METALEADS_WEBHOOK_SECRET=META).test_client()
    headers = SOURCES["metaleads"].sign(body, META, datetime.now(UTC))
    for outcome in ("parked", "duplicate"):
        answer = web.post("/webhooks/metaleads", data=body, headers=headers)
        assert (answer.status_code, answer.get_json()["outcome"]) == (200, outcome)
    with ledger.read() as tx:
        recorded = tx.run("SELECT event_key, received_count FROM events ORDER BY id").all()
    assert [tuple(row) for row in recorded] == [(f"metaleads:leadgen:{lead}", 2) for lead in (11, 12, 13)]
