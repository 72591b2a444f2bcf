"""Hypothesis over what strangers send to the pages and the API: forms, cookies, tokens, queries, the way back from a provider.

Nothing they write opens a session, and nothing is a 500. BRIDGE_STRANGERS is how many examples each test gets (20).
"""

import asyncio
import os
from collections.abc import Callable, Iterator
from urllib.parse import urlencode

import pytest
from flask import Flask
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.config.oidc import read_oidc
from app.config.settings import Settings
from app.ledger.access.tokens import make_token
from app.ledger.access.users import add_user
from app.ledger.engine import Ledger
from app.web.sso.provider import Provider, SignInRefused
from tests.support.makers import checkout, one, signed
from tests.support.oidc import OidcProvider
from tests.web.conftest import FAST, Browser
from tests.web.test_gateway import Proto, run

EXAMPLES = int(os.environ.get("BRIDGE_STRANGERS", "20"))
PASSWORD = "correct horse battery"
fuzz = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
pytestmark = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)

texts = st.one_of(
    st.text(st.characters(max_codepoint=0x1FFFF, exclude_categories=["Cs"]), max_size=40),
    st.sampled_from(
        ["Ada", "1", "-1", "9" * 30, "2026-04-10", "24h", "dead", "stripe", "main", "\x00", "%", "' OR 1=1 --", "1e9"]
    ),
)
FIELDS = tuple(
    "name password csrf next q status source since until before code reason outcome state iss error destination kind".split()  # noqa: SIM905
)
queries = st.lists(st.tuples(st.sampled_from(FIELDS) | texts, texts), max_size=5).map(urlencode)


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    started = OidcProvider()
    yield started
    started.close()


@pytest.fixture
def app(
    make_app: Callable[..., Flask], ledger: Ledger, provider: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> Flask:
    monkeypatch.setattr("app.web.throttle.MOST_FAILURES", 10**9)  # what is behind the throttle is tried here
    monkeypatch.setattr("app.web.throttle.MOST_OF_ALL", 10**9)
    app = make_app(**provider.variables)
    add_user(ledger, FAST, "Ada", "operator", PASSWORD, actor="cli")
    app.test_client().post("/webhooks/stripe", **signed(checkout()))
    return app


def test_no_login_form_cookie_or_token_opens_anything(app: Flask, ledger: Ledger) -> None:
    cookie = Browser(app.test_client(), PASSWORD, "Ada").client.get_cookie("bridge")
    _, token = make_token(ledger, 1, "x", role=None, days=None, actor="cli")
    assert cookie is not None
    value = cookie.value

    @given(texts, texts, st.binary(max_size=60), st.integers(0, len(value) - 1), texts, queries)
    @fuzz
    def check(name: str, password: str, raw: bytes, at: int, piece: str, query: str) -> None:
        web = app.test_client()
        form = web.post(f"/login?{query}", data={"name": name, "password": password})
        body = web.post("/login", data=raw, content_type="application/x-www-form-urlencoded")
        parts = web.post("/login", data=raw, content_type="multipart/form-data; boundary=x")
        assert {form.status_code, body.status_code, parts.status_code} <= {400, 401}
        assert web.get("/audit").status_code == 302
        changed = value[:at] + piece + value[at + 1 :]
        headers = {"Cookie": f"bridge={changed}".encode().decode("latin-1").replace("\r", "").replace("\n", "")}
        answer = app.test_client(use_cookies=False).get("/audit", headers=headers)
        assert answer.status_code == 302 or value.rpartition(".")[0] in changed
        for bearer in (piece, token[: at % len(token)] + piece, "cb_" + piece):
            header = f"Bearer {bearer}".encode().decode("latin-1").replace("\r", "").replace("\n", "")
            status = web.get("/api/v1/stats", headers={"Authorization": header}).status_code
            assert status == 401 or bearer.strip() == token

    check()
    assert one(ledger, "SELECT COUNT(*) FROM audit WHERE actor LIKE 'Ada%'") == (0,)


def test_no_query_is_a_500_on_any_page(app: Flask) -> None:
    browser = Browser(app.test_client(), PASSWORD, "Ada")
    pages = sorted(
        rule.rule
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ())
        and not rule.arguments
        and not rule.rule.startswith(("/api/", "/login", "/metrics"))
    )
    assert len(pages) > 12

    @given(st.sampled_from(pages), queries)
    @fuzz
    def check(path: str, query: str) -> None:
        for client in (browser.client, app.test_client()):
            answer = client.get(f"{path}?{query}")
            assert answer.status_code < 500 or path == "/statusz", (path, query)

    check()


def test_no_callback_or_id_token_of_a_stranger_opens_a_session(
    app: Flask, provider: OidcProvider, make_settings: Callable[..., Settings], ledger: Ledger
) -> None:
    configuration = make_settings(**provider.variables)
    oidc = read_oidc(configuration, configuration.public_url)
    assert oidc is not None
    client = Provider(oidc, configuration.proxies)
    document = client.document()

    @given(
        queries,
        texts,
        st.lists(texts | st.sampled_from(["e30", "eyJhbGciOiJSUzI1NiJ9", "eyJhbGciOiJub25lIn0"]), max_size=4),
    )
    @fuzz
    def check(query: str, code: str, parts: list[str]) -> None:
        web = app.test_client()
        assert web.get(f"/login/sso/callback?{query}").status_code == 400
        web.get("/login/sso")
        with web.session_transaction() as session:
            state = session["sso_pending"]["state"]
        query = f"{urlencode({'state': state, 'code': code})}&{query}"
        assert web.get(f"/login/sso/callback?{query}").status_code == 400
        assert web.get("/audit").status_code == 302
        with pytest.raises(SignInRefused):
            client._verified(document, ".".join(parts), "nonce")

    check()
    assert one(ledger, "SELECT COUNT(*) FROM users") == (1,)


def test_no_framing_of_a_body_gets_a_stranger_in(app: Flask, ledger: Ledger) -> None:
    lengths = st.sampled_from(["", "0", "5", "-1", "1e3", "9" * 30, "5, 5", " 7 ", "+3", "0x5", "٣"])
    before = one(ledger, "SELECT COUNT(*) FROM events")

    @given(
        st.lists(st.binary(max_size=40), max_size=4),
        lengths,
        st.sampled_from(["", "chunked", "gzip", "chunked, chunked"]),
        texts,
    )
    @fuzz
    def check(chunks: list[bytes], length: str, encoding: str, signature: str) -> None:
        headers = {"content-length": length, "transfer-encoding": encoding, "stripe-signature": signature}
        given_headers = {name: value for name, value in headers.items() if value}
        proto = run(app.extensions["gateway"], Proto(*chunks), **given_headers)
        assert proto.status in (400, 401, 413), proto.sent

    check()
    asyncio.set_event_loop(None)
    assert one(ledger, "SELECT COUNT(*) FROM events") == before
