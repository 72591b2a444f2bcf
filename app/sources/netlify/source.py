"""Netlify Forms.

Signing: https://docs.netlify.com/site-deploys/notifications/#payload-signature (a JWS, HS256, whose claims hold the body's
SHA-256). Payload: https://docs.netlify.com/forms/notifications/
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from app.errors import MalformedEvent, SignatureError
from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import dict_of, list_of
from app.sources.forms.generic_form import fields_from
from app.sources.outcomes import lead, parked
from app.sources.parse import from_iso, identifier_of, json_object, page_parameters, parse_json, text_of
from app.sources.set_up import SetUp
from app.sources.signatures import header_of
from app.sources.submission import Contact, Field, Submission, title_of
from app.sources.webhook import Webhook

NAME = "netlify"
HEADER = "X-Webhook-Signature"
EMPTY_FORM = {"ip", "user_agent", "referrer"}


class Scheme:
    """header.claims.signature, base64url each; only HS256 is taken, whatever the token asks for."""

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        token = header_of(inbound.headers, HEADER)
        digest = text_of(_claims(token, secrets).get("sha256")) or ""
        if not hmac.compare_digest(hashlib.sha256(inbound.body).hexdigest().encode(), digest.lower().encode()):
            raise SignatureError("the token is of another body")

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        from app.sources.netlify import jws

        claims = {"iss": "netlify", "sha256": hashlib.sha256(body).hexdigest()}
        return {HEADER: jws.sign(json.dumps(claims).encode(), secret)}


def _claims(token: str, secrets: Sequence[str]) -> dict[str, Any]:
    """What a token says that one of `secrets` signed. Raises SignatureError."""
    from app.sources.netlify import jws

    for secret in secrets:
        content = jws.read(token, secret)
        if content is None:
            continue
        try:
            claims = dict_of(parse_json(content))
        except MalformedEvent:
            raise SignatureError(jws.UNREADABLE) from None
        if claims.get("iss") != "netlify":
            raise SignatureError("the token's issuer is not netlify")
        return claims
    raise SignatureError("the token was not signed with any configured secret")


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    submission = dict_of(raw.get("payload")) or raw  # functions get it wrapped: {"payload": …, "site": …}
    data = dict_of(submission.get("data"))
    view = Submission(
        event="submission",
        submission_id=identifier_of(submission.get("id")),
        body=inbound.body,
        occurred_at=from_iso(submission.get("created_at")),
        fields=tuple(_fields(submission, data)),
        hidden=data,
        page=page_parameters(data.get("referrer")),
        contact=Contact(email=submission.get("email")),
        fallback=Contact(
            name=submission.get("name"), first=submission.get("first_name"), last=submission.get("last_name")
        ),
        form=title_of(submission.get("form_name"), submission.get("form_id")),
    )
    if not data:
        return parked(NAME, view, rules, "it has no data, which holds the answers", lacks=("person",))
    if not view.submission_id:
        return parked(NAME, view, rules, "it has no id, so it could not be counted once", lacks=("id",))
    return lead(NAME, view, rules)


def _fields(submission: dict[str, Any], data: dict[str, Any]) -> Iterator[Field]:
    titles = {
        name: text_of(field.get("title")) or ""
        for field in map(dict_of, list_of(submission.get("ordered_human_fields")))
        if (name := text_of(field.get("name")))
    }
    for field in fields_from(data, skip=frozenset(EMPTY_FORM)):
        yield Field(id=field.id, key=field.key, label=titles.get(field.id, ""), type=field.type, value=field.value)


VECTORS = (
    Vector(
        body=b'{"id":"1","data":{"email":"ada@example.com"}}',
        headers={
            "x-webhook-signature": (
                "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJuZXRsaWZ5Iiwic2hhMjU2IjoiMzA5NzE4NmEyZTVkY"
                "mE1NGU1YTU2ZDgyYWM0YmJhZTg0ZDg5ZTJhZGUzZmZkZWQ2NGJmMTE1YTE5MDhlNjYyYiJ9.u_zbL9N5iFy363BNhr"
                "KnnNhW9xEBunl0QFIodCBWmTA"
            )
        },
        secret="netlify-vector-secret",  # noqa: S106 (of the vector)
        origin="library: PyPI PyJWT 2.15.1, by https://docs.netlify.com/site-deploys/notifications/#payload-signature",
        at=1700000000,
    ),
)

SOURCE = Webhook(
    NAME,
    "Netlify Forms",
    Scheme(),
    read,
    vectors=VECTORS,
    set_up=SetUp(is_secret_chosen=True),
)
