"""db rotate-key, and what doctor says of encryption."""

import base64
import os
import re
from collections.abc import Callable

import pytest
from click.testing import CliRunner

from app.cli import main
from app.config.settings import Settings
from app.ledger.engine import Ledger
from app.web.factory import create_app
from tests.support.makers import checkout, one, signed


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_stored_data_is_encrypted_and_decrypted_by_the_command(
    ledger: Ledger, ledger_url: str, make_settings: Callable[..., Settings]
) -> None:
    app = create_app(make_settings(DATABASE_URL=ledger_url), ledger)
    assert app.test_client().post("/webhooks/stripe", **signed(checkout())).status_code == 200
    app.extensions["writer"].stop()
    plain = bytes(one(ledger, "SELECT body FROM events")[0])
    without = CliRunner().invoke(main, ["db", "rotate-key"])
    assert without.exit_code == 1
    assert "set ENCRYPTION_KEY first" in without.output
    make_settings(DATABASE_URL=ledger_url, ENCRYPTION_KEY=base64.b64encode(os.urandom(32)).decode())
    done = CliRunner().invoke(main, ["db", "rotate-key"])
    assert done.exit_code == 0, done.output
    assert re.search(r"Encrypted \d+ rows with the key [0-9a-f]{8}\.", done.output)
    assert bytes(one(ledger, "SELECT body FROM events")[0]) != plain
    assert "are encrypted with the key" in CliRunner().invoke(main, ["doctor"]).output
    off = CliRunner().invoke(main, ["db", "rotate-key", "--off"])
    assert "Remove ENCRYPTION_KEY" in off.output
    assert bytes(one(ledger, "SELECT body FROM events")[0]) == plain


@pytest.mark.parametrize("value", ["secret", "c2hvcnQ=", ","])
def test_a_key_of_the_wrong_shape_is_named_and_not_shown(value: str, make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(Exception, match="ENCRYPTION_KEY") as caught:
        make_settings(ENCRYPTION_KEY=value)
    assert value == "," or value not in str(caught.value)
