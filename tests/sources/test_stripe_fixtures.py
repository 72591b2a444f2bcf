"""Every body in fixtures/stripe becomes exactly what stands beside it."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.intake.dry_run import explain
from app.model import Inbound, Rules
from app.sources.stripe.source import SOURCE

FOLDER = Path(__file__).parents[2] / "app" / "sources" / "stripe" / "fixtures"
BODIES = sorted(path for path in FOLDER.glob("*.json") if not path.name.endswith(".expected.json"))
RECEIVED = datetime(2026, 3, 1, 12, tzinfo=UTC)


def read_expected(path: Path) -> dict[str, Any]:
    expected = json.loads(path.with_name(f"{path.stem}.expected.json").read_text())
    assert isinstance(expected, dict)
    return expected


def test_every_expectation_has_its_body() -> None:
    expected = {path.name.removesuffix(".expected.json") for path in FOLDER.glob("*.expected.json")}
    assert expected == {path.stem for path in BODIES}
    assert len(BODIES) > 80


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_fixture_becomes_what_stands_beside_it(path: Path) -> None:
    line = explain(SOURCE, Inbound(path.read_bytes(), {}), Rules(), RECEIVED)
    assert {name: line[name] for name in ("outcome", "dedupe_keys", "payload")} == read_expected(path)


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_every_fixture_has_a_reason_an_id_and_a_type(path: Path) -> None:
    body = json.loads(path.read_bytes())
    mapped = SOURCE.map(Inbound(path.read_bytes(), {}), Rules())
    assert mapped.reason
    assert (mapped.event_id, mapped.event_type) == (body["id"], body["type"])
