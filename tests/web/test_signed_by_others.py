"""Webhooks that the providers' own libraries signed, or the formula of their official SDK, posted to the web. They are accepted;
a changed body, a stale signature and another secret are answered 401."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from standardwebhooks import Webhook

from app.model import Inbound
from app.sources.catalog import SOURCES, example

Headers = dict[str, str]
Sign = Callable[[str, bytes, datetime], Headers]

WHSEC = "whsec_" + base64.b64encode(b"a secret of these tests!").decode()
OTHER_WHSEC = "whsec_" + base64.b64encode(b"another secret of tests!").decode()


def as_text(secret: str) -> str:
    """A key that is the UTF-8 of the whole secret, as polar-sdk and whop-sdk hand it to the library."""
    return base64.b64encode(secret.encode()).decode()


def by_library(prefix: str, key: Callable[[str], str] = str) -> Sign:
    """PyPI standardwebhooks, with the provider's header names."""

    def sign(secret: str, body: bytes, at: datetime) -> Headers:
        signature = Webhook(key(secret)).sign("msg_of_the_tests", at, body.decode())
        stamp = str(int(at.timestamp()))
        return {f"{prefix}-id": "msg_of_the_tests", f"{prefix}-timestamp": stamp, f"{prefix}-signature": signature}

    return sign


def base64_of_body(header: str) -> Sign:
    """@shopify/shopify-api, lib/utils/hmac: base64 of the HMAC over the body. WooCommerce, class-wc-webhook.php: the same."""

    def sign(secret: str, body: bytes, _at: datetime) -> Headers:
        return {header: base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()}

    return sign


def hex_of_body(header: str) -> Sign:
    """Lemon Squeezy's documentation and Laravel package; PyPI razorpay, utility.verify_webhook_signature: hex over the body."""

    def sign(secret: str, body: bytes, _at: datetime) -> Headers:
        return {header: hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}

    return sign


def paddle(secret: str, body: bytes, at: datetime) -> Headers:
    """PyPI paddle-python-sdk, paddle_billing.Notifications.PaddleSignature."""
    stamp = int(at.timestamp())
    signature = hmac.new(secret.encode(), f"{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    return {"Paddle-Signature": f"ts={stamp};h1={signature}"}


def workos(secret: str, body: bytes, at: datetime) -> Headers:
    """What PyPI workos verifies: it checks this header itself, before the bridge sees it."""
    stamp = int(at.timestamp() * 1000)
    signature = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {"WorkOS-Signature": f"t={stamp}, v1={signature}"}


@dataclass(frozen=True)
class Sender:
    sign: Sign
    secret: str
    other: str
    is_dated: bool = True


SENDERS: Mapping[str, Sender] = {
    "polar": Sender(by_library("webhook", as_text), "polar_whs_of_the_tests", "polar_whs_of_others"),
    "dodo": Sender(by_library("webhook"), WHSEC, OTHER_WHSEC),
    "whop": Sender(by_library("webhook", as_text), "ws_of_the_tests_0123", "ws_of_others_0123"),
    "creem": Sender(by_library("webhook"), WHSEC, OTHER_WHSEC),
    "clerk": Sender(by_library("svix"), WHSEC, OTHER_WHSEC),
    "svix": Sender(by_library("svix"), WHSEC, OTHER_WHSEC),
    "supabase": Sender(by_library("webhook"), WHSEC, OTHER_WHSEC),
    "formbricks": Sender(by_library("webhook"), WHSEC, OTHER_WHSEC),
    "workos": Sender(workos, "workos secret of the tests", "workos secret of others"),
    "paddle": Sender(paddle, "pdl_ntfset_of_the_tests", "pdl_ntfset_of_others"),
    "shopify": Sender(base64_of_body("X-Shopify-Hmac-Sha256"), "shpss_of_the_tests", "shpss_of_others", is_dated=False),
    "woocommerce": Sender(base64_of_body("X-WC-Webhook-Signature"), "woo secret of tests", "woo other", is_dated=False),
    "lemonsqueezy": Sender(hex_of_body("X-Signature"), "lemon secret of tests", "lemon other", is_dated=False),
    "razorpay": Sender(hex_of_body("X-Razorpay-Signature"), "razorpay secret", "razorpay other", is_dated=False),
}


@pytest.fixture
def client(make_app: Callable[..., Any]) -> FlaskClient:
    secrets = {f"{name.upper()}_WEBHOOK_SECRET": sender.secret for name, sender in SENDERS.items()}
    client: FlaskClient = make_app(**secrets).test_client()
    return client


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_what_others_signed_is_taken_and_tampered_stale_and_foreign_requests_are_answered_401(
    client: FlaskClient,
) -> None:
    now = datetime.now(UTC)
    found: dict[tuple[str, str], int] = {}
    for name, sender in SENDERS.items():
        body, kind = example(name)

        def status(headers: Headers, body: bytes, name: str = name, kind: str = kind) -> int:
            answer = client.post(f"/webhooks/{name}", data=body, headers={**headers, "Content-Type": kind})
            return answer.status_code

        right = sender.sign(sender.secret, body, now)
        found[name, "tampered"] = status(right, body.replace(b"ada@example.com", b"eve@example.com") + b" ")
        found[name, "another secret"] = status(sender.sign(sender.other, body, now), body)
        found[name, "unsigned"] = status({}, body)
        if sender.is_dated:
            for stale in (timedelta(hours=-1), timedelta(hours=1)):
                found[name, f"signed {stale} from now"] = status(sender.sign(sender.secret, body, now + stale), body)
        assert status(right, body) == 200, name
    assert {case: code for case, code in found.items() if code != 401} == {}


def test_polar_takes_the_newer_form_of_its_secret_as_well() -> None:
    body, now = b'{"type":"order.paid"}', datetime.now(UTC)
    SOURCES["polar"].verify(Inbound(body, by_library("webhook")(WHSEC, body, now)), [WHSEC], now)


def test_the_sdk_of_workos_accepts_what_the_source_signs_and_what_these_tests_sign() -> None:
    from workos.webhooks import _verification as workos_sdk  # a thousand modules

    body, now = json.dumps({"event": "user.created"}).encode(), datetime.now(UTC)
    for headers in (SOURCES["workos"].sign(body, "a secret of workos", now), workos("a secret of workos", body, now)):
        workos_sdk.verify_header(
            event_body=body, event_signature=headers["WorkOS-Signature"], secret="a secret of workos"
        )
        with pytest.raises(ValueError):
            workos_sdk.verify_header(
                event_body=body + b" ", event_signature=headers["WorkOS-Signature"], secret="a secret of workos"
            )


def test_vectors_that_name_the_library_are_what_it_computes() -> None:
    """Their origin is checked: the library signs the vector's body with its secret, and finds its signature."""
    found = {}
    for name, source in SOURCES.items():
        for vector in source.vectors:
            if vector.origin.startswith("library: PyPI standardwebhooks"):
                key = vector.secret if vector.secret.startswith("whsec_") else as_text(vector.secret)
                prefix = "svix" if "svix-id" in vector.headers else "webhook"
                at = datetime.fromtimestamp(int(vector.headers[f"{prefix}-timestamp"]), UTC)
                signature = Webhook(key).sign(vector.headers[f"{prefix}-id"], at, vector.body.decode())
                found[name] = signature in vector.headers[f"{prefix}-signature"]
    assert {"polar", "dodo", "whop", "creem"} <= found.keys()
    assert all(found.values()), found
