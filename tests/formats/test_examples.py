"""The example of every source, in every format, passes that format's own check."""

from datetime import UTC, datetime

import pytest

from app.intake.dry_run import facts_of
from app.model import Facts, Inbound, Rules
from app.sources.catalog import SOURCES, example, has_example
from tests.support.formats import FORMATS, ready

NOW = datetime(2026, 4, 10, 12, 0, tzinfo=UTC)
RULES = Rules(accept_test_events=True)


def conversions() -> dict[str, Facts]:
    found = {}
    for name, source in SOURCES.items():
        if has_example(name):
            body, content_type = example(name)
            mapped = source.map(Inbound(body, {"content-type": content_type}), RULES)
            facts = facts_of(mapped, NOW, RULES, name) if mapped.outcome in ("sale", "lead") else None
            if facts is not None:
                found[name] = facts
    return found


CONVERSIONS = conversions()


def test_most_sources_have_an_example_that_is_a_conversion() -> None:
    assert len(CONVERSIONS) > 25
    assert {facts.kind for facts in CONVERSIONS.values()} == {"sale", "lead"}


@pytest.mark.parametrize("name", FORMATS)
def test_every_example_is_a_body_that_its_destination_accepts(name: str) -> None:
    wire = ready(name)
    for source, facts in CONVERSIONS.items():
        if facts.kind in wire.kinds:
            body = wire.body(facts)
            assert wire.problem(facts.kind, body.fields) is None, source
            assert body.omitted == (), source
