"""Who may see and change what."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.sessions import SecureCookieSessionInterface
from flask.testing import FlaskClient

from app.ledger.engine import Ledger
from app.ledger.sessions import end, is_open
from app.web.throttle import MOST_FAILURES
from tests.support.makers import checkout, one, settle, signed
from tests.web.conftest import API, Browser

sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
OPEN = {"/login", "/healthz", "/readyz", "/statusz", "/metrics"}
ADDRESS = "p1@example.com"


def every_route(app: Flask) -> Iterator[tuple[str, str, str]]:
    """(rule, method, path) of all that the web answers, less static files and what WSGI answers by itself."""
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<int:[^>]*>", "1", rule.rule)
        path = re.sub(r"<any\(lead, sale\):[^>]*>", "sale", path)
        path = re.sub(r"<[^>]*>", "stripe", path)
        for method in sorted((rule.methods or set()) - {"OPTIONS"}):
            if not path.startswith("/static/"):
                yield rule.rule, method, path


def cookie_of(browser: Browser) -> str:
    cookie = browser.client.get_cookie("bridge")
    assert cookie is not None
    return cookie.value


@pytest.fixture
def seeded(web: FlaskClient, post: Callable[[bytes], Any]) -> FlaskClient:
    """A web with an event and a dead delivery of which nobody outside may learn anything."""
    post(checkout(1))
    settle(web.application.extensions["ledger"], "permanent", status=422, error="the destination rejected this payload")
    return web


@sqlite_alone
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Cookie": "bridge=forged.session.cookie"}])
def test_without_session_or_token_every_route_gives_a_refusal_and_nothing_else(
    seeded: FlaskClient, app: Flask, headers: dict[str, Any]
) -> None:
    seen = 0
    for _rule, method, path in every_route(app):
        answer = seeded.open(path, method=method, headers=headers)
        seen += 1
        assert ADDRESS not in answer.text, path
        assert "evt_1" not in answer.text, path
        if path in OPEN or (path == "/webhooks/stripe" and method != "POST"):
            continue
        if answer.status_code == 302:
            assert answer.headers["Location"].startswith("/login?next="), path
        else:
            assert answer.status_code in (401, 403, 404, 405), (method, path, answer.status_code)
            assert answer.status_code != 404 or path.startswith(("/webhooks/", "/sandbox/")), path
    assert seen > 20
    ledger = app.extensions["ledger"]
    assert one(ledger, "SELECT status FROM deliveries") == ("dead",)
    assert one(ledger, "SELECT COUNT(*) FROM audit") == (0,)


@sqlite_alone
def test_a_session_is_no_token_and_a_token_no_session(seeded: FlaskClient, browser: Browser) -> None:
    assert browser.client.get("/api/v1/events").status_code == 401
    assert seeded.get("/events", headers=API).status_code == 302


@sqlite_alone
def test_the_api_is_closed_where_no_token_is_configured(make_app: Callable[..., Flask]) -> None:
    web = make_app(API_TOKEN="").test_client()
    for header in ("Bearer ", "Bearer None", "Bearer api token of the tests", ""):
        assert web.get("/api/v1/stats", headers={"Authorization": header}).status_code == 403


@sqlite_alone
def test_the_api_takes_its_token_as_bearer_alone(web: FlaskClient) -> None:
    token = "api token of the tests"

    def status(header: str) -> int:
        return int(web.get("/api/v1/stats", headers={"Authorization": header}).status_code)

    assert [status(f"Bearer {token}"), status(f"bearer {token} ")] == [200, 200]
    refused = [token, f"Basic {token}", f"Bearer {token[:-1]}", f"Bearer {token}x", "Bearer t\xf6ken", "Bearer", ""]
    assert {status(header) for header in refused} == {401}
    assert web.get(f"/api/v1/stats?token={token}").status_code == 401


@sqlite_alone
def test_the_right_password_opens_the_pages_and_a_wrong_one_nothing(app: Flask) -> None:
    assert Browser(app.test_client(), "password of the test").login.status_code == 401
    assert Browser(app.test_client(), "").login.status_code == 401
    browser = Browser(app.test_client(), "password of the tests")
    assert (browser.login.status_code, browser.login.headers["Location"]) == (302, "/")
    assert browser.get("/").status_code == 200
    assert browser.get("/login").headers["Location"] == "/"


def tries(app: Flask, password: str, address: str, forwarded: str = "") -> int:
    """What a login from there is answered."""
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    form = {"password": password, "name": "Grace"}
    return (
        app.test_client().post("/login", data=form, headers=headers, environ_base={"REMOTE_ADDR": address}).status_code
    )


@sqlite_alone
def test_after_eight_failed_logins_an_address_must_wait_and_no_other(app: Flask) -> None:
    tried = [tries(app, f"guess {n}", "203.0.113.5") for n in range(MOST_FAILURES + 2)]
    assert tried == [401] * MOST_FAILURES + [429] * 2
    assert tries(app, "password of the tests", "203.0.113.5") == 429
    assert tries(app, "password of the tests", "203.0.113.6") == 302


@sqlite_alone
def test_a_header_of_anybodys_changes_nothing_where_no_proxy_is_trusted(app: Flask) -> None:
    tried = [tries(app, "guess", "203.0.113.5", f"198.51.100.{n}") for n in range(MOST_FAILURES + 1)]
    assert tried[-1] == 429


@sqlite_alone
def test_behind_a_trusted_proxy_those_who_ask_are_told_apart(make_app: Callable[..., Flask]) -> None:
    app = make_app(TRUSTED_PROXIES="10.0.0.0/8, 2001:db8::1")
    tried = [tries(app, "guess", "10.0.0.7", f"198.51.100.{n}, 203.0.113.5") for n in range(MOST_FAILURES + 1)]
    assert tried == [401] * MOST_FAILURES + [429]
    assert tries(app, "password of the tests", "10.0.0.7", "203.0.113.6, 10.2.3.4") == 302


@sqlite_alone
def test_a_form_of_another_site_logs_nobody_in(web: FlaskClient) -> None:
    form = {"password": "password of the tests"}
    for site in ("cross-site", "same-site"):
        assert web.post("/login", data=form, headers={"Sec-Fetch-Site": site}).status_code == 400
    assert web.get("/").status_code == 302
    assert web.post("/login", data=form, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 302


@sqlite_alone
def test_changes_need_the_csrf_token_of_the_session(seeded: FlaskClient, browser: Browser, app: Flask) -> None:
    ledger = app.extensions["ledger"]
    (delivery,) = one(ledger, "SELECT id FROM deliveries")
    other = Browser(app.test_client(), "password of the tests")
    for path in (f"/deliveries/{delivery}/replay", f"/deliveries/{delivery}/discard", "/logout"):
        for token in ({}, {"csrf": ""}, {"csrf": "x"}, {"csrf": "\xe9"}, {"csrf": other.csrf}):
            assert browser.client.post(path, data=token).status_code == 400, path
        assert browser.client.post(f"{path}?csrf={browser.csrf}").status_code == 400
        assert browser.client.get(path).status_code == 405
    assert one(ledger, "SELECT status FROM deliveries") == ("dead",)
    assert browser.submit(f"/deliveries/{delivery}/replay").status_code == 302
    assert one(ledger, "SELECT status FROM deliveries") == ("pending",)


@sqlite_alone
def test_logging_out_ends_the_session(browser: Browser) -> None:
    assert browser.submit("/logout").headers["Location"] == "/login"
    assert browser.get("/").status_code == 302


def test_a_cookie_that_was_copied_ends_with_its_session(app: Flask, browser: Browser) -> None:
    cookie = cookie_of(browser)
    other = Browser(app.test_client(), "password of the tests")
    thief = app.test_client()
    thief.set_cookie("bridge", cookie)
    assert thief.get("/audit").status_code == 200
    browser.submit("/logout")
    assert thief.get("/audit").status_code == 302
    assert other.get("/audit").status_code == 200


@sqlite_alone
def test_what_is_kept_of_sessions_that_were_logged_out_is_removed_with_their_time(ledger: Ledger) -> None:
    end(ledger, "old", 1)
    end(ledger, "new", 2**40)
    kept = "SELECT name FROM counters WHERE name LIKE 'session%'"
    assert one(ledger, kept) == ("session_ended:new",)
    assert not is_open(ledger, "new", 0)
    assert is_open(ledger, "another", 0)


@sqlite_alone
def test_sessions_end_with_the_password_that_opened_them(make_app: Callable[..., Flask]) -> None:
    passwords = {"DASHBOARD_PASSWORD": "password of the tests", "DASHBOARD_VIEWER_PASSWORD": "viewers may look"}
    before = make_app(**passwords)
    cookies = {name: cookie_of(Browser(before.test_client(), value)) for name, value in passwords.items()}

    def status(name: str, **changed: str) -> int:
        web = make_app(**{**passwords, **changed}).test_client()
        web.set_cookie("bridge", cookies[name])
        return int(web.get("/audit").status_code)

    assert status("DASHBOARD_PASSWORD") == status("DASHBOARD_VIEWER_PASSWORD") == 200
    assert status("DASHBOARD_PASSWORD", DASHBOARD_PASSWORD="another password") == 302
    assert status("DASHBOARD_VIEWER_PASSWORD", DASHBOARD_PASSWORD="another password") == 200
    assert status("DASHBOARD_VIEWER_PASSWORD", DASHBOARD_VIEWER_PASSWORD="") == 302


@sqlite_alone
def test_a_session_ends_by_time(browser: Browser) -> None:
    with browser.client.session_transaction() as session:
        session["until"] = 1.0
    assert browser.get("/").status_code == 302
    assert browser.submit("/logout").status_code == 401


@sqlite_alone
def test_a_cookie_signed_with_another_key_is_no_session(app: Flask, web: FlaskClient) -> None:
    other = Flask("other")
    other.secret_key = "another secret key of somebody"
    signer = SecureCookieSessionInterface().get_signing_serializer(other)
    assert signer is not None
    forged = signer.dumps({"name": "x", "role": "operator", "csrf": "x", "until": 9e12})
    web.set_cookie("bridge", str(forged))
    assert web.get("/").status_code == 302


@sqlite_alone
def test_a_viewer_sees_everything_and_changes_nothing(make_app: Callable[..., Flask], ledger: Ledger) -> None:
    app = make_app(DASHBOARD_VIEWER_PASSWORD="viewers may look")
    operator, viewer = (Browser(app.test_client(), p) for p in ("password of the tests", "viewers may look"))
    app.test_client().post("/webhooks/stripe", **signed(checkout()))
    (delivery,) = one(ledger, "SELECT id FROM deliveries")
    page = viewer.get(f"/deliveries/{delivery}")
    assert "p•••@example.com" in page.text  # a read-only login sees addresses masked
    assert f"/deliveries/{delivery}/replay" not in page.text
    assert f"/deliveries/{delivery}/replay" in operator.get(f"/deliveries/{delivery}").text
    for change in ("replay", "discard"):
        assert viewer.submit(f"/deliveries/{delivery}/{change}").status_code == 403
    assert one(ledger, "SELECT status FROM deliveries") == ("pending",)
    assert viewer.submit("/logout").status_code == 302


@sqlite_alone
def test_every_answer_for_people_carries_the_security_headers(browser: Browser) -> None:
    for path in (
        "/",
        "/login",
        "/events",
        "/deliveries",
        "/sandbox",
        "/nothing/here",
        "/static/bridge.css",
        "/healthz",
    ):
        answer = browser.get(path)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"], path
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], path
        assert "unsafe" not in answer.headers["Content-Security-Policy"], path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "same-origin"
    assert browser.get("/").headers["Cache-Control"] == "no-store"


@sqlite_alone
def test_pages_need_no_inline_script_or_style(browser: Browser, post: Callable[[bytes], Any]) -> None:
    post(checkout())
    for path in ("/", "/login", "/events", "/deliveries", "/sandbox"):
        text = browser.get(path).text
        assert not re.search(r"<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=|<style|javascript:|https?://", text), path


@sqlite_alone
@pytest.mark.parametrize(("public_url", "secure"), [("", False), ("https://bridge.example", True)])
def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(
    make_app: Callable[..., Flask], public_url: str, secure: bool
) -> None:
    browser = Browser(make_app(PUBLIC_URL=public_url).test_client(), "password of the tests")
    cookie = browser.login.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert ("Secure" in cookie) is secure
    assert cookie.startswith("__Host-bridge=" if secure else "bridge=")


@sqlite_alone
@pytest.mark.parametrize(
    "target",
    [
        "//evil.example",
        "https://evil.example",
        "/\\evil.example",
        "/%09/evil.example",
        "/%0a/evil.example",
        "/%0d%0aSet-Cookie:%20a=b",
        "%2F%2Fevil.example",
        "javascript:alert(1)",
        "",
        "evil",
    ],
)
def test_after_login_nobody_is_sent_to_another_site(web: FlaskClient, target: str) -> None:
    answer = web.post(f"/login?next={target}", data={"password": "password of the tests"})
    assert (answer.status_code, answer.headers["Location"]) == (302, "/")


@sqlite_alone
def test_after_login_one_is_where_one_wanted_to_be(web: FlaskClient) -> None:
    expected = web.get("/deliveries?status=dead").headers["Location"]
    answer = web.post(expected, data={"password": "password of the tests"})
    assert answer.headers["Location"] == "/deliveries?status=dead"


@sqlite_alone
def test_asking_for_the_head_of_the_login_page_is_no_attempt_to_log_in(app: Flask, web: FlaskClient) -> None:
    for _ in range(MOST_FAILURES * 2):
        answer = web.head("/login")
        assert (answer.status_code, answer.data) == (200, b"")
    assert Browser(app.test_client(), "password of the tests").login.status_code == 302


@sqlite_alone
def test_head_answers_every_address_as_get_does(seeded: FlaskClient, app: Flask, browser: Browser) -> None:
    for client in (seeded, browser.client):
        for _rule, method, path in every_route(app):
            if method == "GET":
                got, headed = client.get(path), client.head(path)
                assert headed.status_code == got.status_code, path
                assert headed.headers.get("Location") == got.headers.get("Location"), path
                assert headed.headers["Content-Type"] == got.headers["Content-Type"], path
                assert headed.data == b"", path
