"""Encryption at rest: nothing readable in the sealed columns, everything as before for those with the key, an error for others."""

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from app.bootstrap import open_ledger
from app.config.settings import Settings
from app.errors import ConfigurationError, LedgerUnavailable
from app.ledger.actions.forget import BLANK_BODY, forget_person, persons_called
from app.ledger.actions.replay import BLANK_PAYLOAD
from app.ledger.engine import Ledger
from app.ledger.reading.events import event
from app.ledger.sealing.check import check_decrypts
from app.ledger.sealing.cipher import MARK, PLAIN, SEALED, Cipher, sealed_positions
from app.ledger.sealing.keys import check_keys
from app.ledger.sealing.rotate import rotate
from app.ledger.upkeep.copy import copy_ledger
from app.web.factory import create_app
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
    body = checkout(number, customer_details={"email": EMAIL, "name": "Grace Buyer"})
    assert app.test_client().post("/webhooks/stripe", **signed(body)).status_code == 200
    app.extensions["writer"].stop()


def stored(ledger: Ledger) -> list[str]:
    """Every value of a sealed column as the database has it."""
    found = []
    with ledger.raw() as raw, raw.read() as tx:
        for table, columns in SEALED.items():
            for row in tx.run(f"SELECT {', '.join(sorted(columns))} FROM {table} ORDER BY id").all():
                found += [bytes(v).decode("latin-1") if not isinstance(v, str) else v for v in row if v is not None]
    return found


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
    assert all(value.startswith(MARK) for value in values)
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


def test_an_existing_ledger_is_sealed_rotated_and_unsealed_without_a_byte_lost(
    ledger: Ledger, ledger_url: str, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings()
    for number in range(3):
        take(ledger, settings, number)
    before = stored(ledger)
    with_key = Ledger(ledger_url, cipher=Cipher([KEY]))
    check_keys(with_key)
    take(with_key, settings, 3)
    assert any(EMAIL in value for value in stored(with_key)), "what was there stays readable"
    with with_key.raw() as raw:
        assert check_decrypts(raw, Cipher([KEY]))[0] == "warn"
    assert rewrite(with_key, Cipher([KEY])) == 6
    assert not any(EMAIL in value for value in stored(with_key))
    assert rewrite(with_key, Cipher([KEY])) == 0

    both = Ledger(ledger_url, cipher=Cipher([OTHER, KEY]))
    check_keys(both)
    assert rewrite(both, Cipher([OTHER, KEY])) == 8
    with pytest.raises(ConfigurationError, match="encrypted with the key"):
        check_keys(with_key)
    check_keys(Ledger(ledger_url, cipher=Cipher([OTHER])))
    with pytest.raises(ConfigurationError, match="set ENCRYPTION_KEY to it"):
        check_keys(ledger)

    assert rewrite(both, Cipher([OTHER, KEY]), off=True) == 8
    check_keys(ledger)
    assert stored(ledger)[: len(before) // 2] == before[: len(before) // 2]
    assert not any(value.startswith(MARK) for value in stored(ledger))
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
        ("UPDATE deliveries SET payload = ?, omitted = ? WHERE id = ?", {0}),
        ("UPDATE deliveries SET status = 'x?', due_at = ?, payload = ? WHERE id = ? AND payload = ?", {1}),
        ("UPDATE events SET body = ?, headers = '{}', reason = ? WHERE id = ?", {0}),
        ("UPDATE attempts SET answer_body = ?, answer_headers = ?", {0, 1}),
        ("UPDATE persons SET name = ? WHERE id = ?", set()),
        ("SELECT payload FROM deliveries WHERE payload = ?", set()),
    ],
)
def test_the_values_that_an_update_seals(statement: str, positions: set[int]) -> None:
    assert sealed_positions(statement) == positions
