"""The services' own libraries accept every example and fixture of every source, as each format sends it."""

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from cutmeshort.models.lead_payload import LeadPayload
from cutmeshort.models.sale_payload import SalePayload
from dub.models.operations import TrackLeadRequestBody, TrackSaleRequestBody
from facebook_business.adobjects.serverside.action_source import ActionSource
from facebook_business.adobjects.serverside.content import Content
from facebook_business.adobjects.serverside.custom_data import CustomData
from facebook_business.adobjects.serverside.event import Event
from facebook_business.adobjects.serverside.user_data import UserData
from google.ads.datamanager_v1 import IngestEventsRequest
from google.protobuf import json_format
from tolt.transactions.client import TransactionsClient

from app.model import Facts
from tests.support.conversions import conversions
from tests.support.formats import LEAD, REFUND, SALE, ready


def sent(name: str) -> Iterator[tuple[str, Facts, dict[str, Any]]]:
    """Every conversion with the body in this format. Each has an address and click ids of every kind."""
    wire = ready(name)
    for where, facts in {**conversions(), "full/sale": SALE, "full/lead": LEAD, "full/refund": REFUND}.items():
        if facts.kind in wire.kinds:
            whole = replace(facts, clicks=SALE.clicks, email=facts.email or "Ada@Example.com")
            yield where, whole, wire.body(whole).fields


def by_alias(model: Any) -> dict[str, Any]:
    """What was given, without the fields that their serializer adds as null."""
    dumped = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
    return {key: value for key, value in dumped.items() if value is not None}


def test_dub_s_library_takes_them() -> None:
    for where, facts, body in sent("dub"):
        model = TrackSaleRequestBody if facts.kind == "sale" else TrackLeadRequestBody
        assert by_alias(model.model_validate(body)) == body, where


def test_cutmeshort_s_library_takes_them() -> None:
    for where, facts, body in sent("track"):
        model = SalePayload if facts.kind == "sale" else LeadPayload
        found = model.model_validate(body)
        assert {name: value for name, value in found.to_dict().items() if name != "timestamp"} == {
            name: value for name, value in body.items() if name != "timestamp"
        }, where
        assert found.timestamp == datetime.fromisoformat(body["timestamp"])


def test_meta_s_library_makes_the_same_request() -> None:
    hashed = 0
    for where, facts, body in sent("meta"):
        (event,) = body["data"]
        phone = facts.phone if (facts.phone or "").startswith("+") else None
        clicks = {name: seen.value for name, seen in facts.clicks.items()}
        fbc = f"fb.1.{facts.clicks['fbclid'].at}.{clicks['fbclid']}"
        user = UserData(email=facts.email, phone=phone, external_id=facts.customer_id, fbc=fbc, fbp=clicks["fbp"])
        theirs = Event(
            event_name=event["event_name"],
            event_time=int(facts.occurred_at.timestamp()),
            event_id=facts.sale.invoice_id if facts.sale else facts.lead and facts.lead.lead_id,
            action_source=ActionSource.SYSTEM_GENERATED,
            user_data=user,
            custom_data=_custom_data(facts),
        ).normalize()
        assert _plain(theirs) == _plain(event), where
        hashed += "ph" in event["user_data"]
    assert hashed > 20


def _custom_data(facts: Facts) -> CustomData | None:
    if facts.sale is None:
        form = facts.lead and str(facts.lead.metadata.get("form") or "").strip()
        return CustomData(content_name=form) if form else None
    contents = [Content(product_id=one.id, quantity=one.quantity) for one in facts.sale.products if one.id]
    return CustomData(
        value=float(facts.sale.money.major),
        currency=facts.sale.money.currency,
        order_id=facts.sale.invoice_id,
        content_type="product" if contents else None,
        contents=contents or None,
    )


def _plain(event: Mapping[str, Any]) -> dict[str, Any]:
    """Without what their library adds for itself; currencies in one case, and contents by their ids alone."""
    custom = dict(event.get("custom_data") or {})
    if "currency" in custom:
        custom["currency"] = custom["currency"].upper()
    if "contents" in custom:
        custom["contents"] = [{name: one[name] for name in one if one[name]} for one in custom["contents"]]
    user = {name: value for name, value in event["user_data"].items() if value}
    names = ("event_name", "event_time", "event_id", "action_source")
    return {**{name: event[name] for name in names}, "user_data": user, "custom_data": custom}


def test_google_s_library_parses_the_request() -> None:
    for where, facts, body in sent("google"):
        parsed = json_format.ParseDict(body, IngestEventsRequest.pb(IngestEventsRequest()))
        (event,) = parsed.events
        assert event.event_timestamp.ToMilliseconds() == int(facts.occurred_at.timestamp() * 1000), where
        assert event.ad_identifiers.gclid == "gclid_1"
        assert json_format.MessageToDict(parsed)["encoding"] == "HEX"
        if facts.refund:
            assert (event.conversion_value, event.transaction_id) == (149, "in_1")
        elif facts.sale:
            assert event.conversion_value == pytest.approx(float(facts.sale.money.major))
        plain = (facts.email or "").strip().lower()
        if not plain.endswith(("gmail.com", "googlemail.com")):
            assert event.user_data.user_identifiers[0].email_address == hashlib.sha256(plain.encode()).hexdigest()


def test_tolt_s_library_knows_every_field() -> None:
    known = set(inspect.signature(TransactionsClient.create).parameters)
    for where, _, body in sent("tolt"):
        assert set(body) <= known, where
        assert isinstance(body["amount"], int)
        assert datetime.fromisoformat(body["created_at"]).tzinfo is not None
        assert {"amount", "customer_id", "charge_id"} <= set(body)
