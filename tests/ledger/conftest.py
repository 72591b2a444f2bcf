"""What the tests of the ledger share."""

import pytest

from tests.conftest import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several writers wait for one lock and each for the disk, which on a build machine may take its time: none gives up here."""
    monkeypatch.setattr("app.ledger.sqlite.LOCK_TIMEOUT_SECONDS", float(PATIENCE_SECONDS))
