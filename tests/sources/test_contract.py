"""What every signing source promises: whatever is wrong with a request is a SignatureError, and nothing else is raised."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from app.errors import SignatureError
from app.model import Inbound
from app.sources.handshake import Handshake
from app.sources.registry import SOURCES
from app.sources.webhook import Webhook

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
URL = "https://bridge.example/webhooks/it?x=%40y"
BODY = b'{"name": "Ada", "email": "ada@example.com", "n": 1}'
FORM = b"EntryId=4&Field1=Ada&Field3=ada%40example.com"
TIMED = {
    "stripe", "calendly", "hubspot", "webflow", "wpforms", "formbricks", "clerk", "supabase", "formspree", "googleforms",
}  # fmt: skip
SIGNED = sorted(name for name, source in SOURCES.items() if source.signed)


@dataclass(frozen=True)
class Signer:
    """Makes requests of one source, and knows where its proof of origin is: in headers, or in a field of the body."""

    name: str

    def secret(self, seed: str) -> str:
        if self.name in ("clerk", "formbricks", "supabase"):
            return "whsec_" + base64.b64encode(f"{seed:_<32}".encode()).decode()
        return f"{seed}-secret-of-some-length"

    @property
    def handshake(self) -> Handshake | None:
        source = SOURCES[self.name]
        scheme = source.scheme if isinstance(source, Webhook) else None
        return scheme if isinstance(scheme, Handshake) and scheme.hmac is None else None

    def request(self, secret: str, at: datetime = NOW) -> Inbound:
        if self.handshake:
            body = self.handshake.stamp(FORM, secret)
            return Inbound(body, {"content-type": "application/x-www-form-urlencoded"}, URL)
        headers = SOURCES[self.name].sign(BODY, secret, at, url=URL)
        lower = {name.lower(): value for name, value in headers.items()}
        return Inbound(BODY, {"content-type": "application/json", **lower}, URL)

    def verify(self, inbound: Inbound, secrets: Sequence[str]) -> None:
        SOURCES[self.name].verify(inbound, secrets, NOW)

    def refuses(self, inbound: Inbound, secrets: Sequence[str] | None = None) -> None:
        with pytest.raises(SignatureError):
            self.verify(inbound, [self.secret("right")] if secrets is None else secrets)

    def proofs(self, inbound: Inbound) -> list[str]:
        return [name for name in inbound.headers if name != "content-type"]


@pytest.fixture(params=SIGNED)
def signer(request: pytest.FixtureRequest) -> Signer:
    return Signer(request.param)


def with_headers(inbound: Inbound, **changed: str) -> Inbound:
    return Inbound(inbound.body, {**inbound.headers, **changed}, inbound.url)


def test_what_sign_makes_verifies(signer: Signer) -> None:
    secret = signer.secret("right")
    signer.verify(signer.request(secret), [secret])


def test_either_of_two_secrets_verifies_while_rotating(signer: Signer) -> None:
    old, new = signer.secret("old"), signer.secret("new")
    signer.verify(signer.request(old), [new, old])
    signer.verify(signer.request(new), [new, old])


def test_wrong_secret_is_refused(signer: Signer) -> None:
    signer.refuses(signer.request(signer.secret("wrong")))


def test_no_secret_at_all_is_refused(signer: Signer) -> None:
    signer.refuses(signer.request(signer.secret("right")), [])


def test_missing_signature_is_refused(signer: Signer) -> None:
    inbound = signer.request(signer.secret("right"))
    for name in signer.proofs(inbound):
        rest = {key: value for key, value in inbound.headers.items() if key != name}
        signer.refuses(Inbound(inbound.body, rest, URL))
    signer.refuses(Inbound(BODY, {}, URL))
    signer.refuses(Inbound(b"", {}, ""))


@pytest.mark.parametrize(
    "garbage",
    [
        "x",
        "=",
        ",",
        "v1,",
        "t=,v1=",
        "t=1,v1=\u00e9",
        "sha256=",
        "\u202e\U0001f600",
        "\udce9",
        "a.b.c",
        "..",
        "0" * 5000,
        "v1,\u00ff",
    ],
)
def test_garbled_and_non_ascii_headers_are_refused(signer: Signer, garbage: str) -> None:
    inbound = signer.request(signer.secret("right"))
    for name in signer.proofs(inbound):
        signer.refuses(with_headers(inbound, **{name: garbage}))
    if signer.handshake:
        signer.refuses(Inbound(b"HandshakeKey=" + garbage.encode("utf-8", "replace"), inbound.headers, URL))


def test_tampered_signature_is_refused(signer: Signer) -> None:
    inbound = signer.request(signer.secret("right"))
    for name in signer.proofs(inbound):
        value = inbound.headers[name]
        middle = len(value) // 2
        other = "1" if value[middle] != "1" else "2"
        signer.refuses(with_headers(inbound, **{name: value[:middle] + other + value[middle + 1 :]}))


def test_tampered_body_is_refused(signer: Signer) -> None:
    inbound = signer.request(signer.secret("right"))
    if signer.handshake:
        changed = inbound.body.replace(b"right", b"wrong")
    else:
        changed = inbound.body.replace(b"Ada", b"Eve")
    assert changed != inbound.body
    signer.refuses(Inbound(changed, inbound.headers, URL))
    if not signer.handshake:
        signer.refuses(Inbound(inbound.body + b" ", inbound.headers, URL))


@pytest.mark.parametrize(
    "drift", [timedelta(minutes=-6), timedelta(minutes=6), timedelta(days=-400), timedelta(days=400)]
)
def test_old_and_future_signatures_are_refused_where_the_scheme_has_a_time(signer: Signer, drift: timedelta) -> None:
    secret = signer.secret("right")
    inbound = signer.request(secret, NOW + drift)
    if signer.name in TIMED:
        signer.refuses(inbound)
    else:
        signer.verify(inbound, [secret])


@pytest.mark.parametrize("stamp", ["hello", "-1", "1e9", "\u0661\u0662", "9" * 400, "1.5", "NaN", " "])
def test_odd_timestamps_are_refused(signer: Signer, stamp: str) -> None:
    inbound = signer.request(signer.secret("right"))
    for name in signer.proofs(inbound):
        if "timestamp" in name:
            signer.refuses(with_headers(inbound, **{name: stamp}))
        elif "t=" in inbound.headers[name]:
            signature = inbound.headers[name].partition(",")[2]
            signer.refuses(with_headers(inbound, **{name: f"t={stamp},{signature}"}))


def test_unsigned_sources_make_no_headers() -> None:
    for source in SOURCES.values():
        if not source.signed:
            assert source.sign(BODY, "any-secret", NOW) == {}
            source.verify(Inbound(BODY, {}), [], NOW)
