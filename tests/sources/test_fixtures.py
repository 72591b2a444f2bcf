"""Every fixture of every form source: the body in, the whole expected payload out."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.intake.dry_run import explain
from app.model import Inbound, Rules
from app.sources.catalog import SOURCES

FIXTURES = Path(__file__).parents[2] / "app" / "sources"
RECEIVED_AT = datetime(2026, 11, 1, 12, 0, 0, 250000, UTC)
BODIES = sorted(
    path
    for path in FIXTURES.glob("*/fixtures/*")
    if path.parents[1].name != "stripe" and path.name.endswith((".json", ".txt")) and ".expected." not in path.name
)


def inbound_of(path: Path) -> Inbound:
    body, kind = path.read_bytes(), "application/json"
    if path.name.endswith(".form.txt"):
        kind = "application/x-www-form-urlencoded"
    elif path.name.endswith(".multipart.txt"):
        kind = "multipart/form-data; boundary=" + body.split(b"\r\n")[0][2:].decode()
    return Inbound(body, {"content-type": kind})


@pytest.mark.parametrize("path", BODIES, ids=lambda path: f"{path.parents[1].name}/{path.name.split('.')[0]}")
def test_fixture_maps_to_its_expected_payload(path: Path) -> None:
    expected = json.loads((path.parent / f"{path.name.split('.')[0]}.expected.json").read_text())
    line = explain(SOURCES[path.parents[1].name], inbound_of(path), Rules(), RECEIVED_AT)
    assert {key: line[key] for key in expected} == expected


def test_every_source_has_a_fixture_that_becomes_a_conversion() -> None:
    converting = {
        path.parents[1].name
        for path in FIXTURES.glob("*/fixtures/*.expected.json")
        if json.loads(path.read_text())["outcome"] in ("lead", "sale")
        or path.parents[1].name == "surveymonkey"  # it is thin
    }
    assert converting >= set(SOURCES)


@pytest.mark.parametrize("path", BODIES, ids=lambda path: f"{path.parents[1].name}/{path.name.split('.')[0]}")
def test_mapping_the_same_body_again_gives_the_same_ids(path: Path) -> None:
    source, inbound = SOURCES[path.parents[1].name], inbound_of(path)
    first, second = source.map(inbound, Rules()), source.map(inbound, Rules())
    assert (first.event_id, first.keys, first.account) == (second.event_id, second.keys, second.account)
    assert first.reason
    assert first.event_id
