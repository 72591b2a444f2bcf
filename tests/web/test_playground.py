"""The playground of page, API and command line: nothing is recorded, and what the ledger knows is used."""

import html
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from app.ledger.engine import Ledger
from app.ledger.tables import metadata
from tests.conftest import PATIENCE_SECONDS
from tests.support.makers import checkout, one, settle
from tests.web.conftest import API, Browser

SHOP = """
[sources.shop]
kind = "sale"
signature = "none"
[sources.shop.fields]
order_id = "= order.id"
amount = "= order.total"
currency = "= order.currency"
email = "= order.email"
"""
FIXED = SHOP.replace("= order.currency", "= order.currency_code")


def order(number: int, **fields: Any) -> bytes:
    made = {"id": f"o{number}", "total": "49.00", "currency_code": "EUR", "email": f"p{number}@example.com", **fields}
    return json.dumps({"order": made}).encode()


def contents(ledger: Ledger) -> dict[str, int]:
    with ledger.read() as tx:
        return {name: tx.run(f"SELECT COUNT(*) FROM {name}").scalar_one() for name in sorted(metadata.tables)}


def text_of(page: str) -> str:
    """What a page says, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapping that is tried has seconds of computing, which a busy build machine may spread over minutes."""
    monkeypatch.setattr("app.intake.playground.trial.PATIENCE_SECONDS", float(PATIENCE_SECONDS))


@pytest.fixture
def shop(make_app: Callable[..., Flask], tmp_path: Path) -> Browser:
    """A bridge whose shop says its currency under another name than the mapping."""
    (tmp_path / "bridge.toml").write_text(SHOP)
    app = make_app(
        BRIDGE_CONFIG=str(tmp_path / "bridge.toml"),
        SHOP_PATH_TOKEN="token-of-the-shop",
        DASHBOARD_VIEWER_PASSWORD="only looking",
    )
    return Browser(app.test_client(), "password of the tests")


def test_a_pasted_body_is_shown_and_nothing_is_recorded(browser: Browser, ledger: Ledger) -> None:
    before = contents(ledger)
    page = browser.submit("/playground", source="stripe", body=checkout(1).decode())
    assert page.status_code == 200
    text = text_of(page.text)
    assert "amount 19.99 data.object.amount_total" in text
    assert "customerExternalId user_1 data.object.metadata.user_id" in text
    assert "clickId clk_1 data.object.metadata.clickId" in text
    assert "/sandbox/track/sale" in text
    assert "Authorization: Bearer ***" in text
    assert "Idempotency-Key: sale:stripe:pi_1" in text
    assert contents(ledger) == before


def test_what_an_earlier_event_said_is_used_and_marked(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    settle(ledger, "delivered")
    second = checkout(2, customer_details={"email": "p1@example.com"}, metadata={})
    before = contents(ledger)
    answer = browser.client.post("/api/v1/map", headers=API, json={"source": "stripe", "body": second.decode()}).json
    assert answer is not None
    (at,) = answer["destinations"]
    assert at["payload"]["clickId"] == "clk_1"
    assert at["payload"]["customerExternalId"] == "user_1"
    assert at["origins"]["clickId"] == at["origins"]["customerExternalId"] == {"from": "earlier event"}
    assert at["origins"]["amount"] == {"from": "field", "fields": ["data.object.amount_total"]}
    assert at["request"]["body"] == at["payload"]
    assert answer["payload"]["customerExternalId"] == "p1@example.com"
    again = browser.client.post(
        "/api/v1/map", headers=API, json={"source": "stripe", "body": checkout(1).decode()}
    ).json
    assert again is not None
    assert again["outcome"] == "sale"
    assert again["known"]["outcome"] == "duplicate"
    alone = {"source": "stripe", "body": second.decode(), "ledger": False}
    answer = browser.client.post("/api/v1/map", headers=API, json=alone).json
    assert answer is not None
    assert "clickId" not in answer["destinations"][0]["payload"]
    assert answer["known"] is None
    assert contents(ledger) == before


def test_parked_events_become_sales_under_an_edited_mapping(
    shop: Browser, ledger: Ledger, ledger_url: str, bridge: Callable[..., Result], tmp_path: Path
) -> None:
    for number in range(1, 4):
        answer = shop.client.post(
            "/webhooks/shop/token-of-the-shop", data=order(number), content_type="application/json"
        )
        assert answer.json is not None
        assert answer.json["outcome"] == "parked"
    shop.client.post("/webhooks/shop/token-of-the-shop", data=order(4, total="x"), content_type="application/json")
    before = contents(ledger)
    (event,) = one(ledger, "SELECT MIN(id) FROM events")
    page = shop.get(f"/playground?event={event}").text
    assert "order.currency" in page
    assert "p1@example.com" in page
    found = shop.submit("/playground", source="shop", event=str(event), mapping=FIXED, mapping_of="shop", do="map").text
    assert "Result sale" in text_of(found).replace("● ", "")
    assert "currency EUR order.currency_code" in text_of(found)
    compared = text_of(shop.submit("/playground", source="shop", mapping=FIXED, mapping_of="shop", do="compare").text)
    assert "The last 4 events of shop" in compared
    assert "0 unchanged, 3 parked → sale, 1 parked with other values" in compared
    assert "payload.currency – EUR" in compared
    asked = {"source": "shop", "mapping": FIXED, "last": 2}
    answer = shop.client.post("/api/v1/map/compare", headers=API, json=asked)
    assert answer.json is not None
    assert [(g["before"], g["after"], g["count"]) for g in answer.json["groups"]] == [
        ("parked", "parked", 1),
        ("parked", "sale", 1),
    ]
    assert contents(ledger) == before
    (tmp_path / "fixed.toml").write_text(FIXED)
    settings = {"BRIDGE_CONFIG": str(tmp_path / "bridge.toml"), "DATABASE_URL": ledger_url}
    said = bridge("map", "shop", "--mapping", tmp_path / "fixed.toml", "--last", "100", **settings)
    assert said.exit_code == 0, said.output
    assert "3 parked → sale" in said.output
    assert (tmp_path / "bridge.toml").read_text() == SHOP


def test_the_command_explains_each_value(bridge: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "order.json").write_bytes(order(1))
    (tmp_path / "fixed.toml").write_text(FIXED)
    said = bridge("map", "shop", str(tmp_path / "order.json"), "--mapping", str(tmp_path / "fixed.toml"), "--explain")
    assert said.exit_code == 0, said.output
    assert re.search("amount +49 +order.total", said.output)
    body = tmp_path / "checkout.json"
    body.write_bytes(checkout(1))
    line = json.loads(bridge("map", "stripe", str(body), "--explain", "--json").output)
    assert line["origins"]["payload.email"] == {"from": "field", "fields": ["data.object.customer_details.email"]}
    for wrong in (["map", "stripe"], ["map", "stripe", str(body), "--last", "5"], ["map", "stripe", "--last", "5"]):
        assert bridge(*wrong).exit_code == 2


@pytest.mark.parametrize("last", [False, True])
def test_an_empty_or_unreadable_mapping_is_refused(
    bridge: Callable[..., Result], ledger: Ledger, ledger_url: str, tmp_path: Path, *, last: bool
) -> None:
    mapping, body = tmp_path / "mapping.toml", tmp_path / "checkout.json"
    body.write_bytes(checkout(1))
    asked = ["--last", "5"] if last else [str(body)]
    for content, problem in ((b"", "empty"), (b"# comment\n", "empty"), (b"a = '\xff'", "not UTF-8")):
        mapping.write_bytes(content)
        refused = bridge("map", "stripe", *asked, "--mapping", str(mapping), DATABASE_URL=ledger_url)
        assert refused.exit_code != 0
        assert problem in refused.output


def test_a_read_only_login_maps_bodies_masked_and_edits_no_mapping(shop: Browser, ledger: Ledger) -> None:
    shop.client.post("/webhooks/shop/token-of-the-shop", data=order(1), content_type="application/json")
    (event,) = one(ledger, "SELECT MIN(id) FROM events")
    viewer = Browser(shop.client.application.test_client(), "only looking")
    opened = viewer.get(f"/playground?event={event}").text
    pages = [
        opened,
        viewer.submit("/playground", source="shop", event=str(event)).text,
        viewer.submit("/playground", source="shop", event=str(event), mapping=FIXED, mapping_of="shop").text,
        viewer.submit("/playground", source="stripe", body=checkout(7).decode()).text,
    ]
    assert all("p1@" not in page and "p7@" not in page for page in pages)
    assert "•••@example.com" in pages[-1]
    assert "amount 19.99" in text_of(pages[-1])
    assert "Mapping" not in text_of(opened)
    assert "it has no currency" in text_of(pages[2]).lower()  # the edited mapping was not used
    compared = viewer.submit("/playground", source="shop", mapping=FIXED, mapping_of="shop", do="compare").text
    assert "The last" not in text_of(compared)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"source": "nothing", "body": "{}"}, "There is no source called nothing"),
        ({"source": "stripe", "body": "{}", "mapping": "[sources.x"}, "Not TOML"),
        ({"source": "", "body": "{}", "mapping": "[sources.x]\nkind = 'sale'"}, "sources.x.fields.amount"),
        ({"source": "stripe", "body": "{}", "mapping": " \n"}, "The mapping is empty"),
        ({"source": "stripe", "mapping": "# only a comment", "do": "compare"}, "The mapping is empty"),
        ({"source": "stripe", "event": "99"}, "There is no event 99"),
        ({"source": "stripe", "event": "x' OR 1=1"}, "There is no event"),
    ],
)
def test_what_is_wrong_is_said_on_the_page(browser: Browser, fields: dict[str, str], problem: str) -> None:
    page = browser.submit("/playground", **fields)
    assert page.status_code in (404, 422)
    assert problem.casefold() in text_of(page.text).casefold()


def test_hostile_bodies_are_shown_as_text(browser: Browser) -> None:
    name = "</textarea><script>alert(1)</script>\u202eevil"
    body = checkout(1, customer_details={"email": "a@example.com", "name": name}, **{name: name})
    page = browser.submit("/playground", source="stripe", body=body.decode())
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    for text in ("", "\x00", "[]", "nonsense", "{" * 5000, '"' + "x" * 200_000, json.dumps({"a": ["b" * 900_000]})):
        answer = browser.submit("/playground", source="stripe", body=text)
        assert answer.status_code == 200, answer.text[:200]
        assert "rejected" in text_of(answer.text)


def test_the_api_names_what_is_wrong(browser: Browser) -> None:
    for asked, problem in (
        ({}, "send source and body, or event"),
        ({"event": 5, "source": "stripe", "body": "{}"}, "send source and body, or event"),
        ({"source": "nothing", "body": "{}"}, "there is no source called nothing"),
        ({"source": "stripe", "body": "{}", "headers": {"a": 1}}, "headers"),
        ({"source": "stripe", "body": "{}", "mapping": ""}, "the mapping is empty"),
    ):
        answer = browser.client.post("/api/v1/map", headers=API, json=asked)
        assert answer.status_code == 422
        assert answer.json is not None
        assert problem in answer.json["error"]
    assert browser.client.post("/api/v1/map", headers=API, json={"event": 5}).status_code == 404
