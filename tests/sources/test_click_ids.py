"""Click ids beside the main one, wherever a source carries ids."""

import re

import pytest

from app.model import Inbound, Rules
from app.sources.catalog import SOURCES
from app.sources.click_ids import clicks_in
from tests.sources.test_fixtures import FIXTURES, inbound_of

NAMES = re.compile(rb"cms_click_id|dub_click_id|dubClickId|dub_id|cms_rf|click[ _-]?id(?!_)", re.IGNORECASE)
CONFIGURED = Rules(clicks=(("twclid", ("twclid", "twitter_click")), ("gclid", ("adwords",))))


def test_every_source_reads_them_wherever_it_reads_the_main_click_id() -> None:
    """Each fixture with a click id, its field renamed to gclid."""
    read = set()
    for path in sorted(FIXTURES.glob("*/fixtures/*")):
        if ".expected." in path.name or path.suffix not in (".json", ".txt"):
            continue
        source, inbound = SOURCES[path.parents[1].name], inbound_of(path)
        click, renamed = source.map(inbound, Rules()).who.click_id, NAMES.sub(b"gclid", inbound.body)
        if click is None or renamed == inbound.body or path.name == "checkout_click_prefix_is_cut.json":
            continue
        who = source.map(Inbound(renamed, inbound.headers), Rules()).who
        if who.click_id is None:
            assert who.clicks == {"gclid": NAMES.sub(b"gclid", click.encode()).decode()}, path
            read.add(source.name)
    assert read == set(SOURCES) - {"surveymonkey"}  # whose webhook has no answers


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"_ga": "GA1.1.1234.5678"}, {"ga_client_id": "1234.5678"}),
        ({"ga_client_id": "GA1.2-2.1234.5678", "_ga": "GA1.1.1.2"}, {"ga_client_id": "1234.5678"}),
        ({"ga_client_id": "1234.5678"}, {"ga_client_id": "1234.5678"}),
        ({"ga": "yes", "_ga": "undefined"}, {}),
        ({"_fbp": "fb.1.1775800000123.99", "_fbc": "fb.1.1775800000123.IwAR1x"},
         {"fbp": "fb.1.1775800000123.99", "fbc": "fb.1.1775800000123.IwAR1x"}),
        ({"GCLID": "Cj0", "3. gclid:": "Other", "li_fat_id": "a-b", "msclkid": "m1"},
         {"gclid": "Cj0", "li_fat_id": "a-b", "msclkid": "m1"}),
        ({"ttclid": "E.C.P." + "x" * 500}, {"ttclid": "E.C.P." + "x" * 500}),
        ({"gclid": "{{gclid}}", "wbraid": "null", "gbraid": "gbraid", "fbclid": "a b", "ttclid": "x" * 1001}, {}),
    ],
)  # fmt: skip
def test_an_id_is_read_in_the_form_in_which_it_is_sent(fields: dict[str, str], expected: dict[str, str]) -> None:
    assert clicks_in(fields.items(), Rules()) == expected


def test_a_configured_list_adds_a_name_and_replaces_one() -> None:
    fields = {"twitter_click": "t2", "twclid": "t1", "gclid": "g1", "adwords": "g2"}
    assert clicks_in(fields.items(), CONFIGURED) == {"twclid": "t1", "gclid": "g2"}


@pytest.mark.parametrize(
    ("source", "body"),
    [
        ("stripe", '{"object":"event","id":"evt_1","type":"customer.updated","data":{"object":{"object":"customer","id":"cus_1",'
                   '"metadata":{"landing_page":"https://shop.example/?utm=1&gclid=G1&fbclid=F1","fbclid":"F2"}}}}'),
        ("tally", '{"eventType":"FORM_RESPONSE","data":{"submissionId":"s1","fields":[{"key":"k","label":"Landing page",'
                  '"type":"HIDDEN_FIELDS","value":"https://shop.example/?gclid=G1&fbclid=F1"},{"key":"k2","label":"fbclid",'
                  '"type":"INPUT_TEXT","value":"F2"}]}}'),
    ],
)  # fmt: skip
def test_parameters_of_urls_in_metadata_and_hidden_fields_are_read_after_fields(source: str, body: str) -> None:
    who = SOURCES[source].map(Inbound(body.encode(), {}), Rules()).who
    assert who.clicks == {"gclid": "G1", "fbclid": "F2"}
