"""Single sign-on against a real OpenID provider: who gets in, with which role, and what is refused."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from joserfc.jwk import RSAKey
from werkzeug.test import TestResponse

from app.cli.doctor_sso import check_sso
from app.config.oidc import read_oidc
from app.errors import ConfigurationError
from app.ledger.access.tokens import MOST_DAYS_OF_PROVIDER, make_token
from app.ledger.access.users import add_user, disable_user
from app.ledger.engine import Ledger
from app.web.sso.provider import LEAST_BETWEEN_SECONDS, Provider, SignInRefused
from tests.support.makers import one
from tests.support.oidc import ALICE, CLIENT_ID, CLIENT_SECRET, OidcProvider, sign
from tests.web.conftest import FAST, Browser

sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
Claims = dict[str, Any]


@pytest.fixture
def provider() -> Iterator[OidcProvider]:
    started = OidcProvider()
    yield started
    started.close()


@pytest.fixture
def app(make_app: Callable[..., Flask], provider: OidcProvider) -> Flask:
    return make_app(**provider.variables)


def begin(web: FlaskClient, path: str = "/login/sso") -> str:
    """Goes to the provider; the address that it sends the browser back to."""
    start = web.get(path)
    assert start.status_code == 302, start.text
    return requests.get(start.headers["Location"], allow_redirects=False, timeout=60).headers["Location"]


def come_back(web: FlaskClient, location: str) -> TestResponse:
    parts = urlsplit(location)
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == "http://bridge.example/login/sso/callback"
    return web.get(f"{parts.path}?{parts.query}")


def sign_in(app: Flask) -> tuple[FlaskClient, TestResponse]:
    web = app.test_client()
    return web, come_back(web, begin(web))


def test_a_user_signs_in_with_the_role_of_their_groups_and_is_the_same_one_the_next_time(
    app: Flask, provider: OidcProvider, ledger: Ledger
) -> None:
    web = app.test_client()
    assert "Sign in with 127.0.0.1" in web.get("/login").text
    answer = come_back(web, begin(web, "/login/sso?next=/deliveries"))
    assert answer.headers["Location"] == "/deliveries"
    assert "alice" in web.get("/account").text
    assert web.get("/users").status_code == 403
    assert "code_verifier" in provider.posted[0]
    provider.user["groups"] = ["bridge-operators", "bridge-admins"]
    second, _ = sign_in(app)
    assert second.get("/users").status_code == 200
    assert web.get("/audit").status_code == 302  # another role ended the session that was open
    assert one(ledger, "SELECT COUNT(*), MAX(role) FROM users") == (1, "admin")
    with ledger.read() as tx:
        lines = [tuple(row) for row in tx.run("SELECT actor, action, detail FROM audit ORDER BY id")]
    assert lines == [
        ("bridge", "add user", f"operator, of {provider.issuer}"),
        ("bridge", "change role", "operator to admin"),
    ]


@sqlite_alone
@pytest.mark.parametrize(
    ("user", "role"),
    [
        ({"groups": "bridge-viewers"}, "viewer"),
        ({"groups": ["bridge-viewers", "sre"]}, "operator"),
        ({"groups": None}, "viewer"),  # userinfo has them
        ({"groups": ["staff"]}, None),
        ({"groups": [["sre"], 1, None]}, None),
        ({"groups": {"sre": True}}, None),
    ],
)
def test_groups_decide_on_the_role_and_without_one_nobody_gets_in(
    app: Flask, provider: OidcProvider, ledger: Ledger, user: Claims, role: str | None
) -> None:
    provider.user |= user
    if provider.user["groups"] is None:
        del provider.user["groups"]
    provider.userinfo = {"sub": ALICE["sub"], "groups": ["bridge-viewers"]}
    web, answer = sign_in(app)
    if role is not None:
        assert one(ledger, "SELECT role FROM users") == (role,)
        assert web.get("/audit").status_code == 200
        return
    assert answer.status_code == 403
    assert "is in no group that may use this dashboard" in answer.text
    assert "sre" not in answer.text
    assert web.get("/audit").status_code == 302
    assert one(ledger, "SELECT COUNT(*) FROM users") == (0,)


def by_hand(header: Claims, claims: Claims, secret: bytes) -> str:
    """A token whose signature is an HMAC, or none; libraries refuse to make some of these."""
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    digest = hmac.digest(secret, ".".join(parts).encode(), "sha256") if secret else b""
    return ".".join([*parts, base64.urlsafe_b64encode(digest).rstrip(b"=").decode()])


def flipped(claims: Claims, key: RSAKey) -> str:
    head, body, signature = sign(claims, key).split(".")
    return f"{head}.{body}.{signature[:-8] + signature[-8:].swapcase()}"


TAMPERED: dict[str, Callable[[Claims, RSAKey], str]] = {
    "another provider's issuer": lambda c, k: sign({**c, "iss": "https://evil.example"}, k),
    "another program's audience": lambda c, k: sign({**c, "aud": "other"}, k),
    "several audiences, issued to another": lambda c, k: sign({**c, "aud": [CLIENT_ID, "other"], "azp": "other"}, k),
    "expired": lambda c, k: sign({**c, "exp": int(time.time()) - 120}, k),
    "from the future": lambda c, k: sign({**c, "iat": int(time.time()) + 600}, k),
    "never expires": lambda c, k: sign({n: v for n, v in c.items() if n != "exp"}, k),
    "another sign-in's nonce": lambda c, k: sign({**c, "nonce": "other"}, k),
    "no nonce": lambda c, k: sign({n: v for n, v in c.items() if n != "nonce"}, k),
    "no subject": lambda c, k: sign({n: v for n, v in c.items() if n != "sub"}, k),
    "another key": lambda c, _: sign(c, RSAKey.generate_key(2048, {"kid": "k1"})),
    "an unknown key": lambda c, _: sign(c, RSAKey.generate_key(2048, {"kid": "k2"})),
    "the public key as an HMAC secret": lambda c, k: by_hand({"alg": "HS256", "kid": "k1"}, c, k.as_pem(private=False)),
    "the client's secret as an HMAC secret": lambda c, _: by_hand(
        {"alg": "HS256", "kid": "k1"}, c, CLIENT_SECRET.encode()
    ),
    "no signature": lambda c, _: by_hand({"alg": "none", "kid": "k1"}, c, b""),
    "a changed signature": flipped,
    "no token": lambda _c, _k: "",
    "not a token": lambda _c, _k: "a.b.c",
}


@sqlite_alone
def test_a_tampered_id_token_opens_nothing(app: Flask, provider: OidcProvider, ledger: Ledger) -> None:
    seen = {}
    for number, (what, make) in enumerate(TAMPERED.items()):
        provider.make_token = make
        web = app.test_client()
        parts = urlsplit(begin(web))
        answer = web.get(f"{parts.path}?{parts.query}", environ_base={"REMOTE_ADDR": f"198.51.100.{number}"})
        seen[what] = (answer.status_code, web.get("/audit").status_code)
    assert seen == dict.fromkeys(TAMPERED, (400, 302))
    assert one(ledger, "SELECT COUNT(*) FROM users") == (0,)
    provider.make_token = sign
    assert sign_in(app)[1].status_code == 302


@sqlite_alone
def test_a_callback_that_this_browser_did_not_ask_for_is_refused(app: Flask, provider: OidcProvider) -> None:
    victim, attacker = app.test_client(), app.test_client()
    location = begin(attacker)
    assert come_back(victim, location).status_code == 400  # with another one's code and state
    begin(victim)
    assert come_back(victim, location).status_code == 400
    wrong = (
        location.replace("state=", "state=x"),
        location.replace("iss=http", "iss=https"),
        location.split("?")[0] + "?error=access_denied&state=",
        location.split("?")[0],
    )
    for one_of_them in wrong:
        begin(victim)
        assert come_back(victim, one_of_them).status_code == 400
    assert victim.get("/audit").status_code == 302
    own = begin(victim)
    state = parse_qs(urlsplit(own).query)["state"][0]
    denied = come_back(victim, f"{own.split('?')[0]}?error=<b>x</b>&state={state}")
    assert (denied.status_code, "<b>x" in denied.text) == (400, False)
    replayed = begin(victim)
    assert come_back(victim, replayed).status_code == 302
    assert come_back(victim, replayed).status_code in (400, 429)


@sqlite_alone
def test_a_stranger_cannot_make_the_bridge_ask_the_provider_for_ever(app: Flask, provider: OidcProvider) -> None:
    web = app.test_client()
    answers = [come_back(web, begin(web) + "x").status_code for _ in range(10)]
    assert answers == [400] * 8 + [429] * 2


@sqlite_alone
def test_a_disabled_user_and_the_name_of_another_one(app: Flask, provider: OidcProvider, ledger: Ledger) -> None:
    local = add_user(ledger, FAST, "Alice", "admin", "correct horse battery", actor="cli")
    web, _ = sign_in(app)
    assert one(ledger, "SELECT id, name FROM users WHERE issuer IS NOT NULL") == (local.id + 1, "alice 2")
    assert web.get("/users").status_code == 403
    assert Browser(app.test_client(), "", "alice 2").login.status_code == 401  # no password opens it
    token, text = make_token(ledger, local.id + 1, "x", role=None, days=None, actor="cli")
    assert token.expires_at is not None
    assert token.expires_at - token.created_at == MOST_DAYS_OF_PROVIDER * 86_400_000
    disable_user(ledger, local.id + 1, actor="cli")
    assert web.get("/audit").status_code == 302
    _, answer = sign_in(app)
    assert (answer.status_code, "is disabled" in answer.text) == (403, True)
    assert web.get("/api/v1/stats", headers={"Authorization": f"Bearer {text}"}).status_code == 401


@sqlite_alone
def test_logging_out_offers_to_end_the_session_at_the_provider(app: Flask, provider: OidcProvider) -> None:
    web, _ = sign_in(app)
    with web.session_transaction() as session:
        csrf = session["csrf"]
    left = web.post("/logout", data={"csrf": csrf}).headers["Location"]
    page = web.get(left).text
    assert (
        f"{provider.issuer}/logout?client_id=bridge&amp;post_logout_redirect_uri=http%3A%2F%2Fbridge.example%2Flogin"
        in page
    )
    assert web.get("/audit").status_code == 302


def test_keys_that_the_provider_rotated_are_fetched_and_not_all_the_time(
    make_settings: Callable[..., Any], provider: OidcProvider
) -> None:
    settings = make_settings(**provider.variables)
    oidc, now = read_oidc(settings, settings.public_url), [1000.0]
    assert oidc is not None
    client = Provider(oidc, settings.proxies, clock=lambda: now[0])

    def try_it() -> str:
        url, pending = client.begin()
        location = requests.get(url, allow_redirects=False, timeout=60).headers["Location"]
        return client.finish(pending, dict(parse_qsl(urlsplit(location).query))).name

    assert try_it() == "alice"
    provider.key = RSAKey.generate_key(2048, {"kid": "k2", "use": "sig"})
    with pytest.raises(SignInRefused, match="no key of the provider"):
        try_it()
    now[0] += LEAST_BETWEEN_SECONDS
    assert try_it() == "alice"


@sqlite_alone
def test_a_provider_that_does_not_answer_leaves_the_passwords(app: Flask, provider: OidcProvider) -> None:
    provider.is_down = True
    answer = app.test_client().get("/login/sso")
    assert (answer.status_code, "503" in answer.text) == (503, True)
    assert Browser(app.test_client(), "password of the tests").login.status_code == 302


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"OIDC_CLIENT_ID": ""}, "set OIDC_CLIENT_ID too"),
        ({"OIDC_CLIENT_SECRET": "", "PUBLIC_URL": ""}, "set OIDC_CLIENT_SECRET, PUBLIC_URL too"),
        ({"OIDC_VIEWERS": "", "OIDC_OPERATORS": "", "OIDC_ADMINS": ""}, "set OIDC_OPERATORS or OIDC_VIEWERS too"),
        ({"OIDC_ISSUER": "http://idp.example"}, "OIDC_ISSUER: must begin with https://"),
        ({"OIDC_SCOPES": "profile"}, "OIDC_SCOPES must contain openid"),
    ],
)
def test_what_is_missing_is_named(
    make_settings: Callable[..., Any], provider: OidcProvider, changed: dict[str, str], said: str
) -> None:
    def read() -> None:
        settings = make_settings(**(provider.variables | changed))
        read_oidc(settings, settings.public_url)

    with pytest.raises(ConfigurationError, match=said):
        read()


def test_without_the_extra_its_settings_name_it(
    make_settings: Callable[..., Any], provider: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.config.oidc.find_spec", lambda _name: None)
    settings = make_settings(**provider.variables)
    with pytest.raises(ConfigurationError, match=r"pip install 'conversion-bridge\[oidc\]'"):
        read_oidc(settings, settings.public_url)
    assert read_oidc(make_settings(**dict.fromkeys(provider.variables, "")), None) is None


def test_doctor_asks_the_provider(make_settings: Callable[..., Any], provider: OidcProvider) -> None:
    settings = make_settings(**provider.variables)
    ((kind, text),) = check_sso(settings)
    assert (kind, "http://bridge.example/login/sso/callback" in text) == ("ok", True)
    provider.document = {"issuer": "https://other.example", "token_endpoint": None}
    ((kind, text),) = check_sso(settings)
    assert (kind, "another issuer" in text) == ("wrong", True)
    provider.document = {"token_endpoint": None}
    assert "has no token_endpoint" in next(check_sso(settings))[1]
    provider.document = {"code_challenge_methods_supported": ["plain"]}
    assert [kind for kind, _ in check_sso(settings)] == ["ok", "warn"]
    provider.is_down = True
    assert next(check_sso(settings))[0] == "wrong"
    assert list(check_sso(make_settings(**dict.fromkeys(provider.variables, "")))) == []
