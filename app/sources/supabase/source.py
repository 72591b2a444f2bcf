"""Supabase: sign-ups, by the Auth hook before-user-created or a Database webhook on INSERT into auth.users.

Signing: https://supabase.com/docs/guides/auth/auth-hooks (Standard Webhooks; secrets are "v1,whsec_…", several joined by |).
A Database webhook signs nothing, but sends the headers that it is set to: `Authorization: Bearer <secret>` is compared.
Payload: https://supabase.com/docs/guides/auth/auth-hooks/before-user-created-hook and
https://supabase.com/docs/guides/database/webhooks
"""

import hmac
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from app.errors import SignatureError
from app.model import Inbound, Mapped, Rules
from app.sources.bodies import dict_of
from app.sources.forms.generic_form import below
from app.sources.outcomes import ignored, parked, signed_up
from app.sources.parse import body_hash, from_iso, identifier_of, json_object
from app.sources.signatures import published_vector, standard_webhooks
from app.sources.submission import Contact, Submission, event_name_of
from app.sources.webhook import Webhook

NAME = "supabase"
SIGN_UPS = ("before-user-created", "after-user-created")


class Scheme:
    """Standard Webhooks for Auth hooks, a bearer token for Database webhooks; the same setting holds both kinds of secret."""

    hooks = standard_webhooks("webhook")

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        known = split_secrets(secrets)
        bearer = inbound.headers.get("authorization", "")
        if bearer and "webhook-signature" not in inbound.headers:
            self._verify_bearer(bearer, known)
            return
        self.hooks.verify(inbound, [secret for secret in known if secret.startswith("whsec_")], now)

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        first = next(iter(split_secrets([secret])), secret)
        if first.startswith("whsec_"):
            return self.hooks.sign(body, first, now, url=url)
        return {"authorization": f"Bearer {first}"}

    def _verify_bearer(self, header: str, known: Sequence[str]) -> None:
        presented = header.removeprefix("Bearer ").strip().encode("utf-8", "backslashreplace")
        if not any(hmac.compare_digest(presented, secret.encode()) for secret in known):
            raise SignatureError("the Authorization header holds none of the configured secrets")


def split_secrets(secrets: Sequence[str]) -> list[str]:
    """Supabase's own spelling is "v1,whsec_a|v1,whsec_b", and the comma of v1 is the separator of our settings as well:
    whichever way it was split, what is left are the bare whsec_ secrets and tokens."""
    parts = (part.strip() for part in re.split(r"[|,]", ",".join(secrets)))
    return [part for part in parts if part and part not in ("v1", "v1a")]


def read(inbound: Inbound, rules: Rules) -> Mapped:
    raw = json_object(inbound.body)
    if "table" in raw or "record" in raw:
        return _table(inbound, rules, raw)
    hook = dict_of(raw.get("metadata"))
    event = event_name_of(hook.get("name"))
    user = dict_of(raw.get("user"))
    view = _view(inbound, event, user, user.get("user_metadata"), identifier_of(hook.get("uuid")), hook.get("time"))
    if event and event not in SIGN_UPS:
        return ignored(view, f"{event} is not a sign-up", rules)
    if not event:
        return parked(NAME, view, rules, "it has no metadata.name", event_name="signed_up")
    return _sign_up(view, user, rules)


def _table(inbound: Inbound, rules: Rules, raw: dict[str, Any]) -> Mapped:
    operation, table = event_name_of(raw.get("type")), event_name_of(raw.get("table"))
    schema, user = event_name_of(raw.get("schema")), dict_of(raw.get("record"))
    event = f"{operation} {schema}.{table}"
    # a row is updated many times, at first without email_confirmed_at; a repeat of one update has the same bytes
    event_id = body_hash(inbound.body) if operation == "UPDATE" else None
    view = _view(inbound, event, user, user.get("raw_user_meta_data"), event_id, user.get("created_at"))
    if (operation, schema, table) == ("UPDATE", "auth", "users") and _became_permanent(raw, user):
        moment = from_iso(user.get("updated_at"))  # else when it was received: created_at is of the anonymous visitor
        return _sign_up(replace(view, occurred_at=moment), user, rules)
    if (
        (operation, schema, table) == ("UPDATE", "auth", "users")
        and user.get("email_confirmed_at")
        and view.submission_id
    ):
        return ignored(view, f"{event} is not a sign-up", rules, keys=(), verifies_email=True)
    if (operation, schema, table) != ("INSERT", "auth", "users"):
        return ignored(view, f"{event} is not a sign-up: for a table of your own, add a source of your own", rules)
    return _sign_up(view, user, rules)


def _became_permanent(raw: dict[str, Any], user: dict[str, Any]) -> bool:
    """An anonymous visitor got an address or a number: this is their sign-up.
    https://supabase.com/docs/guides/auth/auth-anonymous#convert-an-anonymous-user-to-a-permanent-user"""
    was_anonymous = dict_of(raw.get("old_record")).get("is_anonymous") is True
    return was_anonymous and user.get("is_anonymous") is not True and bool(user.get("email") or user.get("phone"))


def _view(
    inbound: Inbound, event: str, user: dict[str, Any], metadata: Any, event_id: str | None, occurred_at: Any
) -> Submission:
    user_id, known = identifier_of(user.get("id")), dict_of(metadata)
    return Submission(
        event=event,
        submission_id=user_id,
        body=inbound.body,
        event_id=event_id,
        occurred_at=from_iso(occurred_at) or from_iso(user.get("created_at")),
        fields=below(known),
        hidden=known,
        contact=Contact(
            email=user.get("email"),
            name=known.get("full_name") or known.get("name"),
            first=known.get("first_name"),
            last=known.get("last_name"),
            phone=_dialled(user.get("phone")),
            customer_id=user_id,
        ),
    )


def _dialled(phone: Any) -> Any:
    """Supabase Auth takes numbers with their country code alone, and keeps them without the plus."""
    return f"+{phone}" if isinstance(phone, str) and re.fullmatch(r"[1-9][0-9]{6,14}", phone) else phone


def _sign_up(view: Submission, user: dict[str, Any], rules: Rules) -> Mapped:
    if user.get("is_anonymous") is True:
        return ignored(view, "an anonymous visitor, no sign-up", rules)
    return signed_up(NAME, view, rules, is_verified=bool(user.get("email_confirmed_at")), id_name="ID of the user")


VECTORS = (published_vector("webhook"),)

SOURCE = Webhook(NAME, "Supabase", Scheme(), read, vectors=VECTORS)
