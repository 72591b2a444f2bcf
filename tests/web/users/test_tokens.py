"""API tokens of named users: shown once, never above their user, masked for viewers, gone at once when revoked."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.errors import AccessError
from app.ledger.access.tokens import MOST_TOKENS, bearer_of, make_token
from app.ledger.access.users import User, add_user, disable_user, remove_user, set_role
from app.ledger.engine import Ledger
from app.web.api.blueprint import RESOURCES
from app.web.api.routes import PARAMETER
from tests.support.makers import change, checkout, one, settle, signed
from tests.web.conftest import API, FAST, Browser
from tests.web.users.test_users import PASSWORD, shown_secret

sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
ADDRESS = "p1@example.com"


@pytest.fixture
def user(ledger: Ledger) -> User:
    return add_user(ledger, FAST, "Ada", "operator", PASSWORD, actor="cli")


def status(web: FlaskClient, token: str, path: str = "stats", method: str = "GET") -> int:
    return int(web.open(f"/api/v1/{path}", method=method, headers={"Authorization": f"Bearer {token}"}).status_code)


def test_a_token_is_shown_once_acts_as_its_user_and_ends_when_it_is_revoked(
    app: Flask, web: FlaskClient, ledger: Ledger, user: User
) -> None:
    browser = Browser(app.test_client(), PASSWORD, "Ada")
    token = shown_secret(browser.submit("/account/tokens", label="CRM sync", role="operator", days="30").text)
    assert token.startswith("cb_")
    assert token not in browser.get("/account").text
    kept = one(ledger, "SELECT digest, hint FROM api_tokens")
    assert kept == (hashlib.sha256(token.encode()).hexdigest(), token[-4:])
    web.post("/webhooks/stripe", **signed(checkout()))
    (delivery,) = one(ledger, "SELECT id FROM deliveries")
    assert status(web, token, f"deliveries/{delivery}/discard", "POST") == 200
    assert one(ledger, "SELECT actor FROM audit WHERE action = 'discard'") == ("Ada (token CRM sync)",)
    (used,) = one(ledger, "SELECT used_at FROM api_tokens")
    assert used is not None
    assert status(web, token) == 200
    assert one(ledger, "SELECT used_at FROM api_tokens") == (used,)  # not written at each request
    assert status(web, "api token of the tests") == 200
    other = add_user(ledger, FAST, "Eve", "admin", PASSWORD, actor="cli")
    eve = Browser(app.test_client(), PASSWORD, "Eve")
    (token_id,) = one(ledger, "SELECT id FROM api_tokens")
    assert eve.submit(f"/account/tokens/{token_id}/revoke").status_code == 404  # it is not hers
    assert eve.submit(f"/users/{other.id}/tokens/{token_id}/revoke").status_code == 404
    assert browser.submit(f"/account/tokens/{token_id}/revoke").status_code == 302
    assert status(web, token) == 401


def test_a_token_ends_with_its_time_its_user_and_their_role(web: FlaskClient, ledger: Ledger, user: User) -> None:
    _, token = make_token(ledger, user.id, "x", role=None, days=1, actor="cli")
    assert status(web, token, "events/remap", "POST") == 200
    set_role(ledger, user.id, "viewer", actor="cli")
    assert (status(web, token), status(web, token, "events/remap", "POST")) == (200, 403)
    disable_user(ledger, user.id, actor="cli")
    assert status(web, token) == 401
    change(ledger, "UPDATE users SET disabled_at = NULL")
    assert status(web, token) == 200
    change(ledger, "UPDATE api_tokens SET expires_at = 1")
    assert status(web, token) == 401
    change(ledger, "UPDATE api_tokens SET expires_at = NULL")
    remove_user(ledger, user.id, actor="cli")
    assert status(web, token) == 401


@sqlite_alone
def test_what_is_no_token_of_ours_is_refused_without_asking_the_ledger(
    web: FlaskClient, ledger: Ledger, user: User
) -> None:
    _, token = make_token(ledger, user.id, "x", role=None, days=None, actor="cli")
    wrong = ["cb_", token[:-1], token + "0", "cb_" + "0" * 46, token.swapcase(), "cb_" + "é" * 46, token[3:]]
    assert {status(web, one_of_them) for one_of_them in wrong} == {401}
    with pytest.raises(AttributeError):
        bearer_of(None, token)  # type: ignore[arg-type]
    for one_of_them in wrong[:-1]:
        assert bearer_of(None, one_of_them) is None  # type: ignore[arg-type]


def test_a_viewers_token_reads_masked_and_changes_nothing(app: Flask, web: FlaskClient, ledger: Ledger) -> None:
    viewer = add_user(ledger, FAST, "Vi", "viewer", PASSWORD, actor="cli")
    _, token = make_token(ledger, viewer.id, "x", role=None, days=None, actor="cli")
    headers = {"Authorization": f"Bearer {token}"}
    web.post("/webhooks/stripe", **signed(checkout(1)))
    settle(ledger, "permanent", status=422, error=f"no {ADDRESS}", answer="{}")
    delivery, person = one(ledger, "SELECT id, person_id FROM deliveries")
    (event,) = one(ledger, "SELECT id FROM events")
    ids = {"delivery_id": delivery, "person_id": person, "event_id": event, "name": "stripe"}
    adapter, seen = app.url_map.bind("localhost"), 0
    routes = [route for resource in RESOURCES for route in resource.routes]
    assert [route.rule for route in routes if route.method == "post" and route.role == "viewer"] == [
        "/map"
    ]  # a dry run
    for route in routes:
        names = PARAMETER.findall(route.rule)
        path = adapter.build(f"api.{route.view.__name__}", {name: ids.get(name, 1) for _, name in names})
        answer = web.open(path, method=route.method, headers=headers)
        seen += 1
        assert ADDRESS not in answer.text, path
        assert "p1%40" not in answer.text, path
        expected = {200, 404, 422} if route.role == "viewer" else {403}
        assert answer.status_code in expected, (route.method, path, answer.text)
    assert seen > 20
    whole = web.get("/api/v1/deliveries", headers=API).text
    assert ADDRESS in whole
    found = {q: web.get(f"/api/v1/persons?q={q}", headers=headers).json["persons"] for q in ("p1@", ADDRESS)}  # type: ignore[index]
    assert [len(rows) for rows in found.values()] == [0, 1]  # no address is found letter by letter
    csv = web.get("/api/v1/deliveries.csv", headers=headers)
    assert (csv.status_code, ADDRESS in csv.text, "p•••@example.com" in csv.text) == (200, False, True)


@sqlite_alone
def test_a_token_that_its_user_may_not_have_is_refused(app: Flask, ledger: Ledger, user: User) -> None:
    for label, role, days in (("", None, None), ("x" * 41, None, None), ("a\u202eb", None, None), ("x", "admin", None)):
        with pytest.raises(AccessError):
            make_token(ledger, user.id, label, role=role, days=days, actor="cli")  # type: ignore[arg-type]
    for long in (0, 3651):
        with pytest.raises(AccessError):
            make_token(ledger, user.id, "x", role=None, days=long, actor="cli")
    browser = Browser(app.test_client(), PASSWORD, "Ada")
    for fields in (
        {"role": "admin"},
        {"role": "nobody"},
        {"role": "viewer", "days": "x"},
        {"role": "viewer", "days": "-1"},
    ):
        assert browser.submit("/account/tokens", label="x", **fields).status_code == 302
    assert one(ledger, "SELECT COUNT(*) FROM api_tokens") == (0,)
    for _ in range(MOST_TOKENS):
        make_token(ledger, user.id, "x", role="viewer", days=None, actor="cli")
    with pytest.raises(AccessError, match="revoke some"):
        make_token(ledger, user.id, "x", role="viewer", days=None, actor="cli")


@sqlite_alone
def test_the_command_line_manages_tokens(
    bridge: Callable[..., Any], web: FlaskClient, ledger_url: str, user: User
) -> None:
    def run(*arguments: str) -> Any:
        return bridge("token", *arguments, DATABASE_URL=ledger_url)

    assert "no API tokens" in run("list", "Ada").output
    token = run("add", "Ada", "nightly job", "--role", "viewer", "--days", "7").stdout.strip()
    assert (status(web, token), status(web, token, "events/remap", "POST")) == (200, 403)
    listed = json.loads(run("list", "ada", "--json").output)
    assert (listed["label"], listed["role"]) == ("nightly job", "viewer")
    assert token not in run("list", "Ada").output
    assert "Revoked" in run("revoke", str(listed["id"])).output
    assert status(web, token) == 401
    assert run("revoke", str(listed["id"])).exit_code == 1
