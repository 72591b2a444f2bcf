"""What every source promises. Its folder holds what shows that it works: a vector that others made, an example, fixtures; and the
documentation has a heading of it. Whatever is wrong with a request is a SignatureError, and nothing else is raised."""

import base64
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.errors import ConfigurationError, SignatureError
from app.intake.dry_run import explain
from app.model import Inbound, Rules
from app.sources.base import Vector
from app.sources.catalog import SOURCES, content_type_of, example
from app.sources.handshake import Handshake
from app.sources.webhook import Webhook

NOW = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)
URL = "https://bridge.example/webhooks/it?x=%40y"
BODY = b'{"name": "Ada", "email": "ada@example.com", "n": 1}'
FORM = b"EntryId=4&Field1=Ada&Field3=ada%40example.com"
SIGNED = sorted(name for name, source in SOURCES.items() if source.signed)


@dataclass(frozen=True)
class Signer:
    """Makes requests of one source, and knows where its proof of origin is: in headers, or in a field of the body."""

    name: str

    def secret(self, seed: str) -> str:
        """Of the kind that the source takes."""
        encoded = base64.b64encode(f"{seed:_<32}".encode()).decode()
        for secret in (f"whsec_{encoded}", f"{SOURCES[self.name].secret_prefix}{seed}-secret-of-some-length"):
            with suppress(ConfigurationError):
                SOURCES[self.name].sign(BODY, secret, NOW)
                return secret
        raise AssertionError("it takes no secret")

    @property
    def is_timed(self) -> bool:
        """Whether the time is part of what the provider signs, as its vectors show."""
        vectors = SOURCES[self.name].vectors
        return any(one.at and str(one.at) in value for one in vectors for value in one.headers.values())

    @property
    def handshake(self) -> Handshake | None:
        source = SOURCES[self.name]
        scheme = source.signature if isinstance(source, Webhook) else None
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


def signs_its_body(name: str) -> bool:
    return getattr(getattr(SOURCES[name], "signature", None), "signs_body", True)


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
    if not signs_its_body(signer.name):
        pytest.skip("it repeats its secret in a header, whatever the body is")
    inbound = signer.request(signer.secret("right"))
    if signer.handshake:
        changed = inbound.body.replace(b"HandshakeKey=", b"HandshakeKey=x")
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
    if signer.is_timed:
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


# --- what a source's folder and its documentation must hold ---

ROOT = Path(__file__).parents[2]
EVERY = sorted(SOURCES)
THIN = {"surveymonkey"}
"""Their webhooks name nobody: what they send is parked, and says where the rest is."""
ORIGINS = ("published: ", "library: ", "formula: ")
"""Where a vector may come from: the provider published it, the provider's library computed it, or its documented formula did,
outside this project."""


def folder_of(name: str) -> Path:
    return ROOT / "app" / "sources" / name


def vectors() -> list[tuple[str, Vector]]:
    return [(name, one) for name in EVERY for one in SOURCES[name].vectors]


@pytest.mark.parametrize("name", SIGNED)
def test_a_source_that_verifies_has_a_vector_that_others_made(name: str) -> None:
    known = SOURCES[name].vectors
    assert known, f"{name} is tested only against itself: give it a Vector of the provider's"
    assert all(one.origin.startswith(ORIGINS) and len(one.origin) > 20 for one in known)


@pytest.mark.parametrize(("name", "vector"), vectors(), ids=lambda value: value if isinstance(value, str) else "")
def test_a_vector_verifies_and_its_neighbours_do_not(name: str, vector: Vector) -> None:
    at = datetime.fromtimestamp(vector.at, UTC)
    inbound = Inbound(vector.body, vector.headers, vector.url)
    verify = SOURCES[name].verify
    verify(inbound, [vector.secret], at)
    verify(inbound, ["another secret of some length", vector.secret], at)
    empty = Inbound(b"", {name: value for name, value in vector.headers.items() if name == "content-type"}, vector.url)
    tampered = Inbound(vector.body.replace(b"HandshakeKey=", b"HandshakeKey=x") + b"&x", vector.headers, vector.url)
    for wrong in (empty, tampered) if signs_its_body(name) else (empty,):
        with pytest.raises(SignatureError):
            verify(wrong, [vector.secret], at)
    with pytest.raises(SignatureError):
        verify(inbound, [f"{vector.secret}x"], at)
    if vector.at and any(str(vector.at) in value for value in vector.headers.values()):
        for later in (timedelta(days=1), timedelta(days=-1)):
            with pytest.raises(SignatureError):
                verify(inbound, [vector.secret], at + later)


@pytest.mark.parametrize("name", EVERY)
def test_every_source_has_a_folder_with_an_example_that_becomes_a_conversion(name: str) -> None:
    body, kind = example(name)
    line = explain(SOURCES[name], Inbound(body, {"content-type": kind}), Rules(accept_test_events=True), NOW)
    assert line["outcome"] in (("parked",) if name in THIN else ("sale", "lead")), line["reason"]
    again = explain(
        SOURCES[name], Inbound(example(name)[0], {"content-type": kind}), Rules(accept_test_events=True), NOW
    )
    assert again["dedupe_keys"] != line["dedupe_keys"]


@pytest.mark.parametrize("name", EVERY)
def test_every_source_has_fixtures_of_a_conversion_and_of_none(name: str) -> None:
    expected = sorted(folder_of(name).glob("fixtures/*.expected.json"))
    outcomes = {json.loads(path.read_text())["outcome"] for path in expected}
    assert outcomes & ({"parked"} if name in THIN else {"sale", "lead"}), (
        f"app/sources/{name}/fixtures holds no body that becomes a conversion"
    )
    bodies = {path.name.partition(".")[0] for path in folder_of(name).glob("fixtures/*")}
    assert bodies == {path.name.partition(".")[0] for path in expected}


@pytest.mark.parametrize("name", EVERY)
def test_every_source_has_a_heading_in_the_documentation(name: str) -> None:
    headings = re.findall(r"^##+ (.*)$", (ROOT / "docs" / "sources.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert any(SOURCES[name].title in heading for heading in headings), SOURCES[name].title


@pytest.mark.parametrize("name", EVERY)
def test_a_customer_id_of_the_provider_s_begins_as_the_source_says(name: str) -> None:
    prefix = SOURCES[name].customer_prefix
    for path in folder_of(name).glob("fixtures/*"):
        if ".expected." not in path.name:
            inbound = Inbound(path.read_bytes(), {"content-type": content_type_of(path.name, path.read_bytes())})
            own = SOURCES[name].map(inbound, Rules()).who.provider_id
            assert own is None or (prefix and own.startswith(prefix))


@pytest.mark.parametrize("name", EVERY)
def test_a_body_that_cannot_be_read_is_malformed_and_nothing_else(name: str) -> None:
    for path in sorted((ROOT / "fixtures" / "unreadable").glob("*.*")):
        inbound = Inbound(path.read_bytes(), {"content-type": content_type_of(path.name, path.read_bytes())})
        assert explain(SOURCES[name], inbound, Rules(), NOW)["outcome"] in ("rejected", "parked", "ignored"), path.name
