"""[destinations.<name>] of bridge.toml: read, refused with file and key, and what each is sent."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.bootstrap import make_policy, make_routes
from app.config.settings import Settings
from app.destinations.target import destinations_of
from app.errors import ConfigurationError
from app.intake.dry_run import explain
from app.ledger.engine import Ledger
from app.ledger.recording.arrival import Arrival
from app.ledger.recording.record import record
from app.model import Inbound
from app.sources.base import Source
from app.sources.stripe.source import SOURCE as STRIPE
from app.sources.typeform.source import SOURCE as TYPEFORM
from tests.support.makers import checkout, stripe_headers

CRM = """
[destinations.crm]
url = "https://crm.example/hooks/"
token_env = "CRM_TOKEN"
"""
MAIN = {"DESTINATION_URL": "https://main.example", "DESTINATION_TOKEN": "token-of-main"}
LEAD = b"""{"event_id": "e1", "event_type": "form_response", "form_response": {"form_id": "f", "token": "t1",
"submitted_at": "2026-05-01T10:00:00Z", "hidden": {"user_id": "user_1"}, "definition": {"id": "f", "title": "T", "fields": []},
"answers": []}}"""


@pytest.fixture
def with_toml(make_settings: Callable[..., Settings], tmp_path: Path) -> Callable[..., Settings]:
    def make(text: str, **variables: str) -> Settings:
        path = tmp_path / "bridge.toml"
        path.write_text(text)
        return make_settings(**{"BRIDGE_CONFIG": str(path), "CRM_TOKEN": "token-of-the-crm\n", **variables})

    return make


def test_each_table_is_a_destination_beside_the_one_of_destination_url(with_toml: Callable[..., Settings]) -> None:
    more = 'format = "track"\namount_unit = "minor"\nconcurrency = 4\nrate = 2.5\ntimeout = 3\n'
    main, crm = destinations_of(with_toml(CRM + more, **MAIN))
    assert (main.name, main.url, main.token) == ("main", "https://main.example", "token-of-main")
    assert (crm.name, crm.url, crm.token) == ("crm", "https://crm.example/hooks", "token-of-the-crm")
    assert (crm.concurrency, crm.rate, crm.timeout_seconds, crm.allow_private) == (4, 2.5, 3, False)
    assert type(crm.format).__name__ == "Track"


def test_tables_alone_do_without_the_sandbox(with_toml: Callable[..., Settings]) -> None:
    settings = with_toml(CRM)
    assert not settings.is_sandbox
    assert [d.name for d in destinations_of(settings)] == ["crm"]
    assert [route.name for route in make_routes(settings)] == ["crm"]


def test_without_destination_url_a_table_may_be_called_main(with_toml: Callable[..., Settings]) -> None:
    (found,) = destinations_of(with_toml(CRM.replace("crm]", "main]")))
    assert found.name == "main"


WRONG = [
    (CRM + 'colour = "red"', {}, "destinations.crm.colour: is not known; known are url, token_env"),
    ('[destinations.crm]\ntoken_env = "CRM_TOKEN"', {}, "destinations.crm.url: is missing"),
    ('[destinations.crm]\nurl = "https://crm.example"', {}, "destinations.crm.token_env: is missing"),
    (CRM.replace("https", "ftp"), {}, "destinations.crm.url: must be a URL that begins with https://"),
    (CRM.replace("crm.example", "u:p@crm.example"), {}, "destinations.crm.url: must not hold a user name"),
    (CRM.replace("crm.example", "crm.example:x"), {}, "destinations.crm.url: its host or port cannot be read"),
    (CRM, {"CRM_TOKEN": ""}, "destinations.crm.token_env: the variable CRM_TOKEN is not set"),
    (CRM, {"CRM_TOKEN": "t\xf6ken"}, "destinations.crm.token_env: the variable CRM_TOKEN must be printable ASCII"),
    (CRM.replace("CRM_TOKEN", "$CRM"), {}, "destinations.crm.token_env: must be the name of an environment variable"),
    (CRM + 'format = "xml"', {}, "destinations.crm.format: must be"),
    (CRM + "concurrency = 0", {}, "destinations.crm.concurrency: must be 1 or more"),
    (CRM + "rate = 0", {}, "destinations.crm.rate: must be more than 0"),
    (CRM + "kinds = []", {}, "destinations.crm.kinds: "),
    (CRM + 'kinds = ["refund"]', {}, "destinations.crm.kinds.0: must be 'sale' or 'lead'"),
    (CRM.replace("crm]", "main]"), MAIN, "destinations.main.url: that name is the one of DESTINATION_URL; remove url"),
    ("[destinations.main]\nrate = 5", MAIN, "destinations.main.rate: is not known; known are kinds, sources, touch"),
    ('[destinations.main]\ntouch = "last"', {}, "destinations.main.url: is missing"),
    (CRM + 'touch = "middle"', {}, "destinations.crm.touch: must be 'first' or 'last'"),
    (CRM + 'event_names = {order_paid = "{order}"}', {}, "destinations.crm.event_names.order_paid: may use {form}"),
    (CRM + 'event_names = {order_paid = ""}', {}, "destinations.crm.event_names.order_paid: must be 1 character"),
    (CRM.replace("crm]", "sandbox]"), {}, "destinations.sandbox: that name is the bridge's own"),
    (CRM.replace("crm]", '"C R M"]'), {}, "destinations.C R M: a name is 1 to 40 of"),
    (CRM.replace("crm.example", "127.0.0.1"), {}, "destinations.crm.url points at 127.0.0.1, a private address: set"),
    ("destinations = 5", {}, "destinations: must be tables"),
    ("[destinations]\ncrm = 5", {}, "destinations.crm: "),
]


@pytest.mark.parametrize(("text", "variables", "problem"), WRONG, ids=[w[2][:50] for w in WRONG])
def test_what_is_wrong_is_told_by_file_and_key_and_without_the_value(
    with_toml: Callable[..., Settings], tmp_path: Path, text: str, variables: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        destinations_of(with_toml(text, **variables))
    assert str(caught.value).startswith(f"{tmp_path}/bridge.toml: {problem}")
    assert "u:p" not in str(caught.value)


def test_a_filter_that_names_an_unknown_source_is_refused_at_start(with_toml: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigurationError, match=r"destinations\.crm\.sources: there is no source called strype"):
        make_routes(with_toml(CRM + 'sources = ["stripe", "strype"]'))


@pytest.mark.parametrize(
    ("filters", "sent"),
    [
        ("", ["crm lead", "crm sale", "main lead", "main sale"]),
        ('kinds = ["sale"]', ["crm sale", "main lead", "main sale"]),
        ('sources = ["typeform"]', ["crm lead", "main lead", "main sale"]),
        ('kinds = ["sale"]\nsources = ["typeform"]', ["main lead", "main sale"]),
    ],
)
def test_each_destination_gets_deliveries_of_its_own_of_what_its_filter_lets_through(
    with_toml: Callable[..., Settings], ledger: Ledger, filters: str, sent: list[str]
) -> None:
    settings = with_toml(CRM + filters, **MAIN, STRIPE_ALLOW_TEST_EVENTS="1")
    policy, now = make_policy(settings), datetime.now(UTC)
    arrivals = []
    for source, body in ((STRIPE, checkout(1)), (TYPEFORM, LEAD)):
        headers = {k.lower(): v for k, v in stripe_headers(body).items()}
        inbound = Inbound(body, headers)
        arrivals.append(Arrival(source.name, source.map(inbound, settings.rules), inbound, {}, now))
    for _ in range(2):  # and nothing more when they come again
        ledger.transact(lambda tx: record(tx, arrivals, policy))
    with ledger.read() as tx:
        rows = tx.run("SELECT destination, kind FROM deliveries ORDER BY destination, kind").all()
    assert [" ".join(row) for row in rows] == sent


def payloads(ledger: Ledger, settings: Settings, *arrivals: Arrival) -> dict[tuple[str, str], dict[str, Any]]:
    policy = make_policy(settings)
    ledger.transact(lambda tx: record(tx, list(arrivals), policy))
    with ledger.read() as tx:
        rows = tx.run("SELECT destination, kind, payload FROM deliveries ORDER BY id").all()
    return {(destination, kind): json.loads(payload) for destination, kind, payload in rows}


def arrival_of(source: Source, body: bytes, settings: Settings) -> Arrival:
    inbound = Inbound(body, {k.lower(): v for k, v in stripe_headers(body).items()})
    return Arrival(source.name, source.map(inbound, settings.rules), inbound, {}, datetime.now(UTC))


def test_each_destination_counts_the_click_that_it_is_configured_for(
    with_toml: Callable[..., Settings], ledger: Ledger
) -> None:
    text = f'[destinations.main]\ntouch = "last"\n{CRM}format = "dub"\n'
    settings = with_toml(text, **MAIN, STRIPE_ALLOW_TEST_EVENTS="1")
    form = json.loads(LEAD)
    form["form_response"]["hidden"] = {"user_id": "user_1", "clickId": "clk_first"}
    lead = arrival_of(TYPEFORM, json.dumps(form).encode(), settings)
    sale = arrival_of(STRIPE, checkout(1), settings)  # of the same person, with clk_1
    found = payloads(ledger, settings, lead, sale)
    assert found[("main", "sale")]["clickId"] == "clk_1"
    assert found[("crm", "sale")]["clickId"] == "clk_first"


@pytest.mark.parametrize(
    ("more", "clicks"),
    [
        ("", {"main": "clk_first", "crm": "clk_1"}),  # of events, and of track: CutMeShort credits the last
        ('[attribution]\ntouch = "first"', {"main": "clk_first", "crm": "clk_first"}),
        ('[attribution]\ntouch = "last"', {"main": "clk_1", "crm": "clk_1"}),
        ('[destinations.main]\ntouch = "last"', {"main": "clk_1", "crm": "clk_1"}),
    ],
)
def test_the_touch_is_that_of_the_table_else_of_attribution_else_of_the_format(
    with_toml: Callable[..., Settings], ledger: Ledger, more: str, clicks: dict[str, str]
) -> None:
    settings = with_toml(f'{CRM}format = "track"\n{more}', **MAIN, STRIPE_ALLOW_TEST_EVENTS="1")
    form = json.loads(LEAD)
    form["form_response"]["hidden"] = {"user_id": "user_1", "clickId": "clk_first"}
    lead = arrival_of(TYPEFORM, json.dumps(form).encode(), settings)
    found = payloads(ledger, settings, lead, arrival_of(STRIPE, checkout(1), settings))
    assert {name: found[(name, "sale")]["clickId"] for name in clicks} == clicks


@pytest.mark.parametrize(
    ("net", "more", "amounts"),
    [
        ("", "net_of_tax = true", {"main": 19.99, "crm": 16.8}),
        ("1", "net_of_tax = false", {"main": 16.8, "crm": 19.99}),
        ("1", "", {"main": 16.8, "crm": 16.8}),
    ],
)
def test_each_destination_is_sent_amounts_with_or_without_tax(
    with_toml: Callable[..., Settings], ledger: Ledger, net: str, more: str, amounts: dict[str, float]
) -> None:
    settings = with_toml(f"{CRM}{more}", **MAIN, STRIPE_ALLOW_TEST_EVENTS="1", NET_OF_TAX=net)
    arrival = arrival_of(STRIPE, checkout(1, total_details={"amount_tax": 319}), settings)
    found = payloads(ledger, settings, arrival)
    assert {name: found[(name, "sale")]["amount"] for name in amounts} == amounts
    line = explain(STRIPE, arrival.inbound, settings.rules, datetime.now(UTC), destinations_of(settings)[1])
    assert (line["payload"]["amount"], line["request"]["body"]["amount"]) == (amounts["main"], amounts["crm"])
    with ledger.read() as tx:
        (kept,) = tx.run("SELECT facts FROM conversions").scalars()
    assert {name: json.loads(kept)["sale"][name] for name in ("minor", "tax")} == {"minor": 1999, "tax": 319}


def test_events_are_called_at_each_destination_what_it_is_configured_for(
    with_toml: Callable[..., Settings], ledger: Ledger
) -> None:
    names = 'event_names = {form_submitted = "Form: {form}", checkout_completed = "Purchase"}'
    text = f'[destinations.main]\n{names}\n{CRM}format = "track"\n'
    settings = with_toml(text, **MAIN, DESTINATION_FORMAT="dub", STRIPE_ALLOW_TEST_EVENTS="1")
    found = payloads(ledger, settings, arrival_of(TYPEFORM, LEAD, settings), arrival_of(STRIPE, checkout(1), settings))
    assert {key: payload["eventName"] for key, payload in found.items()} == {
        ("main", "lead"): "Form: T",
        ("main", "sale"): "Purchase",
        ("crm", "lead"): "form_submitted",
        ("crm", "sale"): "checkout_completed",
    }


def test_main_may_be_sent_some_conversions_alone(with_toml: Callable[..., Settings], ledger: Ledger) -> None:
    settings = with_toml('[destinations.main]\nkinds = ["lead"]', **MAIN, STRIPE_ALLOW_TEST_EVENTS="1")
    found = payloads(ledger, settings, arrival_of(TYPEFORM, LEAD, settings), arrival_of(STRIPE, checkout(1), settings))
    assert list(found) == [("main", "lead")]


def test_an_event_name_that_needs_a_form_stays_as_it_is_where_the_form_is_not_known(
    with_toml: Callable[..., Settings], ledger: Ledger
) -> None:
    text = CRM + 'format = "dub"\nevent_names = {checkout_completed = "{form}"}'
    settings = with_toml(text, STRIPE_ALLOW_TEST_EVENTS="1")
    found = payloads(ledger, settings, arrival_of(STRIPE, checkout(1), settings))
    assert found[("crm", "sale")]["eventName"] == "checkout_completed"


META = {"DESTINATION_URL": "https://meta.example", "DESTINATION_TOKEN": "a-token", "DESTINATION_FORMAT": "meta"}


def test_the_destination_of_the_environment_may_be_a_preset_or_template(with_toml: Callable[..., Settings]) -> None:
    (main,) = destinations_of(with_toml('[destinations.main]\npixel_id = "123"\nkinds = ["sale"]\n', **META))
    assert main.url_of("sale") == "https://meta.example/v24.0/123/events"
    with pytest.raises(ConfigurationError, match=r"destinations\.main\.pixel_id: is missing"):
        destinations_of(with_toml("", **META))
    with pytest.raises(ConfigurationError, match=r"destinations\.main\.rate: is not known; known are"):
        destinations_of(with_toml('[destinations.main]\npixel_id = "123"\nrate = 5\n', **META))
    template = {**META, "DESTINATION_FORMAT": "template"}
    with pytest.raises(ConfigurationError, match=r"destinations\.main: has no request"):
        destinations_of(with_toml("", **template))
    text = '[destinations.main.sale]\npath = "/in"\nheaders = {X-Key = "token()"}\n'
    (main,) = destinations_of(with_toml(text, **template))
    assert main.request("sale", "{}", "k", datetime.now(UTC)).headers["X-Key"] == "a-token"
    assert [route.kinds for route in make_routes(with_toml(text, **template))] == [frozenset({"sale"})]


def test_a_signing_secret_of_the_wrong_shape_is_refused_at_start(with_toml: Callable[..., Settings]) -> None:
    text = CRM + '[destinations.crm.signature]\nsecret_env = "SIGNING"\n'
    with pytest.raises(ConfigurationError, match=r"the variable SIGNING is not set"):
        destinations_of(with_toml(text))
    for wrong in ("whsec_short", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64 at all!", "whsec_" + "a" * 200):
        with pytest.raises(ConfigurationError, match=r"signature\.secret_env: the variable SIGNING: must be whsec_"):
            destinations_of(with_toml(text, SIGNING=wrong))
