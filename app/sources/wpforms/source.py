"""WPForms' Webhooks add-on: the admin chooses the keys, and JSON or form-encoded.

Signing and payload: https://wpforms.com/docs/how-to-install-and-use-the-webhooks-addon-with-wpforms/ and the add-on's source.
In the FORM format the signature is not of the bytes on the wire but of their JSON encoding, so that is rebuilt.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.errors import MalformedEvent, SignatureError
from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import form_pairs, nested_once, read_body
from app.sources.forms.generic_form import fields_from, get
from app.sources.outcomes import lead, parked
from app.sources.parse import body_hash, from_iso, identifier_of, json_object, page_parameters
from app.sources.set_up import SetUp
from app.sources.signatures import HmacScheme
from app.sources.submission import Submission, title_of
from app.sources.webhook import Webhook

NAME = "wpforms"
REDELIVER = "WPForms neither retries nor resends a request."


LARGEST_FORM = 256 * 1024
"""Of the FORM format, which must be read before it can be verified."""


class Scheme:
    hmac = HmacScheme(header="X-WPForms-Webhook-Signature", pairs=("t", "v"), template="{t}.{body}")

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        try:
            self.hmac.verify(inbound, secrets, now)
        except SignatureError as error:
            if error.reason != "wrong" or not _is_form(inbound):
                raise
            if len(inbound.body) > LARGEST_FORM:
                raise SignatureError(
                    "the form is too large for its signature to be checked: let WPForms send JSON"
                ) from None
            for signed in _readings(inbound.body):
                with suppress(SignatureError):
                    self.hmac.verify(replace(inbound, body=json_of_form(signed)), secrets, now)
                    return
            raise

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        return self.hmac.sign(body, secret, now, url=url)


def _is_form(inbound: Inbound) -> bool:
    kind = inbound.content_type.partition(";")[0].strip().casefold()
    return kind == "application/x-www-form-urlencoded" and inbound.body.lstrip()[:1] not in (b"{", b"[")


def _readings(body: bytes) -> Iterator[dict[str, Any]]:
    """What the form may have been before it was encoded. Each of these belongs to one form alone, so that a signature of one
    proves no other: a field that comes twice could hide behind the other one, and there is no reading of it."""
    try:
        pairs = form_pairs(body)
    except MalformedEvent:
        return
    with suppress(MalformedEvent):
        yield nested_once(pairs)
    if len(flat := dict(pairs)) == len(pairs):
        yield flat  # a key like fields[name] may have been a name with brackets


def json_of_form(fields: Mapping[str, Any]) -> bytes:
    """The form as PHP's json_encode writes it: slashes escaped, ASCII only, arrays where the keys are 0, 1, 2…"""
    text = json.dumps(_as_php(fields), separators=(",", ":"))
    return text.replace("/", "\\/").encode()


def _as_php(value: Any) -> Any:
    if isinstance(value, dict):
        items = {key: _as_php(item) for key, item in value.items()}
        return list(items.values()) if list(items) == [str(number) for number in range(len(items))] else items
    return value


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw, body = _content(inbound)
    view = Submission(
        event="submission",
        submission_id=identifier_of(get(raw, "entry_id", "entryid", "submission_id")) or body_hash(body),
        body=body,
        occurred_at=from_iso(get(raw, "entry_date", "date_created", "submitted_at", "created_at")),
        fields=fields_from(raw),
        page=page_parameters(get(raw, "page_url", "url_referer")),
        form=title_of(get(raw, "form_name", "form_title"), get(raw, "form_id")),
    )
    if not raw:
        return parked(NAME, view, rules, "it holds no fields: choose some under Request Body", lacks=("person",))
    return lead(NAME, view, rules)


def _content(inbound: Inbound) -> tuple[dict[str, Any], bytes]:
    """The fields, and the bytes that stand for them: of a form its JSON, which is what was signed. The form itself could be
    encoded in other ways under the same signature, and each would look like another submission."""
    if not _is_form(inbound):
        is_json = inbound.body.lstrip()[:1] in (b"{", b"[")
        return json_object(inbound.body) if is_json else read_body(inbound), inbound.body
    reading = next(_readings(inbound.body), None)
    if reading is None:
        return read_body(inbound), inbound.body
    return {key: _as_php(value) for key, value in reading.items()}, json_of_form(reading)


VECTORS = (
    Vector(
        body=b"name=Ada&page=https%3A%2F%2Fx.example%2F",
        headers={
            "content-type": "application/x-www-form-urlencoded",
            "x-wpforms-webhook-signature": "t=1700000000,v=1774afc0a1ac7644f14219638b8c3e0ddc24d4db6d2f92498c422fafe3c3d163",
        },
        secret="wpforms-vector-secret",  # noqa: S106 (of the vector)
        origin="formula: source of the WPForms Webhooks add-on, computed with openssl",
        at=1700000000,
    ),
)

SOURCE = Webhook(NAME, "WPForms", Scheme(), read, vectors=VECTORS, set_up=SetUp(redeliver=REDELIVER))
