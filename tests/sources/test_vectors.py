"""Signatures that the providers themselves publish, and the reference library beside ours."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook as Reference

from app.errors import ConfigurationError, SignatureError
from app.model import Inbound
from app.sources.bodies import form_pairs, nested
from app.sources.catalog import SOURCES
from app.sources.hubspot import source as hubspot
from app.sources.netlify import source as netlify
from app.sources.signatures import key_of, standard_webhooks
from app.sources.supabase import source as supabase
from app.sources.wpforms import source as wpforms

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MESSAGE = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SENT = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'
RIGHT = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
OTHER = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="


def standard(signature: str = RIGHT, **changed: str) -> Inbound:
    headers = {"webhook-id": MESSAGE, "webhook-timestamp": "1614265330", "webhook-signature": signature}
    return Inbound(BODY, {**headers, **{name.replace("_", "-"): value for name, value in changed.items()}})


@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_"), f"v1,{SECRET}"])
def test_standard_webhooks_vector_verifies(secret: str) -> None:
    standard_webhooks("webhook").verify(standard(), [secret], SENT)


def test_svix_headers_carry_the_same_vector() -> None:
    headers = {"svix-id": MESSAGE, "svix-timestamp": "1614265330", "svix-signature": RIGHT}
    SOURCES["clerk"].verify(Inbound(BODY, headers), [SECRET], SENT)


@pytest.mark.parametrize(
    "signature",
    [
        f"{OTHER} v2,{OTHER[3:]} {RIGHT} {OTHER}",
        f"v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5B {RIGHT}",
        f"{RIGHT}, {OTHER}",  # as Supabase writes them while its secrets rotate
        f"{OTHER}, {RIGHT}",
    ],
)
def test_one_right_signature_among_others_is_enough(signature: str) -> None:
    standard_webhooks("webhook").verify(standard(signature), [SECRET], SENT)


@pytest.mark.parametrize(
    "inbound",
    [
        standard("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA="),
        standard(""),
        standard(f"v1a,{RIGHT[3:]}"),
        standard(webhook_id=""),
        standard(webhook_timestamp=""),
        standard(webhook_timestamp="hello"),
        standard(webhook_id="msg_other"),
    ],
)
def test_standard_webhooks_refusals(inbound: Inbound) -> None:
    with pytest.raises(SignatureError):
        standard_webhooks("webhook").verify(inbound, [SECRET], SENT)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_standard_webhooks_age_is_checked_both_ways(seconds: int) -> None:
    scheme = standard_webhooks("webhook")
    scheme.verify(standard(), [SECRET], SENT + timedelta(seconds=seconds * 299 // 301))
    with pytest.raises(SignatureError):
        scheme.verify(standard(), [SECRET], SENT + timedelta(seconds=seconds))


@pytest.mark.parametrize("secret", ["", "whsec_", "v1,whsec_"])
def test_empty_secret_is_a_configuration_error(secret: str) -> None:
    with pytest.raises(ConfigurationError):
        key_of(secret, "whsec")


def test_unreadable_secret_beside_a_right_one_refuses_nothing() -> None:
    standard_webhooks("webhook").verify(standard(), ["whsec_!!!", SECRET], SENT)
    with pytest.raises(SignatureError):
        standard_webhooks("webhook").verify(standard(), ["whsec_!!!"], SENT)


@pytest.mark.parametrize("secret", [SECRET, "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eQ=="])
def test_the_reference_library_agrees(secret: str) -> None:
    now = datetime.now(UTC)
    theirs = Reference(secret).sign(MESSAGE, now, BODY.decode())
    ours = {"webhook-id": MESSAGE, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": theirs}
    standard_webhooks("webhook").verify(Inbound(BODY, ours), [secret], now)
    headers = standard_webhooks("webhook").sign(BODY, secret, now)
    assert Reference(secret).verify(BODY, headers) == json.loads(BODY)


def test_unpadded_secret_works() -> None:
    padded = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eQ=="
    scheme = standard_webhooks("webhook")
    headers = scheme.sign(BODY, padded, SENT)
    scheme.verify(Inbound(BODY, headers), [padded.rstrip("=")], SENT)


# --- HubSpot ---

CLIENT_SECRET = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
HUBSPOT_BODY = b"{'example_field':'example_value'}"
HUBSPOT_URL = "https://www.example.com/webhook_uri"
HUBSPOT_SENT = datetime.fromtimestamp(1693657560, UTC)
V3 = {
    "x-hubspot-request-timestamp": "1693657560000",
    "x-hubspot-signature-v3": "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=",
}


def test_hubspot_v3_vector_verifies() -> None:
    hubspot.SOURCE.verify(Inbound(HUBSPOT_BODY, V3, HUBSPOT_URL), [CLIENT_SECRET], HUBSPOT_SENT)


@pytest.mark.parametrize("seconds", [-301, 301])
def test_hubspot_v3_age_is_checked_both_ways(seconds: int) -> None:
    at = HUBSPOT_SENT + timedelta(seconds=seconds)
    with pytest.raises(SignatureError):
        hubspot.SOURCE.verify(Inbound(HUBSPOT_BODY, V3, HUBSPOT_URL), [CLIENT_SECRET], at)


@pytest.mark.parametrize("url", ["https://evil.example/webhook_uri", "http://www.example.com/webhook_uri", ""])
def test_hubspot_v3_signs_the_url_it_called(url: str) -> None:
    with pytest.raises(SignatureError):
        hubspot.SOURCE.verify(Inbound(HUBSPOT_BODY, V3, url), [CLIENT_SECRET], HUBSPOT_SENT)


def test_hubspot_v1_and_v2_are_bare_hashes() -> None:
    v1 = hashlib.sha256(CLIENT_SECRET.encode() + HUBSPOT_BODY).hexdigest()
    v2 = hashlib.sha256(f"{CLIENT_SECRET}POST{HUBSPOT_URL}".encode() + HUBSPOT_BODY).hexdigest()
    for signature, version in ((v1, "v1"), (v2, "v2")):
        headers = {"x-hubspot-signature": signature, "x-hubspot-signature-version": version}
        hubspot.SOURCE.verify(Inbound(HUBSPOT_BODY, headers, HUBSPOT_URL), [CLIENT_SECRET], HUBSPOT_SENT)
        for changed in (
            Inbound(HUBSPOT_BODY + b" ", headers, HUBSPOT_URL),
            Inbound(HUBSPOT_BODY, {**headers, "x-hubspot-signature": "0" * 64}, HUBSPOT_URL),
            Inbound(HUBSPOT_BODY, {**headers, "x-hubspot-signature-version": "v9"}, HUBSPOT_URL),
        ):
            with pytest.raises(SignatureError):
                hubspot.SOURCE.verify(changed, [CLIENT_SECRET], HUBSPOT_SENT)
    headers = {"x-hubspot-signature": v2, "x-hubspot-signature-version": "v2"}
    with pytest.raises(SignatureError):
        hubspot.SOURCE.verify(Inbound(HUBSPOT_BODY, headers, ""), [CLIENT_SECRET], HUBSPOT_SENT)


def test_a_wrong_v3_is_not_excused_by_a_right_v1() -> None:
    v1 = hashlib.sha256(CLIENT_SECRET.encode() + HUBSPOT_BODY).hexdigest()
    headers = {**V3, "x-hubspot-signature-v3": "AAAA", "x-hubspot-signature": v1, "x-hubspot-signature-version": "v1"}
    with pytest.raises(SignatureError):
        hubspot.SOURCE.verify(Inbound(HUBSPOT_BODY, headers, HUBSPOT_URL), [CLIENT_SECRET], HUBSPOT_SENT)


# --- others ---


@pytest.mark.parametrize(
    "configured", [f"v1,{SECRET}|v1,whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", f"{SECRET}", f"v1,{SECRET}"]
)
def test_supabase_secrets_are_taken_as_supabase_writes_them(configured: str) -> None:
    for split in ([configured], configured.split(",")):
        supabase.SOURCE.verify(standard(), split, SENT)


def test_supabase_table_webhook_sends_a_bearer_token() -> None:
    token = "a-token-that-was-made-up"
    supabase.SOURCE.verify(Inbound(BODY, {"authorization": f"Bearer {token}"}), [SECRET, token], SENT)
    for header in ("Bearer wrong", "Bearer ", token + "x", "Bearer \u00e9"):
        with pytest.raises(SignatureError):
            supabase.SOURCE.verify(Inbound(BODY, {"authorization": header}), [SECRET, token], SENT)


def base64url(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def test_netlify_takes_no_other_algorithm_and_no_other_issuer() -> None:
    """Tokens put together by hand, since the library would not make them."""
    good = netlify.SOURCE.sign(BODY, "netlify-secret", SENT)[netlify.HEADER]
    head, claims, signature = good.split(".")
    none = base64url(b'{"alg":"none"}').decode()
    forged = base64url(json.dumps({"iss": "me", "sha256": hashlib.sha256(BODY).hexdigest()}).encode())
    foreign = head.encode() + b"." + forged
    resigned = (foreign + b"." + base64url(hmac.digest(b"netlify-secret", foreign, "sha256"))).decode()
    for token in (f"{none}.{claims}.", f"{none}.{claims}.{signature}", resigned, f"{head}.{claims}"):
        with pytest.raises(SignatureError):
            netlify.SOURCE.verify(Inbound(BODY, {"x-webhook-signature": token}), ["netlify-secret"], SENT)


def test_wpforms_form_format_is_signed_over_its_json() -> None:
    form = b"name=Zo%C3%AB&email=z%40x.example&page=https%3A%2F%2Fa.example%2F&tags%5B0%5D=a&tags%5B1%5D=b"
    encoded = b'{"name":"Zo\\u00eb","email":"z@x.example","page":"https:\\/\\/a.example\\/","tags":["a","b"]}'
    assert wpforms.json_of_form(nested(form_pairs(form))) == encoded
    signed = wpforms.SOURCE.sign(encoded, "wpforms-secret", SENT)
    headers = {"content-type": "application/x-www-form-urlencoded", **{k.lower(): v for k, v in signed.items()}}
    wpforms.SOURCE.verify(Inbound(form, headers), ["wpforms-secret"], SENT)
    with pytest.raises(SignatureError):
        wpforms.SOURCE.verify(Inbound(form + b"x", headers), ["wpforms-secret"], SENT)


def test_wpforms_key_that_only_looks_like_a_list_is_signed_as_a_name() -> None:
    form, encoded = b"fields%5Bemail%5D=z%40x.example&tags%5B%5D=a", b'{"fields[email]":"z@x.example","tags[]":"a"}'
    signed = wpforms.SOURCE.sign(encoded, "wpforms-secret", SENT)
    headers = {"content-type": "application/x-www-form-urlencoded", **{k.lower(): v for k, v in signed.items()}}
    wpforms.SOURCE.verify(Inbound(form, headers), ["wpforms-secret"], SENT)


def test_framer_signs_the_body_and_then_the_submission_id() -> None:
    signed = SOURCES["framer"].sign(BODY, "framer-secret-of-thirty-two-chars", SENT)
    headers = {name.lower(): value for name, value in signed.items()}
    SOURCES["framer"].verify(Inbound(BODY, headers), ["framer-secret-of-thirty-two-chars"], SENT)
    other = {**headers, "framer-webhook-submission-id": "another"}
    with pytest.raises(SignatureError):
        SOURCES["framer"].verify(Inbound(BODY, other), ["framer-secret-of-thirty-two-chars"], SENT)


def test_formstack_handshake_key_counts_where_there_is_no_signature() -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    formstack = SOURCES["formstack"]
    formstack.verify(Inbound(b"FormID=1&HandshakeKey=the-shared-key", form), ["the-shared-key"], SENT)
    bad = Inbound(b"FormID=1&HandshakeKey=the-shared-key", {**form, "x-fs-signature": "sha256=00"})
    with pytest.raises(SignatureError):
        formstack.verify(bad, ["the-shared-key"], SENT)
