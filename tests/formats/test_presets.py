"""The presets: templates that come with the bridge."""

import json
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

from app.bootstrap import make_routes
from app.config.settings import Settings
from app.destinations.formats.base import CLICKS, Sent
from app.destinations.formats.template.definition import OF_ALL, define
from app.destinations.formats.template.shipped import FOLDER, preset
from app.destinations.http import Answer
from app.destinations.target import destinations_of
from app.errors import ConfigurationError
from tests.support.formats import LEAD, PRESETS, REFUND, SALE, ready

KEYS = {
    *OF_ALL,
    "title",
    "url",
    "parameters",
    "event_names",
    "clicks",
    "oauth",
    "rate",
    "net_of_tax",
    "moment",
    "sandbox",
}
REQUESTS = Path(__file__).with_name("preset_requests.json")
"""By preset and kind: what is sent of a conversion of which everything is known."""
COMMON = ("Accept", "Content-Type", "Idempotency-Key")
NOW = datetime(2026, 4, 10, 13, tzinfo=UTC)
MINIMAL = {
    "datafast": 'token_env = "T"',
    "firstpromoter": 'token_env = "T"',
    "ga4": 'measurement_id = "G-ABC"; api_secret_env = "S"',
    "google": 'account_id = "12"; conversion_action_id = "9"; client_id = "c"; client_secret_env = "S"; refresh_token_env = "S"',
    "linkedin": 'token_env = "T"; conversion_id = "123"',
    "meta": 'pixel_id = "123"; token_env = "T"',
    "posthog": 'api_key_env = "S"',
    "rewardful": 'token_env = "T"',
    "segment": 'write_key_env = "S"',
    "slack": 'url_env = "S"',
    "tiktok": 'pixel_code = "CPIXEL"; token_env = "T"',
    "tolt": 'token_env = "T"',
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_no_mistake_and_no_key_that_nobody_reads(name: str) -> None:
    raw = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
    assert set(raw) <= KEYS
    found = preset(name)
    parameters = {key: one.value for key, one in found.parameters.items()}
    assert (
        define(found.template, parameters=parameters, secrets=found.secrets, clicks=(*CLICKS, *found.clicks))[1] == []
    )
    assert found.url.startswith("https://")


@pytest.mark.parametrize("name", PRESETS)
def test_its_parameters_are_all_that_it_needs_and_each_one_that_is_missing_is_named(
    make_settings: Callable[..., Settings], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "bridge.toml"
    lines = MINIMAL[name].split("; ")
    secret = "https://hooks.slack.com/services/T/B/x" if name == "slack" else "secret-of-the-tests"

    def load(*lines: str) -> str:
        path.write_text("\n".join(("[destinations.x]", f'format = "{name}"', *lines)))
        (found,) = destinations_of(make_settings(BRIDGE_CONFIG=str(path), S=secret, T="token-of-the-tests"))
        return found.url

    assert load(*lines) == preset(name).url
    assert load(*lines, 'url = "https://proxy.example/base"') == "https://proxy.example/base"
    for line in lines:
        key = line.partition(" ")[0]
        with pytest.raises(ConfigurationError, match=rf"destinations\.x\.{key}: is missing"):
            load(*(one for one in lines if one is not line))
        with pytest.raises(ConfigurationError, match=rf"destinations\.x\.{key}: must be"):
            load(*(f"{key} = true" if one is line else one for one in lines))
    with pytest.raises(ConfigurationError, match=r"destinations\.x\.colour: is not known; known are"):
        load(*lines, 'colour = "red"')


def test_a_rate_that_the_service_has_is_recommended() -> None:
    slack = ready("slack")
    assert ["set rate = 1" in one for one in slack.advice("hooks.slack.com", rate=None, sources=())] == [True]
    assert list(slack.advice("hooks.slack.com", rate=1, sources=())) == []
    assert list(slack.advice("mattermost.example", rate=None, sources=())) == []
    promoter = ready("firstpromoter")
    advice = list(promoter.advice("api.firstpromoter.com", rate=None, sources=(), net_of_tax=False))
    assert ["net_of_tax = true" in advice[0], "account_id" in advice[1], len(advice)] == [True, True, 2]


def test_a_kind_that_a_preset_does_not_send_is_named(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text('[destinations.x]\nformat = "datafast"\ntoken_env = "T"\nkinds = ["lead"]\n')
    settings = make_settings(BRIDGE_CONFIG=str(path), T="token-of-the-tests")
    with pytest.raises(ConfigurationError, match=r"x\.kinds: its format sends no lead; it sends refund and sale"):
        make_routes(settings)


def test_a_destination_s_own_tables_replace_those_of_the_preset(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text('[destinations.x]\nformat = "slack"\nurl_env = "S"\nsale.body = {text = "source"}\n')
    settings = make_settings(BRIDGE_CONFIG=str(path), S="http://127.0.0.1:1/services/T?a=b")
    with pytest.raises(ConfigurationError, match=r"destinations\.x\.url points at 127\.0\.0\.1"):
        destinations_of(settings)
    path.write_text(path.read_text() + "allow_private = true\n")
    (found,) = destinations_of(make_settings(BRIDGE_CONFIG=str(path), S="http://127.0.0.1:1/services/T?a=b"))
    assert found.url == "http://127.0.0.1:1"
    assert found.format.body(SALE).fields == {"text": "stripe"}
    asked = found.request("sale", '{"text":"stripe"}', "sale:stripe:1", datetime.now(UTC))
    assert (asked.path, asked.body) == ("/services/T?a=b", b'{"text":"stripe"}')
    shown = found.shown_request("sale", '{"text":"stripe"}', "sale:stripe:1", datetime.now(UTC))
    assert "services" not in shown.path


@pytest.mark.parametrize("name", PRESETS)
def test_its_requests_are_those_of_the_service_s_documentation(name: str) -> None:
    wire = ready(name)
    expected = json.loads(REQUESTS.read_text("utf-8"))[name]
    assert set(expected) == wire.kinds
    for facts in (SALE, LEAD, REFUND):
        if facts.kind in expected:
            text = to_json(wire.body(facts).fields).decode()
            asked = wire.request(facts.kind, text, facts.key, "secret" if "token" in preset(name).secrets else "", NOW)
            headers = {key: value for key, value in asked.headers.items() if key not in COMMON}
            body = asked.body.decode()
            assert {
                "request": f"{asked.method} {preset(name).url}{asked.path}",
                "headers": headers,
                "body": json.loads(body) if body.startswith("{") else body,
            } == expected[facts.kind]
            assert '"secret"' not in text


ANSWERS: list[tuple[str, int, str, str]] = [
    ("meta", 200, '{"events_received":1}', "delivered"),
    ("meta", 200, '{"events_received":0}', "permanent"),
    ("meta", 400, '{"error":{"code":190,"message":"Malformed access token"}}', "unauthorized"),
    ("meta", 400, '{"error":{"code":17}}', "transient"),
    ("meta", 400, '{"error":{"code":100}}', "permanent"),
    ("ga4", 204, "", "delivered"),
    ("tiktok", 200, '{"code":0,"message":"OK"}', "delivered"),
    ("tiktok", 200, '{"code":40002,"message":"Invalid"}', "permanent"),
    ("tiktok", 200, '{"code":40105}', "unauthorized"),
    ("tiktok", 200, '{"code":40100}', "transient"),
    ("tiktok", 200, '{"code":51000}', "transient"),
    ("google", 200, '{"requestId":"r1"}', "delivered"),
    ("google", 200, "{}", "permanent"),
    ("google", 400, '{"error":{"code":400,"status":"INVALID_ARGUMENT"}}', "permanent"),
    ("linkedin", 201, "", "delivered"),
    ("linkedin", 429, "", "transient"),
    ("posthog", 200, '{"status":"Ok"}', "delivered"),
    ("segment", 200, '{"success":true}', "delivered"),
    ("segment", 200, '{"success":false}', "permanent"),
    ("slack", 200, "ok", "delivered"),
    ("slack", 200, "<html>", "permanent"),
    ("slack", 404, "no_service", "permanent"),
    ("slack", 410, "channel_is_archived", "permanent"),
    ("slack", 403, "invalid_token", "unauthorized"),
    ("slack", 429, "rate_limited", "transient"),
    ("tolt", 409, '{"error":{"code":"conflict"}}', "delivered"),
    ("firstpromoter", 401, "", "unauthorized"),
    ("firstpromoter", 404, '{"error":"Lead not found"}', "unattributed"),
    ("firstpromoter", 404, "<h1>Not Found</h1>", "permanent"),
]


@pytest.mark.parametrize(("name", "status", "body", "result"), ANSWERS)
def test_what_its_answers_mean(name: str, status: int, body: str, result: str) -> None:
    assert ready(name).verdict(Answer(status, {}, body.encode()), Sent("sale", "{}")).result == result


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("meta", lambda body: body["data"][0]["user_data"].update(em=["ada@example.com"]), "em must be SHA-256"),
        ("meta", lambda body: body["data"][0]["custom_data"].update(value="199"), "value must be a number"),
        ("meta", lambda body: body["data"][0].pop("event_name"), "event_name is missing"),
        ("meta", lambda body: body["data"][0].update(event_time=1775825110000), "event_time must be seconds"),
        ("ga4", lambda body: body.pop("client_id"), "client_id is missing"),
        ("ga4", lambda body: body["events"][0].update(name="my event"), "events[0].name must be"),
        ("tiktok", lambda body: body["data"][0]["properties"].update(currency="usd"), "currency must be a code"),
        ("linkedin", lambda body: body["conversionValue"].update(amount=199), "amount must be text"),
        ("linkedin", lambda body: body["user"].update(userIds=[]), "userIds needs an entry"),
        ("posthog", lambda body: body.update(timestamp=1775825110), "timestamp must be ISO 8601"),
        ("posthog", lambda body: body.update(event=""), "event is missing"),
        ("segment", lambda body: body.update(userId=None), "userId must not be null"),
        ("segment", lambda body: body["properties"].update(source="x" * 40_000), "at most 32 KB"),
        ("slack", lambda body: body.update(text=""), "text must be a text"),
        ("firstpromoter", lambda body: body.update(amount=19.9), "amount must be a whole number"),
        ("tolt", lambda body: body.update(billing_type="yearly"), "billing_type must be"),
        ("rewardful", lambda body: body.pop("referral_id"), "referral_id is missing"),
        ("datafast", lambda body: body.update(colour="red"), "colour is not a field"),
    ],
)
def test_what_the_service_would_refuse_is_refused_in_an_edit(
    name: str, change: Callable[[Any], object], said: str
) -> None:
    wire = ready(name)
    before = wire.body(SALE).fields
    after = json.loads(json.dumps(before))
    assert wire.edit_problem("sale", before, after) is None
    change(after)
    assert said in str(wire.edit_problem("sale", before, after))


@pytest.mark.parametrize(("name", "days"), [("meta", 7), ("tiktok", 7), ("ga4", 3), ("linkedin", 90)])
def test_the_sandbox_knows_how_old_a_conversion_may_be(name: str, days: int) -> None:
    wire = ready(name)
    for facts in (SALE, LEAD):
        body = wire.body(facts).fields
        assert wire.age_problem(body, facts.occurred_at + timedelta(days=days)) is None
        assert "older than" in str(wire.age_problem(body, facts.occurred_at + timedelta(days=days, minutes=1)))
    assert ready("segment").age_problem(ready("segment").body(SALE).fields, NOW + timedelta(days=900)) is None


def test_an_id_of_a_purchase_cannot_be_edited_in_any_preset() -> None:
    for name in PRESETS:
        wire = ready(name)
        before = wire.body(SALE).fields
        after = json.loads(json.dumps(before).replace("in_1", "in_2"))
        assert name in ("slack", "posthog") or "identify the conversion" in str(
            wire.edit_problem("sale", before, after)
        )
