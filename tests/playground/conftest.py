"""What the tests of the playground share."""

import pytest

from tests.conftest import PATIENCE_SECONDS


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapping that is tried has seconds of computing, which a busy build machine may spread over minutes."""
    monkeypatch.setattr("app.intake.playground.trial.PATIENCE_SECONDS", float(PATIENCE_SECONDS))
