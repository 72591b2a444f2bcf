"""The steps that connect a source: one page of documentation, found for every source, with the bridge's own URLs."""

import re
from pathlib import Path

import pytest

import app.setup
from app.setup.generated import generated_secret
from app.setup.guide import sections_of, steps_for
from app.sources.catalog import SOURCES
from app.sources.custom import build
from app.sources.set_up import set_up_of

ROOT = Path(__file__).parents[2]
BASE = "https://bridge.example.net"


def test_the_page_is_written_once() -> None:
    shipped = Path(app.setup.__file__).parent / "sources.md"
    assert shipped.resolve() == ROOT / "docs" / "sources.md"


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_source_has_steps_with_its_url_and_its_variable(name: str) -> None:
    source = SOURCES[name]
    steps = steps_for(source, BASE)
    assert steps
    assert "PUBLIC_URL/" not in steps
    assert "bridge.example.com" not in steps
    assert "](#" not in steps
    assert f"{name.upper()}_WEBHOOK_SECRET" in steps or f"{name.upper()}_PATH_TOKEN" in steps
    for other in re.findall(r"/webhooks/([a-z0-9]+)", steps):
        assert other == name
    if f"{BASE}/webhooks/" not in steps:
        assert steps.startswith("- Where:"), "only a row of the table of presets says no URL"


def test_a_section_ends_at_the_next_heading_that_is_not_below_it_and_code_is_no_heading() -> None:
    found = sections_of("# T\n## A\na\n```\n## code\n```\n### B\nb\n## C\nc\n")
    assert found == {"A": "a\n```\n## code\n```\n### B\nb", "B": "b", "C": "c"}


def test_a_secret_is_generated_where_the_operator_chooses_it_and_in_the_form_that_the_source_takes() -> None:
    for name, source in SOURCES.items():
        secret = generated_secret(source)
        chosen = not source.signed or set_up_of(source).is_secret_chosen
        assert (secret is not None) == chosen, name
        assert secret is None or (len(secret) >= 32 and secret != generated_secret(source))
    assert (generated_secret(SOURCES["chargebee"]) or "").startswith("bridge:")
    table = {
        "kind": "lead",
        "signature": {
            "header": "webhook-signature",
            "versions": True,
            "template": "{id}.{t}.{body}",
            "id_header": "webhook-id",
            "timestamp_header": "webhook-timestamp",
            "encoding": "base64",
            "secret_encoding": "whsec",
        },
    }
    assert (generated_secret(build("own", table)) or "").startswith("whsec_")
