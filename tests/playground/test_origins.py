"""Which field gave each value: over the fixtures of every source, and for values that no field gives."""

import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import pytest

from app.config.settings import Settings
from app.errors import ConfigurationError
from app.intake.playground.bench import Asked, Playground
from app.intake.playground.leaves import Document
from app.intake.playground.mapping_text import mapping_of, read_mapping, to_toml
from app.intake.playground.trial import TrialFailed, try_edited
from app.ledger.recording.arrival import Policy
from app.model import Inbound
from app.sources.catalog import BUILT_IN, content_type_of

AT = datetime(2026, 4, 10, 12, tzinfo=UTC)
OF_THE_BODY = ("clickId", "email", "phone", "name", "amount", "currency", "invoiceId")
SHOP = """
[sources.shop]
kind = "sale"
signature = "none"
currency = "EUR"
[sources.shop.fields]
order_id = "= order.id"
amount = "= order.total"
email = "= order.email"
"""
URL = SHOP + 'page = "= page"\n'


@pytest.fixture
def playground(make_settings: "type[Settings]") -> Playground:
    settings: Settings = make_settings()
    return Playground(settings, [], Policy(settings.rules, []))


def fixtures() -> Iterator[tuple[str, Traversable]]:
    """A fixture of each source that is a conversion."""
    for name, (_, package) in sorted(BUILT_IN.items()):
        folder = files(package) / "fixtures"
        if not folder.is_dir():
            continue
        for file in sorted(folder.iterdir(), key=lambda one: one.name):
            expected = folder / f"{file.name.partition('.')[0]}.expected.json"
            if ".expected." in file.name or not expected.is_file():
                continue
            if json.loads(expected.read_text()).get("payload"):
                yield name, file
                break


def test_every_value_of_the_person_and_the_money_names_a_field_of_the_body(playground: Playground) -> None:
    seen, without = 0, []
    for source, file in fixtures():
        body = file.read_bytes()
        inbound = Inbound(body, {"content-type": content_type_of(file.name, body)})
        shown = playground.explain(Asked(source, inbound, AT))
        if shown["payload"] is None:
            continue  # its topic is in a header, which a fixture names elsewhere
        seen += 1
        leaves = {leaf.path for leaf in Document(inbound).leaves()[0]}
        for name in OF_THE_BODY:
            origin = shown["origins"].get(f"payload.{name}")
            if origin is not None and (origin["from"] != "field" or not leaves.issuperset(origin["fields"])):
                without.append((source, file.name, name, origin))
    assert seen > 30
    assert without == [("gumroad", "gift.form.txt", "currency", {"from": "default"})]  # the body has none: it is USD


def origins_of(playground: Playground, body: object, mapping: str = SHOP, **headers: str) -> dict[str, str]:
    """The origins of a Sale of an own source, as one text each."""
    inbound = Inbound(json.dumps(body).encode(), {"content-type": "application/json", **headers})
    shown = playground.explain(Asked("shop", inbound, AT, mapping))
    assert shown["outcome"] == "sale", shown["reason"]
    return {
        name.removeprefix("payload."): " + ".join([one["from"], *one.get("fields", [])])
        for name, one in shown["origins"].items()
    }


def test_a_value_that_no_field_gives_says_so(playground: Playground) -> None:
    order = {"id": "o1", "total": "49.00", "email": "a@example.com", "note": "x"}
    found = origins_of(playground, {"order": order, "page": "https://shop.example/?utm=1&clickId=clk_1"}, URL)
    assert found == {
        "dedupe_keys[0]": "field + order.id",
        "event": "default",
        "timestamp": "received",
        "clickId": "field + page ?clickId",
        "customerExternalId": "field + order.email",
        "email": "field + order.email",
        "currency": "constant + currency in [sources.shop]",
        "amount": "field + order.total",
        "invoiceId": "field + order.id",
        "orderId": "field + order.id",
    }


def test_several_fields_a_header_and_json_within_a_text_are_named(playground: Playground) -> None:
    mapping = SHOP.replace('"= order.total"', '"= sum(lines[].price)"').replace('"= order.id"', '"header:X-Order"')
    body = {"order": json.dumps({"email": "a@example.com"}), "lines": [{"price": 12}, {"price": 30.5}]}
    found = origins_of(playground, body, mapping, **{"x-order": "o7"})
    assert found["amount"] == "field + lines[0].price + lines[1].price"
    assert found["invoiceId"] == "field + header x-order"
    assert found["email"] == "field + order.email"


def test_an_id_made_of_all_bytes_is_not_that_of_one_field(playground: Playground) -> None:
    mapping = (
        '[sources.contact]\nsignature = "none"\nwithout_id = "bytes"\n[sources.contact.fields]\nsubmission_id = "id"'
    )
    body = json.dumps({"email": "a@example.com", "name": "Ada", "city": "London", "topic": "x"}).encode()
    shown = playground.explain(Asked("contact", Inbound(body, {}), AT, mapping))
    assert shown["outcome"] == "lead"
    assert shown["origins"]["dedupe_keys[0]"] == {"from": "body"}
    assert shown["origins"]["payload.email"] == {"from": "field", "fields": ["email"]}


def test_a_body_of_a_megabyte_is_tried_in_part_and_says_so(playground: Playground) -> None:
    order = {"id": "o1", "total": "49.00", "email": "a@example.com"}
    body = json.dumps({"order": order, "rows": [{"n": n, "text": "x" * 20} for n in range(20_000)]}).encode()
    assert len(body) > 900_000
    shown = playground.explain(Asked("shop", Inbound(body, {"content-type": "application/json"}), AT, SHOP))
    assert 0 < shown["tried"] < shown["fields"]
    assert shown["origins"]["payload.amount"] == {"from": "field", "fields": ["order.total"]}


def test_an_expression_that_grows_without_end_is_stopped(playground: Playground) -> None:
    grows = SHOP.replace("= order.id", "= `[[1]]`" + "|[@,@][]" * 58)
    edited = read_mapping(playground.settings, "shop", grows)
    with pytest.raises(TrialFailed, match=r"too much time or memory|too long"):
        try_edited(edited, [Inbound(b'{"order": {}}', {})])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[sources.shop", "not TOML"),
        ("a = " + "[" * 5000, "not TOML"),
        ("[destinations.x]\nurl = 'https://x.example'", "only .sources.NAME. and .attribution."),
        ("[sources.shop]\nkind = 'sale'", "sources.shop.fields.amount: a sale needs it"),
        ("[sources.shop.fields]\nemail = '= order.['", "sources.shop.fields.email: is not a jmespath"),
        ("[sources.other]\n", "sources.other: the source that is tried is shop"),
        (SHOP + "[attribution]\nclick_id = 7", "attribution.click_id"),
        ("", r"is empty: it needs \[sources.shop\] or \[attribution\]"),
        ("[attribution]\n", r"has no \[sources.shop\]"),
        ("sources = 3", "must be tables"),
        ("# " + "x" * 70_000, "longer than 64 KiB"),
    ],
)
def test_what_is_wrong_in_a_mapping_is_named(playground: Playground, text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        read_mapping(playground.settings, "shop", text)


def test_a_mapping_is_shown_as_the_toml_that_it_was_read_from(make_settings: "type[Settings]", tmp_path: Path) -> None:
    quoted = 'title = "a \\"b\\" \\\\ \\u007f ü"\n'
    text = (
        SHOP.replace('currency = "EUR"\n', f'currency = "EUR"\n{quoted}') + '[attribution]\nclick_id = ["ref", "x y"]\n'
    )
    (tmp_path / "bridge.toml").write_text(text + "[retention]\nbodies_days = 30\n")
    settings = make_settings(BRIDGE_CONFIG=str(tmp_path / "bridge.toml"))
    assert tomllib.loads(mapping_of(settings, "shop")) == tomllib.loads(text)
    assert tomllib.loads(to_toml({"a": {"b c": {"d": [1, 2.5, True, {"e": "f"}]}}})) == {
        "a": {"b c": {"d": [1, 2.5, True, {"e": "f"}]}}
    }
