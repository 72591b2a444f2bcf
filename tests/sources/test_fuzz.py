"""Whatever the bytes are, mapping ends in an outcome or a MalformedEvent."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import MalformedEvent
from app.intake.dry_run import explain
from app.model import Inbound, Rules
from app.sources.base import Source
from app.sources.catalog import SOURCES
from app.sources.custom import build
from tests.sources.test_fixtures import BODIES, RECEIVED_AT, inbound_of

OWN = build(
    "own",
    {
        "kind": "sale",
        "events": {"path": "type", "allow": ["order.paid", "user.created"]},
        "fields": {
            "order_id": ["id", "=data.id"],
            "amount": "=data.sum || sum",
            "currency": ["cur"],
            "name": "=join(' ', data)",
        },
    },
)
ALL: dict[str, Source] = {**SOURCES, "own": OWN, "lead": build("lead", {})}
KINDS = (
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "text/plain",
    "",
    "multipart/form-data",
)
ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1e308, 10**30, "", "null", "\u0000", "\ud83d", "x" * 70000, "a@b.co", "+4420", [], {}, [[]], [None],
    {"value": None}, {"value": {"value": []}}, [{"value": 1}], {"first": {"first": {}}}, "0001-01-01T00:00:00Z", "9999-12-31",
    "1e400", "2026-13-45", {"": ""}, {"a": {"b": {"c": {"d": {"e": {"f": {"g": 1}}}}}}}, "{", "[" * 500, "%", "=", " = ",
)  # fmt: skip
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(ODD[:12]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


def survives(name: str, inbound: Inbound) -> None:
    try:
        mapped = ALL[name].map(inbound, Rules())
    except MalformedEvent:
        return
    assert mapped.reason
    assert 0 < len(mapped.event_id) <= 600
    assert all(isinstance(key, str) and 0 < len(key) <= 600 for key in mapped.keys)
    json.dumps(explain(ALL[name], inbound, Rules(), RECEIVED_AT), allow_nan=False, ensure_ascii=False).encode("utf-8")


@given(name=st.sampled_from(sorted(ALL)), body=st.binary(max_size=300), kind=st.sampled_from(KINDS))
@settings(max_examples=400, deadline=None)
def test_random_bytes(name: str, body: bytes, kind: str) -> None:
    survives(name, Inbound(body, {"content-type": kind}))


@given(name=st.sampled_from(sorted(ALL)), value=json_values)
@settings(max_examples=400, deadline=None)
def test_random_json(name: str, value: Any) -> None:
    survives(name, Inbound(json.dumps(value).encode(), {"content-type": "application/json"}))


def slots(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    found = []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.append((value, key))
        found += slots(inner)
    return found


@pytest.mark.parametrize(
    "path", [path for path in BODIES if path.suffix == ".json"], ids=lambda path: f"{path.parents[1].name}-{path.stem}"
)
def test_every_field_of_every_fixture_replaced_by_something_odd(path: Path) -> None:
    text = path.read_text()
    for number in range(len(slots(json.loads(text)))):
        for odd in random.Random(number).sample(ODD, 6):
            body = json.loads(text)
            container, key = slots(body)[number]
            container[key] = odd
            survives(path.parents[1].name, Inbound(json.dumps(body).encode(), {"content-type": "application/json"}))


@pytest.mark.parametrize("path", BODIES, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_every_fixture_with_bytes_flipped_cut_and_doubled(path: Path) -> None:
    inbound, chance = inbound_of(path), random.Random(path.name)
    for _ in range(60):
        body = bytearray(inbound.body)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(body))
            match chance.randrange(4):
                case 0:
                    body[at] = chance.randrange(256)
                case 1:
                    del body[at : at + chance.randint(1, 40)]
                case 2:
                    body[at:at] = body[at : at + 30]
                case _:
                    body[at:at] = chance.choice(
                        [b"\xff", b"\x00", b'"', b"{", b"]", b"%zz", b"&", b"[", b"\r\n", b"\xed\xa0\x80"]
                    )
            if not body:
                break
        survives(path.parents[1].name, Inbound(bytes(body), inbound.headers))


@given(name=st.sampled_from(sorted(ALL)), path=st.sampled_from(BODIES), kind=st.sampled_from(KINDS))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_bodies_of_other_sources(name: str, path: Path, kind: str) -> None:
    survives(name, Inbound(path.read_bytes(), {"content-type": kind}))


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{}", b'""', b"NaN", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b'{"a":1,"a":2}',
        b'{"payload": NaN}', b'{"x":"\\ud800"}', b"a=1&" * 5000, b"a[b]=1&a=2&a[b][c]=3&a[]=4&[=5&]=6&a[b=7", b"%", b"&&&==",
        b"--b\r\n\r\n", b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--b--\r\n', b"--b--",
    ],
    ids=repr,
)  # fmt: skip
def test_known_horrors(name: str, body: bytes) -> None:
    for kind in KINDS:
        survives(name, Inbound(body, {"content-type": kind}))
