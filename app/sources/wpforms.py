"""WPForms' Webhooks add-on: the admin chooses the keys, and JSON or form-encoded.

Signing and payload: https://wpforms.com/docs/how-to-install-and-use-the-webhooks-addon-with-wpforms/ and the add-on's source.
In the FORM format the signature is not of the bytes on the wire but of their JSON encoding, so that is rebuilt.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.errors import MalformedEvent, SignatureError
from app.model import Inbound, Mapped, Rules
from app.sources.bodies import form_pairs, nested, read_body
from app.sources.flat import fields_from, get, page_parameters
from app.sources.reading import body_hash, from_iso, identifier_of
from app.sources.signatures import HmacScheme
from app.sources.view import View, lead, parked, title_of
from app.sources.webhook import Webhook

NAME = "wpforms"


class Scheme:
    hmac = HmacScheme(header="X-WPForms-Webhook-Signature", pairs=("t", "v"), template="{t}.{body}")

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        try:
            self.hmac.verify(inbound, secrets, now)
        except SignatureError:
            if not inbound.content_type.casefold().startswith("application/x-www-form-urlencoded"):
                raise
            try:
                pairs = form_pairs(inbound.body)
            except MalformedEvent:
                raise SignatureError("the body is no form, so its signature cannot be checked") from None
            try:
                self.hmac.verify(replace(inbound, body=json_of_form(nested(pairs))), secrets, now)
            except SignatureError:  # a key like fields[name] may have been a name with brackets, or a list of lists
                self.hmac.verify(replace(inbound, body=json_of_form(dict(pairs))), secrets, now)

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        return self.hmac.sign(body, secret, now, url=url)


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
    raw = read_body(inbound)
    view = View(
        event="submission",
        submission_id=identifier_of(get(raw, "entry_id", "entryid", "submission_id")) or body_hash(inbound.body),
        body=inbound.body,
        occurred_at=from_iso(get(raw, "entry_date", "date_created", "submitted_at", "created_at")),
        fields=fields_from(raw),
        page=page_parameters(get(raw, "page_url", "url_referer")),
        form=title_of(get(raw, "form_name", "form_title"), get(raw, "form_id")),
    )
    if not raw:
        return parked(NAME, view, rules, "it holds no fields: choose some under Request Body")
    return lead(NAME, view, rules)


SOURCE = Webhook(NAME, "WPForms", Scheme(), read)
