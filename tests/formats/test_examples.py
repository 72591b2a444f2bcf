"""The examples and fixtures of every source, in every format, pass that format's own check."""

from dataclasses import replace

import pytest
from pydantic_core import to_json

from tests.support.conversions import conversions
from tests.support.formats import FORMATS, SALE, ready


def test_most_sources_have_examples_that_are_conversions() -> None:
    assert len(conversions()) > 100
    assert {facts.kind for facts in conversions().values()} == {"sale", "lead"}


@pytest.mark.parametrize("name", FORMATS)
def test_every_example_is_a_body_that_its_destination_accepts(name: str) -> None:
    wire = ready(name)
    for where, facts in conversions().items():
        if facts.kind not in wire.kinds:
            continue
        for whole in (facts, replace(facts, clicks=SALE.clicks, email=facts.email or "ada@example.com")):
            body = wire.body(whole)
            held = wire.not_sent(facts.kind, to_json(body.fields).decode())
            assert held is None or (held.result == "unattributed" and whole is facts), where
            assert held or wire.problem(facts.kind, body.fields) is None, where
            assert body.omitted == (), where
