"""Whatever JSON is signed, mapping it is an outcome or MalformedEvent: an authentic event is never a crash."""

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import MalformedEvent
from app.model import Inbound, Mapped, Rules
from app.sources.stripe.source import MAPPERS, SOURCE

FOLDER = Path(__file__).parents[2] / "app" / "sources" / "stripe" / "fixtures"
BODIES = [json.loads(p.read_bytes()) for p in sorted(FOLDER.glob("*.json")) if not p.name.endswith(".expected.json")]
ANYTHING_COUNTS = frozenset({"checkout", "invoice", "payment_intent", "charge"})
RULES = (
    Rules(),
    Rules(sale_events=ANYTHING_COUNTS, net_of_tax=True, accept_test_events=True),
    Rules(sale_events=frozenset({"payment_intent"}), accept_test_events=True),
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""The first draw builds hypothesis's tables of characters, which takes it a second."""

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 10**15, 10**16, 10**400, 2**63, 0.5, -0.0, 1e308]),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(
        [
            "",
            " ",
            "null",
            "\x00",
            "\ud800",
            "😀",
            "in_",
            "x" * 5000,
            "usd",
            "a@b.co",
            "paid",
            "manual",
            "clk_",
            "in_1:2",
        ]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def paths_of(value: Any, so_far: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a JSON value, itself aside."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = []
    for name, child in children:
        found += [(*so_far, name), *paths_of(child, (*so_far, name))]
    return found


PATHS = [paths_of(body) for body in BODIES]


def check(mapped: Mapped) -> None:
    """What holds for every Mapped, whatever it was made of."""
    assert mapped.reason
    assert (mapped.outcome == "sale") == (mapped.sale is not None)
    assert (mapped.outcome == "lead") == (mapped.lead is not None)
    assert len(set(mapped.keys)) == len(mapped.keys)
    if mapped.sale is not None:
        assert mapped.sale.money.minor > 0
        assert mapped.sale.invoice_id == mapped.keys[0]
        assert not mapped.sale.invoice_id.endswith(":first")
    if mapped.occurred_at is not None:
        assert mapped.occurred_at.tzinfo is not None


def map_value(value: object) -> None:
    inbound = Inbound(json.dumps(value).encode(), {})
    for rules in RULES:
        with contextlib.suppress(MalformedEvent):
            check(SOURCE.map(inbound, rules))


@unhurried
@given(st.data())
def test_no_change_of_a_real_body_breaks_the_mapping(data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(BODIES) - 1))
    body = copy.deepcopy(BODIES[position])
    for path in data.draw(st.lists(st.sampled_from(PATHS[position]), min_size=1, max_size=6)):
        holder = body
        try:
            for name in path[:-1]:
                holder = holder[name]
            if data.draw(st.booleans()):
                holder[path[-1]] = data.draw(values)
            else:
                del holder[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    map_value(body)


FIELDS = sorted({path[-1] for paths in PATHS for path in paths if isinstance(path[-1], str)})


@unhurried
@given(
    event_type=st.sampled_from(sorted(MAPPERS)),
    thing=st.dictionaries(
        st.sampled_from(FIELDS), values | st.dictionaries(st.sampled_from(FIELDS), values, max_size=5), max_size=25
    ),
)
def test_no_object_of_known_fields_and_any_values_breaks_the_mapping(event_type: str, thing: dict[str, Any]) -> None:
    map_value({"id": "evt_1", "type": event_type, "created": 1, "data": {"object": thing}})


@unhurried
@given(
    values
    | st.dictionaries(st.sampled_from(["id", "type", "object", "data", "livemode", "account", "created"]), values)
)
def test_no_json_at_all_breaks_the_mapping(value: object) -> None:
    map_value(value)


@unhurried
@given(st.binary(max_size=300))
def test_no_bytes_break_the_mapping(body: bytes) -> None:
    with contextlib.suppress(MalformedEvent):
        check(SOURCE.map(Inbound(body, {}), Rules()))
