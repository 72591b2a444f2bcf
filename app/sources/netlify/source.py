"""Netlify Forms.

Signing: https://docs.netlify.com/site-deploys/notifications/#payload-signature (a JWS, HS256, whose claims hold the body's
SHA-256). Payload: https://docs.netlify.com/forms/notifications/
"""

import base64
import binascii
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
from app.sources.forms.generic_form import fields_from, page_parameters
from app.sources.outcomes import lead, parked
from app.sources.parse import from_iso, identifier_of, json_object, parse_json, text_of
from app.sources.signatures import header_of, key_of
from app.sources.submission import Contact, Field, Submission, title_of
from app.sources.webhook import Webhook

NAME = "netlify"
HEADER = "X-Webhook-Signature"
EMPTY_FORM = {"ip", "user_agent", "referrer"}


class Scheme:
    """header.claims.signature, base64url each; only HS256 is taken, whatever the token asks for."""

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        token = header_of(inbound.headers, HEADER)
        signed, _, signature = token.rpartition(".")
        head, _, claims = signed.partition(".")
        if _decoded(head).get("alg") != "HS256":
            raise SignatureError("the token is not signed with HS256")
        given = signature.encode("utf-8", "backslashreplace")
        content = signed.encode("utf-8", "backslashreplace")
        if not any(hmac.compare_digest(_signature(secret, content), given) for secret in secrets):
            raise SignatureError("the token was not signed with any configured secret")
        stated = _decoded(claims)
        if stated.get("iss") != "netlify":
            raise SignatureError("the token's issuer is not netlify")
        digest = text_of(stated.get("sha256")) or ""
        if not hmac.compare_digest(hashlib.sha256(inbound.body).hexdigest().encode(), digest.lower().encode()):
            raise SignatureError("the token is of another body")

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        claims = {"iss": "netlify", "sha256": hashlib.sha256(body).hexdigest()}
        parts = [json.dumps(part, separators=(",", ":")).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
        content = b".".join(_encoded(part) for part in parts)
        return {HEADER: (content + b"." + _signature(secret, content)).decode()}


def _encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def _signature(secret: str, content: bytes) -> bytes:
    return _encoded(hmac.digest(key_of(secret), content, "sha256"))


def _decoded(part: str) -> dict[str, Any]:
    try:
        return dict_of(parse_json(base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)))
    except (binascii.Error, ValueError, MalformedEvent):
        raise SignatureError("the signature is no readable token") from None


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
        return parked(NAME, view, rules, "it has no data, which holds the answers")
    if not view.submission_id:
        return parked(NAME, view, rules, "it has no id, so it could not be counted once")
    return lead(NAME, view, rules)


def _fields(submission: dict[str, Any], data: dict[str, Any]) -> Iterator[Field]:
    titles = {
        name: text_of(one.get("title")) or ""
        for one in map(dict_of, list_of(submission.get("ordered_human_fields")))
        if (name := text_of(one.get("name")))
    }
    for one in fields_from(data, skip=frozenset(EMPTY_FORM)):
        yield Field(id=one.id, key=one.key, label=titles.get(one.id, ""), type=one.type, value=one.value)


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

SOURCE = Webhook(NAME, "Netlify Forms", Scheme(), read, vectors=VECTORS)
