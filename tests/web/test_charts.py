"""The charts of the Overview: numbers that add up, axes, links to the lists behind, and the reader's time zone."""

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from app.ledger.engine import Ledger
from app.web.charts.scale import seconds_scale, short, whole_scale
from tests.support.makers import change, checkout, settle, signed
from tests.web.conftest import API, Browser

TWO = '[destinations.crm]\nurl = "https://crm.example"\ntoken_env = "CRM_TOKEN"\n'


def numbers(text: str, name: str) -> list[int]:
    """All figures before `name` in what the bars say."""
    return [int(found) for found in re.findall(rf"(\d+) {name}", " ".join(re.findall("<title>[^<]* = [^<]*", text)))]


def test_a_legend_adds_up_and_every_bar_leads_to_its_list(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    for number in range(4):
        post(checkout(number))
    settle(ledger, "delivered")
    post(checkout(4))
    settle(ledger, "permanent", status=422, error="no")
    post(checkout(5, customer_details={"email": None, "name": None}, metadata={}))
    post(checkout(6, payment_status="unpaid"))
    text = browser.get("/").text
    legend = re.sub(r"\s+", " ", re.sub("<[^>]+>", "", text[text.index('<p class="legend">') :].split("</p>")[0]))
    total, *terms = [int(found) for found in re.findall(r"\d+", legend)]
    assert total == sum(terms) == 7
    assert re.search(r"7 received = 5 conversions \+ 0 duplicates \+ \d ignored \+ 1 parked", legend)
    assert sum(numbers(text, "received")) == 7
    assert sum(numbers(text, "delivered")) == 4
    for path in ("events", "deliveries"):
        slots = re.findall(rf'<a href="(/{path}\?[^"]*)" tabindex="-1"><title>[^<:]*[^<]*?: (\d+) \w+ = ', text)
        assert len(slots) == 24, path
        for href, count in slots[-2:]:
            rows = browser.get(unescape(href)).text.count('<td class="c-id">')
            assert rows == int(count), href
    (parked,) = re.findall(r'href="(/events\?since[^"]*outcome=parked)"><b', text)
    assert browser.get(unescape(parked)).text.count('<td class="c-id">') == 1
    assert "style=" not in text


def test_a_table_behind_each_chart_has_its_figures(
    browser: Browser, post: Callable[[bytes], Any], ledger: Ledger
) -> None:
    post(checkout(1))
    settle(ledger, "delivered")
    change(ledger, "UPDATE deliveries SET delivered_at = created_at + 2000")
    text = browser.get("/?span=hour").text
    tables = [part.split("</details>")[0] for part in text.split('<details class="figures">')[1:]]
    assert [re.findall("<summary>(.*) as a table", one) for one in tables] == [
        ["Received"], ["Deliveries"], ["Time to deliver"], ["Success"],
    ]  # fmt: skip
    rows = [[re.sub("<[^>]+>", "", cell) for cell in re.findall("<td.*?</td>", one)] for one in tables]
    assert [int(number) for number in rows[0][::6]].count(1) == 1
    p95 = [cell for cell in rows[2] if cell != "–"]
    assert len(p95) == 2
    assert all(1.75 <= float(cell.removesuffix(" s")) <= 2.5 for cell in p95)
    assert [cell for cell in rows[3] if cell != "–"] == ["100%"]


def test_days_and_times_are_those_of_the_readers_zone(browser: Browser, post: Callable[[bytes], Any]) -> None:
    post(checkout(1))
    assert "Times in UTC." in browser.get("/").text
    browser.client.set_cookie("zone", "Asia%2FTokyo")
    text = browser.get("/?span=30d").text
    assert "Times in Asia/Tokyo." in text
    since = re.findall(r'href="/events\?since=[^"]*T(\d\d:\d\d):00.000Z&', text)
    assert set(since) == {"15:00"}
    for nonsense in ("Mars%2FBase", "..%2F..%2Fetc%2Fpasswd", "%00", "x" * 3000, "Asia"):
        browser.client.set_cookie("zone", nonsense)
        assert "Times in UTC." in browser.get("/").text, nonsense


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_destinations_have_charts_of_their_own(make_app: Callable[..., Flask], ledger: Ledger, tmp_path: Path) -> None:
    config = tmp_path / "bridge.toml"
    config.write_text(TWO)
    app = make_app(
        BRIDGE_CONFIG=str(config), CRM_TOKEN="t", DESTINATION_URL="https://main.example", DESTINATION_TOKEN="t",
        STRIPE_ALLOW_TEST_EVENTS="1",
    )  # fmt: skip
    browser = Browser(app.test_client(), "password of the tests")
    app.test_client().post("/webhooks/stripe", **signed(checkout(1)))
    settle(ledger, "delivered", destination="crm")
    main, crm = browser.get("/").text, browser.get("/?to=crm").text
    assert "Deliveries to main" in main
    assert (sum(numbers(main, "pending")), sum(numbers(main, "delivered"))) == (1, 0)
    assert "Deliveries to crm" in crm
    assert sum(numbers(crm, "delivered")) == 1
    assert 'href="/deliveries?destination=crm&' in crm
    assert "Deliveries to main" in browser.get("/?to=nowhere").text


def test_the_api_gives_the_same_figures(browser: Browser, post: Callable[[bytes], Any], ledger: Ledger) -> None:
    post(checkout(1))
    settle(ledger, "delivered")
    for span, bars in (("hour", 30), ("90d", 90)):
        found = browser.client.get(f"/api/v1/traffic?span={span}", headers=API).get_json()["bars"]
        assert len(found) == bars
        assert sum(bar["received"].get("sale", 0) for bar in found) == 1
        (sent,) = (bar["sent"]["sandbox"] for bar in found if "sandbox" in bar["sent"])
        assert sent["by_status"] == {"delivered": 1}
        assert 0 <= sent["p50"] <= sent["p95"] < 60
    assert browser.client.get("/api/v1/traffic?span=year", headers=API).status_code == 422


def test_axes_have_few_round_numbers() -> None:
    for highest in (0, 1, 3, 4, 7, 24, 99, 100, 101, 999, 12_345, 10**7):
        scale = whole_scale(highest)
        assert highest <= scale.top
        assert 2 <= len(scale.values) <= 5
        assert all(value == int(value) for value in scale.values), highest
    for seconds in (0.003, 0.04, 0.9, 1, 3, 59, 61, 600, 7000, 90_000, 10**7):
        scale = seconds_scale(seconds)
        assert seconds <= scale.top
        assert 2 <= len(scale.values) <= 5, seconds
    assert [short(number) for number in (0, 950, 1500, 2_000_000)] == ["0", "950", "1.5k", "2M"]
