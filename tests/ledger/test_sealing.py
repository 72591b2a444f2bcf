"""Encryption at rest: nothing readable in the sealed columns, everything as before for those with the key, an error for others."""

import base64
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from app.bootstrap import open_ledger
from app.config.settings import Settings
from app.destinations.target import sandbox_token
from app.errors import ConfigurationError, LedgerUnavailable
from app.ledger.actions.forget import BLANK_BODY, forget_person, persons_called
from app.ledger.actions.replay import BLANK_PAYLOAD
from app.ledger.engine import Ledger
from app.ledger.parked.acts import keep
from app.ledger.parked.reading import fill_ins
from app.ledger.reading.events import event
from app.ledger.reading.persons import persons
from app.ledger.reading.search import find
from app.ledger.sealing.check import check_decrypts
from app.ledger.sealing.cipher import MARK, PLAIN, Cipher, sealed_positions
from app.ledger.sealing.columns import SEALED, How
from app.ledger.sealing.keys import check_keys
from app.ledger.sealing.rotate import rotate
from app.ledger.tables import metadata
from app.ledger.upkeep.copy import copy_ledger
from app.sources.catalog import SOURCES
from app.web.factory import create_app
from tests.conftest import TYPEFORM_SECRET
from tests.support.makers import begin, change, checkout, count, one, settle, signed

KEY, OTHER = os.urandom(32), os.urandom(32)
EMAIL = "buyer-of-the-tests@example.com"


@pytest.fixture
def sealed(ledger_url: str) -> Iterator[Ledger]:
    opened = Ledger(ledger_url, cipher=Cipher([KEY]))
    check_keys(opened)
    yield opened
    opened.close()


def take(ledger: Ledger, settings: Settings, number: int = 1) -> None:
    app = create_app(settings, ledger)
    body = checkout(number, customer_details={"email": EMAIL, "name": "Grace Buyer"}, metadata={})
    assert app.test_client().post("/webhooks/stripe", **signed(body)).status_code == 200
    app.extensions["writer"].stop()


def stored(ledger: Ledger) -> list[str]:
    """Every value of a sealed column as the database has it."""
    found = []
    with ledger.raw() as raw, raw.read() as tx:
        for table, columns in SEALED.items():
            for row in tx.run(f"SELECT {', '.join(sorted(columns))} FROM {table} ORDER BY {order_of(table)}").all():
                found += [bytes(v).decode("latin-1") if not isinstance(v, str) else v for v in row if v is not None]
    return found


def order_of(table: str) -> str:
    return {"identifiers": "person_id, kind", "event_facts": "event_id, kind", "fill_ins": "event_id"}.get(table, "id")


def everything(ledger: Ledger) -> str:
    """All that the database holds, as it holds it."""
    with ledger.raw() as raw, raw.read() as tx:
        rows = [tuple(row) for name in metadata.tables for row in tx.run(f"SELECT * FROM {name}").all()]
    return "\n".join(
        bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)
        for row in rows
        for value in row
    )


def rewrite(ledger: Ledger, cipher: Cipher, *, off: bool = False) -> int:
    with ledger.raw() as raw:
        return rotate(raw, cipher, off=off, progress=lambda _table, _done: None)


def test_what_is_stored_is_unreadable_and_everything_works_as_before(
    sealed: Ledger, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings()
    take(sealed, settings)
    (claimed,) = begin(sealed)
    assert EMAIL in claimed.payload, "the worker gets what it is to send"
    settle(sealed, "permanent", claimed=[claimed], status=400, answer=f'{{"error": "no click for {EMAIL}"}}')
    values = stored(sealed)
    assert len(values) >= 5
    assert all(value.startswith((MARK, "{")) for value in values), "facts of conversions are JSON"
    assert not any(EMAIL in value or "Grace" in value for value in values)
    with sealed.read() as tx:
        found = event(tx, int(tx.run("SELECT id FROM events").scalar_one()))
        assert found is not None
        assert EMAIL in found["body"]
        assert tx.run("SELECT answer_body FROM attempts").scalar_one().endswith(f'{EMAIL}"}}')
    take(sealed, settings)
    assert count(sealed, "deliveries") == 1, "a repeat is known"
    with sealed.raw() as raw:
        assert check_decrypts(raw, Cipher([KEY]))[0] == "ok"
    with sealed.read() as tx:
        (person,) = persons_called(tx, EMAIL)
    forget_person(sealed, person, actor="tests")
    assert bytes(one(sealed, "SELECT body FROM events")[0]) == BLANK_BODY
    assert one(sealed, "SELECT payload FROM deliveries")[0] == BLANK_PAYLOAD
    assert {BLANK_BODY, BLANK_PAYLOAD} <= PLAIN


def test_a_whole_run_leaves_nobody_readable_and_everybody_found(
    ledger_url: str, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(DATABASE_URL=ledger_url, ENCRYPTION_KEY=base64.b64encode(KEY).decode())
    sealed = open_ledger(settings)
    app = create_app(settings, sealed)
    client = app.test_client()
    who = {"email": EMAIL, "name": "Grace Buyer", "phone": "+4915112345678"}
    sessions: list[dict[str, Any]] = [
        {"metadata": {"click_id": "clk_ofgrace"}},
        {"metadata": {"click_id": "clk_ofgrace2", "user_id": "user-of-grace"}},
        {"currency": None, "metadata": {"note": EMAIL}},  # parked
        {"mode": "setup", "metadata": {}},  # ignored
    ]
    for number, session in enumerate(sessions):
        body = checkout(number, customer_details=who, **session)
        assert client.post("/webhooks/stripe", **signed(body)).status_code == 200
    example = (files("app.sources.typeform") / "example.json").read_text("utf-8")
    for old, new in (
        ("ada@example.com", EMAIL),
        ("user_ada", "user-of-grace"),
        ("@ID@", "1"),
        ("@ISO@", "2026-04-01T12:00:00Z"),
    ):
        example = example.replace(old, new)
    headers = dict(SOURCES["typeform"].sign(example.encode(), TYPEFORM_SECRET, datetime.now(UTC)))
    assert client.post("/webhooks/typeform", data=example, headers=headers).status_code == 200
    (claimed, *_) = begin(sealed)
    assert settings.secret_key is not None
    token = {"Authorization": f"Bearer {sandbox_token(settings.secret_key.get_secret_value())}"}
    assert client.post("/sandbox/track/sale", data=claimed.payload, headers=token).status_code == 200
    settle(sealed, "permanent", claimed=[claimed], status=400, answer=f'{{"error": "no click for {EMAIL}"}}')
    with sealed.write() as tx:
        parked = int(tx.run("SELECT id FROM events WHERE outcome = 'parked'").scalar_one())
        keep(tx, parked, {"email": EMAIL, "name": "Grace Buyer"}, actor="tests")

    kept = everything(sealed)
    for name in (EMAIL, EMAIL.partition("@")[0], "Grace", "buyer", "15112345678", "clk_ofgrace", "user-of-grace"):
        assert name.lower() not in kept.lower(), name
    with sealed.read() as tx:
        (person,) = {one["id"] for one in persons(tx, limit=9) if one["email"] == EMAIL}
        for text in (
            EMAIL.upper(),
            "clk_ofgrace",
            "clk_example1",
            "user-of-grace",
            "grace buyer",
            "Buyer",
            "+49 1511 2345678",
        ):
            assert person in find(tx, text, ("stripe",)).person_ids, text
        assert parked in find(tx, EMAIL, ("stripe",)).event_ids
        assert fill_ins(tx, [parked])[parked]["email"] == EMAIL
        assert find(tx, EMAIL[:8], ("stripe",)).person_ids == [], "beginnings find nobody"
        assert find(tx, MARK, ("stripe",)).person_ids == []
    app.extensions["writer"].stop()
    sealed.close()


def test_an_existing_ledger_is_sealed_rotated_and_unsealed_without_a_byte_lost(
    ledger: Ledger, ledger_url: str, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings()
    for number in range(3):
        take(ledger, settings, number)
    before, people = everything(ledger), count(ledger, "persons")
    with_key = Ledger(ledger_url, cipher=Cipher([KEY]))
    check_keys(with_key)
    take(with_key, settings, 3)
    assert any(EMAIL in value for value in stored(with_key)), "what was there stays readable"
    with with_key.raw() as raw:
        assert check_decrypts(raw, Cipher([KEY]))[0] == "warn"
    assert count(with_key, "persons") == people, "a person in the clear is known to who comes again"
    with with_key.read() as tx:
        assert len(find(tx, EMAIL, ("stripe",)).person_ids) == people
    rows = rewrite(with_key, Cipher([KEY]))
    assert rows > 6
    assert EMAIL not in everything(with_key)
    assert rewrite(with_key, Cipher([KEY])) == 0
    take(with_key, settings, 4)
    assert count(with_key, "persons") == people

    both = Ledger(ledger_url, cipher=Cipher([OTHER, KEY]))
    check_keys(both)
    take(both, settings, 5)
    assert count(both, "persons") == people, "a person under the key before is known as well"
    every = rewrite(both, Cipher([OTHER, KEY]))
    assert every > rows
    with pytest.raises(ConfigurationError, match="encrypted with the key"):
        check_keys(with_key)
    check_keys(Ledger(ledger_url, cipher=Cipher([OTHER])))
    with pytest.raises(ConfigurationError, match="set ENCRYPTION_KEY to it"):
        check_keys(ledger)

    assert rewrite(both, Cipher([OTHER, KEY]), off=True) > every
    check_keys(ledger)
    after = everything(ledger).splitlines()
    assert [line for line in before.splitlines() if EMAIL in line and line not in after] == []
    assert not any("sealed1:" in line for line in after)
    for opened in (with_key, both):
        opened.close()


def test_a_missing_key_or_a_damaged_value_is_said_and_nothing_is_answered_200(
    sealed: Ledger, ledger_url: str, make_settings: Callable[..., Settings]
) -> None:
    take(sealed, make_settings())
    wrong = Ledger(ledger_url, cipher=Cipher([OTHER]))
    with pytest.raises(ConfigurationError, match="add it to ENCRYPTION_KEY"):
        create_app(make_settings(), wrong)
    with pytest.raises(LedgerUnavailable, match="add it to ENCRYPTION_KEY"), wrong.read() as tx:
        tx.run("SELECT payload FROM deliveries").all()
    settings = make_settings(DATABASE_URL=ledger_url, ENCRYPTION_KEY=base64.b64encode(OTHER).decode())
    with pytest.raises(ConfigurationError, match="add it to ENCRYPTION_KEY"):
        open_ledger(settings)
    with sealed.raw() as raw:
        text = str(one(raw, "SELECT payload FROM deliveries")[0])
        change(raw, "UPDATE deliveries SET payload = ?", text[:-8] + "AAAAAAA=")
    with pytest.raises(LedgerUnavailable, match="damaged"), sealed.read() as tx:
        tx.run("SELECT payload FROM deliveries").all()
    wrong.close()


def test_a_copy_stays_sealed(sealed: Ledger, make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    take(sealed, make_settings())
    url = f"sqlite:///{tmp_path / 'copy.db'}"
    target = Ledger(url)
    copy_ledger(sealed, target)
    assert stored(target) == stored(sealed)
    with pytest.raises(ConfigurationError, match="set ENCRYPTION_KEY to it"):
        check_keys(target)
    readable = Ledger(url, cipher=Cipher([KEY]))
    check_keys(readable)
    assert EMAIL in str(one(readable, "SELECT payload FROM deliveries")[0])
    for opened in (target, readable):
        opened.close()


@pytest.mark.parametrize(
    ("statement", "positions"),
    [
        ("UPDATE deliveries SET payload = ?, omitted = ? WHERE id = ?", {0: How.WHOLE}),
        ("UPDATE deliveries SET status = 'x?', due_at = ?, payload = ? WHERE id = ? AND payload = ?", {1: How.WHOLE}),
        ("UPDATE events SET body = ?, headers = '{}', reason = ? WHERE id = ?", {0: How.WHOLE}),
        ("UPDATE attempts SET answer_body = ?, answer_headers = ?", {0: How.WHOLE, 1: How.WHOLE}),
        ("UPDATE persons SET sent = ?, name = ?, click_last = ? WHERE id = ?", {1: How.WHOLE, 2: How.EQUAL}),
        ("UPDATE conversions SET facts = ? WHERE person_id = ?", {0: How.FACTS}),
        ("UPDATE workers SET name = ? WHERE id = ?", {}),
        ("SELECT payload FROM deliveries WHERE payload = ?", {}),
    ],
)
def test_the_values_that_an_update_seals(statement: str, positions: dict[int, How]) -> None:
    assert sealed_positions(statement) == positions
