"""Bodies are read once they are authentic, and a proof of origin proves one body: sources whose proof lies in the body, or is of
something that the body must first be turned into."""

import json
from datetime import UTC, datetime
from urllib.parse import quote, urlencode

import pytest

from app.errors import SignatureError
from app.model import Inbound, Rules
from app.sources import bodies, handshake
from app.sources.bodies import form_pairs, nested_once
from app.sources.catalog import SOURCES
from app.sources.wpforms import source as wpforms

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
SECRET = "a handshake key, with / and ü"
FORM = "application/x-www-form-urlencoded"
MIB = 1024 * 1024


# --- WPForms: the signature is of the form's JSON ---


def captured(form: str) -> Inbound:
    """A request of WPForms in its FORM format, as somebody may have seen it."""
    signed = wpforms.SOURCE.sign(wpforms.json_of_form(nested_once(form_pairs(form.encode()))), SECRET, NOW)
    headers = {name.lower(): value for name, value in signed.items()}
    return Inbound(form.encode(), {**headers, "content-type": FORM})


def with_body(inbound: Inbound, body: bytes, content_type: str = FORM) -> Inbound:
    return Inbound(body, {**inbound.headers, "content-type": content_type})


ORIGINAL = "name=Ada&email=ada%40example.com&note%5B0%5D=x&note%5B1%5D=y"


def test_what_wpforms_sends_verifies() -> None:
    wpforms.SOURCE.verify(captured(ORIGINAL), [SECRET], NOW)


@pytest.mark.parametrize(
    "forged",
    [
        f"email=eve%40example.com&{ORIGINAL}",
        f"{ORIGINAL}&email=eve%40example.com",
        ORIGINAL.replace("email=", "email=eve%40example.com&email="),
        ORIGINAL.replace("name=Ada", "name=Eve&name=Ada"),
        ORIGINAL.replace("name=Ada", "%6eame=Eve&name=Ada"),
        f"{ORIGINAL}&note%5B%5D=y",
        f"{ORIGINAL}&note=z",
        f"note=z&{ORIGINAL}",
        ORIGINAL.replace("note%5B0%5D=x", "note%5B0%5D=z&note%5B0%5D=x"),
        f"email%5Ba%5D=eve%40example.com&{ORIGINAL}",
        f"{ORIGINAL}&email%5Ba%5D=eve%40example.com",
    ],
)
def test_a_captured_request_of_wpforms_proves_no_body_with_a_field_twice(forged: str) -> None:
    with pytest.raises(SignatureError):
        wpforms.SOURCE.verify(with_body(captured(ORIGINAL), forged.encode()), [SECRET], NOW)


@pytest.mark.parametrize(
    "same",
    [
        ORIGINAL.replace("%40", "@"),
        ORIGINAL.replace("name=Ada", "n%61me=%41da"),
        ORIGINAL.replace("%5B", "[").replace("%5D", "]"),
        ORIGINAL.replace("note%5B0%5D", "note%5B%5D").replace("note%5B1%5D", "note%5B%5D"),
        f"&&{ORIGINAL}&&",
        f"\n {ORIGINAL} \n",
    ],
)
def test_another_encoding_of_a_captured_form_is_the_same_submission(same: str) -> None:
    first, again = captured(ORIGINAL), with_body(captured(ORIGINAL), same.encode())
    wpforms.SOURCE.verify(again, [SECRET], NOW)
    one, other = (wpforms.SOURCE.map(inbound, Rules()) for inbound in (first, again))
    assert one == other
    assert one.lead is not None
    assert one.keys


def test_the_json_that_was_signed_is_the_same_submission_as_its_form() -> None:
    first = captured(ORIGINAL)
    encoded = wpforms.json_of_form(nested_once(form_pairs(first.body)))
    for content_type in (FORM, "application/json", "text/plain"):
        again = with_body(first, encoded, content_type)
        wpforms.SOURCE.verify(again, [SECRET], NOW)
        assert wpforms.SOURCE.map(again, Rules()) == wpforms.SOURCE.map(first, Rules())


def test_a_form_of_wpforms_is_not_read_where_its_signature_is_missing_or_old(monkeypatch: pytest.MonkeyPatch) -> None:
    def reads(_: bytes) -> None:
        raise AssertionError("it was read")

    monkeypatch.setattr(wpforms, "form_pairs", reads)
    inbound = captured_before(monkeypatch)
    for changed in (
        Inbound(inbound.body, {"content-type": FORM}),
        Inbound(inbound.body, {**inbound.headers, "x-wpforms-webhook-signature": "t=1,v=00"}),
        Inbound(b"a=" + b"x" * MIB, inbound.headers),
    ):
        with pytest.raises(SignatureError):
            wpforms.SOURCE.verify(changed, [SECRET], NOW)


def captured_before(monkeypatch: pytest.MonkeyPatch) -> Inbound:
    with monkeypatch.context() as patch:
        patch.setattr(wpforms, "form_pairs", form_pairs)
        return captured(ORIGINAL)


# --- Wufoo and Formstack: the key is in the body ---


def read_body_must_not_be_called(*_: object) -> None:
    raise AssertionError("the body of a stranger was read")


def form(key: str) -> bytes:
    return urlencode({"EntryId": "4", "Field1": "Ada", "HandshakeKey": key}).encode()


MULTIPART = "multipart/form-data; boundary=b"


def multipart(key: str) -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="HandshakeKey"\r\n\r\n{key}\r\n--b--\r\n'.encode()


@pytest.mark.parametrize("source", ["wufoo", "formstack"])
@pytest.mark.parametrize("secret", [SECRET, "plain-secret-of-24-letters", "a+b&c=d e%20f", 'quo"ted\\'])
def test_a_handshake_key_is_found_however_the_body_is_written(source: str, secret: str) -> None:
    verify = SOURCES[source].verify
    verify(Inbound(form(secret), {"content-type": FORM}), [secret], NOW)
    quoted = b"HandshakeKey=" + quote(secret, safe="").lower().encode() + b"&EntryId=4"
    verify(Inbound(quoted, {"content-type": f"{FORM}; charset=utf-8"}), ["another secret", secret], NOW)
    for text in (json.dumps({"HandshakeKey": secret}), json.dumps({"HandshakeKey": secret}, ensure_ascii=False)):
        verify(Inbound(text.encode(), {"content-type": "application/json"}), [secret], NOW)
        verify(Inbound(text.encode(), {"content-type": FORM}), [secret], NOW)
    verify(Inbound(multipart(secret), {"content-type": MULTIPART}), [secret], NOW)


@pytest.mark.parametrize("source", ["wufoo", "formstack"])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (form("wrong"), FORM),
        (b"HandshakeKey=&EntryId=1", FORM),
        (b"EntryId=1", FORM),
        (b"xHandshakeKey=" + quote(SECRET).encode(), FORM),
        (b"a=HandshakeKey=" + quote(SECRET).encode(), FORM),
        (b"HandshakeKey=" + b"x" * 100_000 + b"&a=" + quote(SECRET).encode(), FORM),
        (b'{"HandshakeKey": "wrong"}', "application/json"),
        (json.dumps({"note": SECRET, "HandshakeKey": "wrong"}).encode(), "application/json"),
        (json.dumps({"a": {"HandshakeKey": SECRET}}).encode(), "application/json"),
        (b'{"HandshakeKey": ["' + b"x" * 100_000, "application/json"),
        (multipart("wrong"), MULTIPART),
        (b"", ""),
    ],
)
def test_a_wrong_or_missing_handshake_key_is_refused(source: str, body: bytes, content_type: str) -> None:
    with pytest.raises(SignatureError):
        SOURCES[source].verify(Inbound(body, {"content-type": content_type}), [SECRET], NOW)
    with pytest.raises(SignatureError):
        SOURCES[source].verify(Inbound(body, {"content-type": content_type}), [""], NOW)


HOSTILE = {
    "many fields": (b"a=1&" * (MIB // 4), FORM),
    "many keys": (b"HandshakeKey=x&" * (MIB // 15), FORM),
    "a key and spaces": (b"HandshakeKey=" + b" " * (MIB - 20), FORM),
    "spaces": (b" " * MIB, FORM),
    "ampersands and spaces": (b"&  " * (MIB // 3), FORM),
    "percent signs": (b"HandshakeKey=" + b"%41" * (MIB // 3), FORM),
    "brackets": (b"a[b][c][d]=1&" * (MIB // 13), FORM),
    "nested JSON": (b'{"HandshakeKey": ' + b"[" * (MIB - 20), "application/json"),
    "a list in JSON": (b'{"HandshakeKey": "\\ud800", "a": [' + b"[]," * (MIB // 3) + b"1]}", "application/json"),
    "many parts": (
        b'--b\r\nContent-Disposition: form-data; name="HandshakeKey"\r\n\r\nx\r\n' * (MIB // 66) + b"--b--",
        MULTIPART,
    ),
    "no parts": (b"--b\r\n" * (MIB // 5), MULTIPART),
}


@pytest.mark.parametrize("source", ["wufoo", "formstack", "wpforms"])
@pytest.mark.parametrize("name", HOSTILE)
def test_the_body_of_a_stranger_is_not_read(source: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a stranger posts, what it costs does not depend on how long it takes to parse: nothing parses it."""
    for module, function in ((handshake, "read_body"), (bodies, "parse_json"), (bodies, "multipart_pairs")):
        monkeypatch.setattr(module, function, read_body_must_not_be_called)
    body, content_type = HOSTILE[name]
    headers = {"content-type": content_type, "x-wpforms-webhook-signature": f"t={int(NOW.timestamp())},v={'0' * 64}"}
    with pytest.raises(SignatureError):
        SOURCES[source].verify(Inbound(body, headers), ["the secret", "another secret"], NOW)


# --- requests that providers send unsigned while a webhook is set up ---


@pytest.mark.parametrize(
    "body", [b'{"event":"testEndpoint"}', b' { "event" : "testEndpoint" }\n', b'{\n  "event": "testEndpoint"\n}']
)
def test_formbricks_test_of_the_endpoint_is_known(body: bytes) -> None:
    assert SOURCES["formbricks"].setup_request(Inbound(body, {"content-type": "application/json"}))


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":"responseFinished"}',
        b'{"event":"testEndpoint","data":{"id":"1"}}',
        b'[{"event":"testEndpoint"}]',
        b"",
        b"testEndpoint",
        b'{"event":"testEndpoint"' + b" " * 1000 + b"}",
    ],
)
def test_nothing_else_passes_for_formbricks_test(body: bytes) -> None:
    assert SOURCES["formbricks"].setup_request(Inbound(body, {"content-type": "application/json"})) is None


def test_no_other_source_answers_a_request_that_it_did_not_verify() -> None:
    for name, source in SOURCES.items():
        assert (source.setup_request(Inbound(b'{"event":"testEndpoint"}', {})) is not None) == (name == "formbricks")
        assert (source.setup_request(Inbound(b"webhook_id=12", {"content-type": FORM})) is not None) == (
            name == "woocommerce"
        )


def test_intercom_s_ping_is_answered_and_not_recorded() -> None:
    source = SOURCES["intercom"]
    assert source.setup_request(Inbound(b'{"type":"notification_event","topic":"ping"}', {}))
    for body in (
        b'{"topic":"contact.user.created","ping":"ping"}',
        b'"ping"',
        b"ping",
        b'{"topic":"ping"' + b" " * 3000 + b"}",
    ):
        assert source.setup_request(Inbound(body, {})) is None
