"""Stripe's signature, with the traps that stop other handlers: nothing but SignatureError leaves."""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import SignatureError
from app.model import Inbound
from app.sources.stripe.source import SOURCE

SECRET = "whsec_c2VjcmV0LW9mLXRlc3Rz"
OTHER = "whsec_YW5vdGhlci1zZWNyZXQ"
BODY = '{"id": "evt_1", "type": "invoice.paid", "name": "Zoë"}'.encode()
NOW = datetime(2026, 2, 16, 9, 36, 7, tzinfo=UTC)
STAMP = int(NOW.timestamp())


def v1_of(body: bytes = BODY, secret: str = SECRET, stamp: object = STAMP) -> str:
    return hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()


def verify(header: str | None, body: bytes = BODY, secrets: Sequence[str] = (SECRET,), now: datetime = NOW) -> None:
    SOURCE.verify(Inbound(body, {} if header is None else {"stripe-signature": header}), secrets, now)


def test_what_stripe_signs_is_taken() -> None:
    verify(f"t={STAMP},v1={v1_of()}")


def test_our_signature_is_what_the_stripe_library_takes_and_the_other_way_round() -> None:
    text = BODY.decode()
    ours = SOURCE.sign(BODY, SECRET, NOW)["Stripe-Signature"]
    assert stripe.WebhookSignature.verify_header(text, ours, SECRET)
    theirs = stripe.WebhookSignature.generate_signature_header(text, SECRET, timestamp=STAMP)
    verify(theirs)
    assert theirs == ours


def test_the_stripe_library_and_we_refuse_the_same() -> None:
    header = f"t={STAMP},v1={v1_of(secret=OTHER)}"
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(BODY.decode(), header, SECRET)
    with pytest.raises(SignatureError):
        verify(header)


def test_the_key_is_the_whole_secret_and_not_what_it_encodes() -> None:
    with pytest.raises(SignatureError):
        verify(f"t={STAMP},v1={v1_of(secret=SECRET.removeprefix('whsec_'))}")


@pytest.mark.parametrize("position", [0, 1, 2])
def test_any_of_several_v1_may_be_the_right_one(position: int) -> None:
    signatures = ["0" * 64, "f" * 64]
    signatures.insert(position, v1_of())
    verify(",".join([f"t={STAMP}", *(f"v1={signature}" for signature in signatures)]))


def test_only_v1_counts() -> None:
    for version in ("v0", "v2", "V1", "v11"):
        with pytest.raises(SignatureError):
            verify(f"t={STAMP},{version}={v1_of()}")
    verify(f"t={STAMP},v0={'0' * 64},v1={v1_of()}")


@pytest.mark.parametrize("secrets", [(SECRET, OTHER), (OTHER, SECRET)])
def test_any_of_several_secrets_may_have_signed(secrets: Sequence[str]) -> None:
    verify(f"t={STAMP},v1={v1_of()}", secrets=secrets)


def test_no_secret_at_all_takes_nothing() -> None:
    with pytest.raises(SignatureError):
        verify(f"t={STAMP},v1={v1_of()}", secrets=())


@pytest.mark.parametrize("seconds", [-300, -1, 0, 1, 300])
def test_a_signature_may_be_five_minutes_off_either_way(seconds: int) -> None:
    verify(f"t={STAMP},v1={v1_of()}", now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(("seconds", "word"), [(301, "old"), (86400, "old"), (-301, "future"), (-86400, "future")])
def test_an_old_or_future_signature_is_refused_though_it_is_right(seconds: int, word: str) -> None:
    with pytest.raises(SignatureError, match=word):
        verify(f"t={STAMP},v1={v1_of()}", now=NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "stamp",
    ["", "now", "-1", "1e9", "1771234567.0", " ", "9" * 15, "9" * 400, "٣", "²", "0x10", "nan", "1_771_234_567"],
)
def test_a_timestamp_that_is_none_is_refused_even_if_it_was_signed(stamp: str) -> None:
    with pytest.raises(SignatureError):
        verify(f"t={stamp},v1={v1_of(stamp=stamp)}")


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        " ",
        ",",
        "=",
        "t=",
        "v1=",
        "t,v1",
        "t=,v1=",
        f"t={STAMP}",
        f"v1={'0' * 64}",
        f"t={STAMP},v1=",
        f"t={STAMP},v1=é",
        f"t={STAMP},v1=\ud800",
        f"t={STAMP},v1=" + "0" * 64,
        f"t={STAMP},v1=" + "0" * 100_000,
        f"t={STAMP};v1=" + "0" * 64,
        "t=é,v1=é",
        "\x00\x01\x02",
        "bm90IHRoaXMgZWl0aGVy",
    ],
)
def test_a_garbled_or_missing_header_is_a_signature_error(header: str | None) -> None:
    with pytest.raises(SignatureError):
        verify(header)


def test_a_body_that_is_no_utf8_is_verified_by_its_bytes() -> None:
    body = b"\xff\xfe\x00 not text"
    verify(f"t={STAMP},v1={v1_of(body)}", body)
    with pytest.raises(SignatureError):
        verify(f"t={STAMP},v1={v1_of(body)}", body + b"\x00")


def test_a_changed_body_or_timestamp_is_refused() -> None:
    with pytest.raises(SignatureError):
        verify(f"t={STAMP},v1={v1_of()}", BODY + b" ")
    with pytest.raises(SignatureError):
        verify(f"t={STAMP + 1},v1={v1_of()}")


@settings(deadline=None)
@given(header=st.text(max_size=200), body=st.binary(max_size=50))
def test_no_header_breaks_the_verification(header: str, body: bytes) -> None:
    with pytest.raises(SignatureError):
        verify(header, body)


@settings(deadline=None)
@given(stamp=st.text(max_size=30), signatures=st.lists(st.text(max_size=70), max_size=3))
def test_no_field_of_the_header_breaks_the_verification(stamp: str, signatures: list[str]) -> None:
    with pytest.raises(SignatureError):
        verify(",".join([f"t={stamp}", *(f"v1={signature}" for signature in signatures)]))
