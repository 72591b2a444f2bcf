"""Hypothesis over what strangers send to a webhook's URL: signature headers, bodies and their encodings.

BRIDGE_STRANGERS is how many examples each test gets (60); `make fuzz` runs thousands.
"""

import os
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.errors import MalformedEvent, SignatureError
from app.model import Inbound
from app.sources.bodies import read_body
from app.sources.catalog import SOURCES, example

EXAMPLES = int(os.environ.get("BRIDGE_STRANGERS", "60"))
MINE, THEIRS = ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_TXlTZWNyZXRPZlRoZVRlc3RzMDE=")
SIGNED = sorted(name for name, source in SOURCES.items() if source.signed)
URL = "https://bridge.example/webhooks/x"
TYPES = (
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=b",
    "multipart/form-data; boundary=",
    'multipart/form-data; boundary="b',
    "",
)
fuzz = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))

pieces = st.one_of(
    st.sampled_from(
        [b"", b"{", b"}", b"[", b'"', b"\\u0000", b"\\ud800", b"=", b"&", b"%", b"%zz", b"[]", b"[a]", b"--b", b"--b--", b"\r\n",
         b"\r\n\r\n", b'Content-Disposition: form-data; name="a"', b'; filename="x"', b"null", b"1e999", b"\xff", b"\x00"]
    ),
    st.binary(max_size=20),
)  # fmt: skip
bodies = st.one_of(
    st.lists(pieces, max_size=30).map(b"".join),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3)
                 | st.dictionaries(st.text(max_size=6), inner, max_size=3), max_leaves=12).map(lambda value: repr(value).encode()),
)  # fmt: skip
header_values = st.one_of(
    st.text(st.characters(max_codepoint=0x2FFF), max_size=60),
    st.sampled_from(
        ["t=1,v1=", "v1,", "sha256=", "Bearer ", "Basic Og==", "eyJhbGciOiJub25lIn0.e30.", "t=9" * 30, ","]
    ),
)


@given(st.sampled_from(SIGNED), st.data())
@fuzz
def test_no_header_or_body_of_a_stranger_passes_a_signature(name: str, data: st.DataObject) -> None:
    source, now = SOURCES[name], datetime.now(UTC)
    body = source.stamp(data.draw(bodies | st.just(example(name)[0])), THEIRS)
    signed = {header.lower(): value for header, value in source.sign(body, THEIRS, now, url=URL).items()}
    for header in data.draw(st.sets(st.sampled_from(sorted(signed)))) if signed else ():
        value = signed[header]
        cut = data.draw(st.integers(0, len(value)))
        signed[header] = value[:cut] + data.draw(header_values) + data.draw(st.sampled_from(["", value[cut:]]))
    inbound = Inbound(
        body, {"content-type": data.draw(st.sampled_from(TYPES)), **signed}, data.draw(st.sampled_from([URL, ""]))
    )
    source.setup_request(inbound)
    with pytest.raises(SignatureError):
        source.verify(inbound, [MINE], now)


@given(bodies, st.sampled_from(TYPES))
@fuzz
def test_a_body_is_decoded_or_refused_as_unreadable(body: bytes, content_type: str) -> None:
    with suppress(MalformedEvent):
        assert isinstance(read_body(Inbound(body, {"content-type": content_type})), dict)
