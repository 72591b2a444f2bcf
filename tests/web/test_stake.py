"""Money at stake, by currency: in the verdict, beside counts and groups, before a bulk action, in alerts."""

from collections.abc import Callable
from typing import Any

from click.testing import Result
from flask.testing import FlaskClient

from app.bootstrap import make_health
from app.config.settings import Settings
from app.ledger.engine import Ledger
from app.ledger.reading.money.stake import Stakes, together
from app.money import Money
from tests.support.makers import begin, change, checkout, one, settle, signed
from tests.web.conftest import API, Browser

STAKE = "39.98 USD, 1,500 JPY, 5.000 KWD"


def fail_some(post: Callable[[bytes], Any], ledger: Ledger) -> None:
    """Four dead Sales, one delivered, one retrying; and a Lead's worth nothing."""
    post(checkout("delivered", amount_total=999_999))
    settle(ledger, "delivered")
    for number, (amount, currency) in enumerate([(1999, "usd"), (1999, "usd"), (1500, "jpy"), (5000, "kwd")]):
        post(checkout(number, amount_total=amount, currency=currency))
    settle(ledger, "permanent", status=422, error="answered 422: no such plan")
    post(checkout("later", amount_total=700, currency="eur"))
    settle(ledger, "transient", status=503, error="answered 503", retry=True)


def test_each_failed_sale_counts_once_in_the_unit_of_its_currency(
    post: Callable[[bytes], Any], ledger: Ledger, make_settings: Callable[..., Settings], bridge: Callable[..., Result],
    ledger_url: str, browser: Browser,
) -> None:  # fmt: skip
    fail_some(post, ledger)
    rest = (
        "conversion_id, person_id, event_id, source, kind, dedupe_key, status, payload, created_at, dead_at, last_status,"
        " last_error"
    )
    change(
        ledger,
        f"INSERT INTO deliveries (id, destination, {rest}) SELECT id + 1000000, 'other', {rest} FROM deliveries"
        " WHERE status = 'dead'",
    )
    with ledger.read() as tx:
        problems = {problem.kind: problem for problem in make_health(make_settings()).verdict(tx).problems}
    assert (problems["dead"].count, problems["dead"].stake.text) == (8, STAKE)
    assert problems["retrying"].stake.text == "7.00 EUR"
    found = browser.client.get("/api/v1/status", headers=API).get_json()
    assert found["money"]["dead"] == [
        {"amount": 39.98, "currency": "USD"}, {"amount": 1500, "currency": "JPY"}, {"amount": 5, "currency": "KWD"}
    ]  # fmt: skip
    assert found["problems"] == browser.client.get("/api/v1/stats", headers=API).get_json()["problems"]
    for command in ("status", "doctor"):
        assert f"At stake: {STAKE}." in bridge(command, DATABASE_URL=ledger_url).output
    assert browser.get("/").text.count(STAKE) == 3  # the verdict, the tile and the group


def test_failed_deliveries_show_it_by_reason_and_before_anything_is_done(
    post: Callable[[bytes], Any], ledger: Ledger, browser: Browser
) -> None:
    fail_some(post, ledger)
    page = browser.get("/failed").text
    assert '<span class="num">39.98 USD, 7.00 EUR, 1,500 JPY, 5.000 KWD</span> at stake' in page
    assert page.count(STAKE) == 1
    ids = [str(number) for (number,) in _rows(ledger, "SELECT id FROM deliveries WHERE status = 'dead' ORDER BY id")]
    few = browser.client.post("/failed/confirm", data={"csrf": browser.csrf, "verb": "discard", "id": ids[1:3]}).text
    assert "1,500 JPY, 19.99 USD" in few
    assert "KWD" not in few
    every = browser.submit("/failed/confirm", verb="replay", all="1", status="dead").text
    assert STAKE in every
    assert begin(ledger) == []


def test_parked_sales_count_where_their_amount_is_known(
    web: FlaskClient, ledger: Ledger, make_settings: Callable[..., Settings]
) -> None:
    for body in (
        checkout(1, metadata={}, customer_details={}, amount_total=500, currency="jpy"),
        checkout(2, currency=None),
    ):
        assert web.post("/webhooks/stripe", **signed(body)).get_json()["outcome"] == "parked"
    with ledger.read() as tx:
        problems = {problem.kind: problem for problem in make_health(make_settings()).verdict(tx).problems}
    assert (problems["parked"].count, problems["parked"].stake.text) == (2, "500 JPY")


def _rows(ledger: Ledger, statement: str) -> list[Any]:
    with ledger.read() as tx:
        return list(tx.run(statement).all())


def test_a_net_amount_has_no_tax_and_what_is_capped_says_so(
    post: Callable[[bytes], Any], ledger: Ledger, monkeypatch: Any
) -> None:
    for number in range(3):
        post(checkout(number))
    settle(ledger, "permanent", status=422)
    change(ledger, 'UPDATE conversions SET facts = REPLACE(facts, \'"minor"\', \'"tax": 99, "is_net": true, "minor"\')')
    assert "is_net" in one(ledger, "SELECT facts FROM conversions")[0]
    with ledger.read() as tx:
        exact = Stakes().of_status(tx, "dead", 3)
        assert (exact.text, exact.is_capped) == ("57.00 USD", False)
        monkeypatch.setattr("app.ledger.reading.money.stake.ADDED", 2)
        monkeypatch.setattr("app.ledger.reading.money.stake.LARGE", 2)
        capped = Stakes().of_status(tx, "dead", 3)
        assert capped.text == "at least 38.00 USD"
    both = together([exact, capped])
    assert (both.amounts, both.is_capped) == ([Money(9500, "USD")], True)
