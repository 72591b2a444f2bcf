"""Hypothesis over raw bytes on the port of a real web: what a stranger can write that no HTTP library would.

BRIDGE_STRANGERS is how many connections are made (40).
"""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import PATIENCE_SECONDS
from tests.support.empty_ledgers import empty_file
from tests.support.makers import count
from tests.support.stack_parts import Stack, purchase

pytestmark = pytest.mark.stack
EXAMPLES = int(os.environ.get("BRIDGE_STRANGERS", "40"))
SECONDS = 0.5
"""For an answer. A server that waits for more bytes gives none."""

lines = st.sampled_from(
    [
        "Content-Length: 5",
        "Content-Length: 0",
        "Content-Length: -1",
        "Content-Length: 99999999999999999999",
        "Content-Length: 5, 6",
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: x",
        "Expect: 100-continue",
        "Connection: close",
        "Stripe-Signature: t=1,v1=0",
        "Host: other",
        "Cookie: bridge=x",
        ": x",
        "x" * 9000,
        "Upgrade: h2c",
        " folded: yes",
        "Content-Type: multipart/form-data; boundary=b",
    ]
)
paths = st.sampled_from(
    [
        "/webhooks/stripe",
        "/webhooks/%00",
        "/webhooks/stripe/../stripe",
        "//webhooks/stripe",
        "/login",
        "/api/v1/events",
        "*",
        "http://other/webhooks/stripe",
        "/" + "a" * 9000,
        "/login?" + "a&" * 3000,
    ]
)
bodies = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [
                b"5\r\nabcde\r\n",
                b"0\r\n\r\n",
                b"0\r\nX: y\r\n\r\n",
                b"5;x=y\r\nabcde\r\n",
                b"fffffffffffffffff\r\n",
                b"-1\r\n",
                b"+5\r\nabcde\r\n",
                b"5\nabcde\n",
                b"GET /login HTTP/1.1\r\nHost: b\r\n\r\n",
            ]
        ),
    ),
    max_size=5,
).map(b"".join)
heads = st.tuples(
    st.sampled_from(["POST", "GET", "HEAD", "PRI", "post", "", "X" * 200]),
    paths,
    st.sampled_from(["1.1", "1.0", "2.0", "9", ""]),
)
wires = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda head, fields, body: (
            "\r\n".join([f"{head[0]} {head[1]} HTTP/{head[2]}", "Host: bridge", *fields, "", ""]).encode() + body
        ),
        heads,
        st.lists(lines, max_size=4),
        bodies,
    ),
)


@pytest.fixture
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("wire")
    url = empty_file(home / "ledger.db")
    stack = Stack(home, url, f"unix://{home}/none.sock", "http://127.0.0.1:9")
    stack.serve()
    yield stack
    stack.close()


def test_no_bytes_on_the_port_get_in_or_stop_the_web(web: Stack) -> None:
    @given(wires)
    @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    def check(sent: bytes) -> None:
        answer = b""
        with (
            suppress(OSError),  # it may close while we write
            socket.create_connection(("127.0.0.1", web.port), timeout=PATIENCE_SECONDS) as wire,
        ):
            wire.sendall(sent)
            wire.shutdown(socket.SHUT_WR)
            wire.settimeout(SECONDS)
            while more := wire.recv(65536):
                answer += more
        assert not answer.startswith(b"HTTP/1.1 500"), sent
        assert b'"event_id"' not in answer, sent

    check()
    assert requests.get(f"{web.url}/healthz", timeout=PATIENCE_SECONDS).status_code == 200
    assert count(web.ledger, "events") == 0
    assert web.post(purchase()).json()["outcome"] == "sale"
    assert "Traceback" not in web.log_path.read_text()
