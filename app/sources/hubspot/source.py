"""HubSpot: "Send a webhook" of a workflow. The thin CRM events of app webhooks name nobody and are ignored.

Signing: https://developers.hubspot.com/docs/apps/developer-platform/build-apps/authentication/request-validation
(v3 over method, URL, body and time; v2 a bare hash of secret, method, URL and body; v1 of secret and body). The URL is the
one HubSpot called, so PUBLIC_URL must be right.
Payload: https://knowledge.hubspot.com/workflows/how-do-i-use-webhooks-with-hubspot-workflows
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.errors import MalformedEvent, SignatureError
from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of, list_of
from app.sources.forms.generic_form import fields_from, get
from app.sources.outcomes import ignored, lead, parked
from app.sources.parse import (
    body_hash,
    from_unix,
    from_unix_or_iso,
    identifier_of,
    page_parameters,
    parse_json,
    text_of,
)
from app.sources.signatures import NO_PUBLIC_URL, HmacScheme, header_of
from app.sources.submission import Contact, Submission, title_of
from app.sources.webhook import Webhook

NAME = "hubspot"
V3 = HmacScheme(
    header="X-HubSpot-Signature-v3",
    encoding="base64",
    template="{method}{url}{body}{t}",
    timestamp_header="X-HubSpot-Request-Timestamp",
    timestamp_unit="ms",
)
DECODED_IN_V3 = re.compile("%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.I)


class Scheme:
    """v3 where the request carries it, else v2 or v1 by X-HubSpot-Signature-Version."""

    signs_url = True

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        if inbound.headers.get(V3.header.lower()):
            V3.verify(replace(inbound, url=_decoded(inbound.url)), secrets, now)
            return
        signature = header_of(inbound.headers, "X-HubSpot-Signature").casefold().encode("utf-8", "backslashreplace")
        version = inbound.headers.get("x-hubspot-signature-version", "v1").strip().casefold()
        if version == "v2":
            if not inbound.url:
                raise SignatureError(NO_PUBLIC_URL)
            content = f"POST{inbound.url}".encode() + inbound.body
        elif version == "v1":
            content = inbound.body
        else:
            raise SignatureError("the signature's version is not known")
        if not any(hmac.compare_digest(_hash(secret, content), signature) for secret in secrets):
            raise SignatureError("the signature is not of this body and any configured secret")

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        return V3.sign(body, secret, now, url=_decoded(url))


def _hash(secret: str, content: bytes) -> bytes:
    return hashlib.sha256(secret.encode() + content).hexdigest().encode()


def _decoded(url: str) -> str:
    """v3 signs the URL with these characters decoded, and no others."""
    return DECODED_IN_V3.sub(lambda match: chr(int(match[1], 16)), url)


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = parse_json(inbound.body)
    if isinstance(raw, list):
        view = Submission(event=_first_type(raw), submission_id=None, body=inbound.body)
        return ignored(view, "CRM events name nobody: send a workflow's webhook instead", rules)
    if not isinstance(raw, dict):
        raise MalformedEvent("the body is neither an object nor a list")
    if "subscriptionType" in raw:
        view = Submission(event=_first_type([raw]), submission_id=None, body=inbound.body)
        return ignored(view, "CRM events name nobody: send a workflow's webhook instead", rules)
    return _contact(inbound, rules, raw)


def _first_type(events: list[Any]) -> str:
    return text_of(dict_of(events[0] if events else None).get("subscriptionType")) or "events"


def _contact(inbound: Inbound, rules: Rules, raw: dict[str, Any]) -> Mapped:
    """A contact with properties (either as {"value": …} or plain), or the flat object of "Customize request body"."""
    raw = _without_owner(raw)
    properties = {name: _value(value) for name, value in _without_owner(dict_of(raw.get("properties"))).items()}
    known = properties or raw
    submissions = [submission for submission in map(dict_of, list_of(raw.get("form-submissions"))) if submission]
    newest = max(submissions, key=lambda submission: _time(submission.get("timestamp")) or 0.0, default={})
    moment = from_unix(newest.get("timestamp")) or from_unix_or_iso(get(known, "recent_conversion_date"))
    contact_id = identifier_of(get(raw, "vid", "canonical_vid", "hs_object_id", "objectid", "contact_id", "id")) or (
        identifier_of(get(known, "hs_object_id"))
    )
    conversion = identifier_of(newest.get("conversion-id")) or identifier_of(
        get(known, "conversion_id", "conversionid")
    )
    view = Submission(
        event="workflow",
        submission_id=conversion or _fallback_id(contact_id, moment, inbound.body),
        body=inbound.body,
        occurred_at=moment,
        fields=() if properties else fields_from(raw),
        hidden=properties,
        page=page_parameters(newest.get("page-url")),
        contact=Contact(
            email=get(known, "email"),
            first=get(known, "firstname"),
            last=get(known, "lastname"),
            phone=get(known, "phone") or get(known, "mobilephone"),
        ),
        fallback=Contact(email=_identity(raw)),
        form=title_of(newest.get("title"), get(known, "recent_conversion_event_name"), newest.get("form-id")),
        account=identifier_of(get(raw, "portal_id", "portalid")),
    )
    if not known:
        return parked(NAME, view, rules, "the body is empty: it has neither properties nor fields")
    return lead(NAME, view, rules, reason="a workflow sent a contact")


def _without_owner(values: dict[str, Any]) -> dict[str, Any]:
    """hubspot_owner_email and its like speak of the salesperson, who is not the lead."""
    return {name: value for name, value in values.items() if not name.startswith("hubspot_owner")}


def _value(value: Any) -> Any:
    return value.get("value") if isinstance(value, dict) else value


def _time(value: Any) -> float | None:
    moment = from_unix(value)
    return moment.timestamp() if moment else None


def _fallback_id(contact_id: str | None, moment: datetime | None, body: bytes) -> str:
    """Without a conversion's id, the contact and the time it was submitted; without that time, the body itself."""
    if contact_id and moment and len(contact_id) < 200:
        return f"{contact_id}-{int(moment.timestamp() * 1000)}"
    return body_hash(body)


def _identity(raw: Mapping[str, Any]) -> Any:
    for profile in map(dict_of, list_of(raw.get("identity-profiles"))):
        for identity in map(dict_of, list_of(profile.get("identities"))):
            if identity.get("type") == "EMAIL":
                return identity.get("value")
    return None


VECTORS = (
    Vector(
        body=b"{'example_field':'example_value'}",
        headers={
            "x-hubspot-request-timestamp": "1693657560000",
            "x-hubspot-signature-v3": "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=",
        },
        secret="yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",  # noqa: S106 (of the vector)
        origin="published: HubSpot/hubspot-api-python, tests of hubspot.utils.signature",
        at=1693657560,
        url="https://www.example.com/webhook_uri",
    ),
)

SOURCE = Webhook(NAME, "HubSpot", Scheme(), read, vectors=VECTORS)
