"""Named users through the API, as a program that joins and leaves people would use it."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.ledger.access.roles import Role
from app.ledger.access.tokens import make_token
from app.ledger.access.users import add_user
from app.ledger.engine import Ledger
from tests.support.makers import one
from tests.web.conftest import API, FAST, Browser

PASSWORD = "correct horse battery"
sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@pytest.fixture
def call(web: FlaskClient) -> Callable[..., Any]:
    def send(path: str, body: object = None, headers: dict[str, str] = API, status: int = 200) -> Any:
        method = "GET" if body is None else "POST"
        answer = web.open(f"/api/v1/{path}", method=method, json=body, headers=headers)
        assert answer.status_code == status, (path, answer.text)
        return answer.json

    return send


def bearer(ledger: Ledger, role: Role) -> dict[str, str]:
    user = add_user(ledger, FAST, f"The {role}s", role, PASSWORD, actor="cli")
    return {"Authorization": f"Bearer {make_token(ledger, user.id, 'x', role=None, days=1, actor='cli')[1]}"}


def test_a_user_comes_changes_and_goes(call: Callable[..., Any], app: Flask, ledger: Ledger) -> None:
    added = call("users", {"name": "Ada", "role": "viewer"})
    path = f"users/{added['user']['id']}"
    assert Browser(app.test_client(), added["password"], "Ada").login.status_code == 302
    assert call("users", {"name": "ada", "role": "viewer"}, status=409)["error"] == "there is a user Ada already"
    assert call(f"{path}/role", {"role": "operator"})["role"] == "operator"
    assert call(f"{path}/password", {"password": PASSWORD})["password"] is None
    browser = Browser(app.test_client(), PASSWORD, "Ada")
    make_token(ledger, added["user"]["id"], "nightly", role=None, days=None, actor="cli")
    (token,) = call(f"{path}/tokens")["tokens"]
    assert (token["label"], token["role"], token["used_at"]) == ("nightly", "operator", None)
    call(f"tokens/{token['id']}/revoke", {})
    assert call(f"{path}/tokens") == {"tokens": []}
    assert call(f"{path}/disable", {})["disabled"] is True
    assert browser.get("/audit").status_code == 302
    call(f"{path}/enable", {})
    call(f"{path}/remove", {})
    call(path, status=404)
    with ledger.read() as tx:
        actors = set(tx.run("SELECT actor FROM audit WHERE subject = 'user Ada' AND action <> 'make token'").scalars())
    assert actors == {"api"}


@sqlite_alone
def test_only_admins_see_and_change_users_and_everybody_sees_who_they_are(
    call: Callable[..., Any], ledger: Ledger
) -> None:
    assert call("me") == {"name": "api", "role": "admin", "token": None, "expires_at": None}
    roles: tuple[Role, ...] = ("viewer", "operator")
    for role in roles:
        headers = bearer(ledger, role)
        mine = call("me", headers=headers)
        assert (mine["name"], mine["role"], mine["token"]) == (f"The {role}s", role, "x")
        call("users", headers=headers, status=403)
        call("users", {"name": "Eve", "role": "admin"}, headers, status=403)
        call("users/1/password", {}, headers, status=403)
    admin = bearer(ledger, "admin")
    (own,) = one(ledger, "SELECT id FROM users WHERE role = 'admin'")
    for change, body in (("role", {"role": "viewer"}), ("password", {}), ("disable", {}), ("remove", {})):
        refused = call(f"users/{own}/{change}", body, admin, status=409)
        assert "this is your own account" in refused["error"]
    call("users", {"name": "Eve", "role": "viewer"}, admin)
    assert one(ledger, "SELECT actor FROM audit WHERE subject = 'user Eve'") == ("The admins (token x)",)


@sqlite_alone
@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "Eve"}, 422),
        ({"name": "Eve", "role": "root"}, 422),
        ({"name": "<Eve>", "role": "viewer"}, 422),
        ({"name": "Eve", "role": "viewer", "password": "short"}, 422),
        ({"name": "Eve", "role": "viewer", "password": "a" * 12}, 409),
        ({"name": "api", "role": "viewer"}, 409),
        ({"name": "Eve", "role": "viewer", "is_admin": True}, 422),
    ],
)
def test_what_cannot_be_a_user_is_refused(
    call: Callable[..., Any], ledger: Ledger, body: dict[str, Any], status: int
) -> None:
    call("users", body, status=status)
    assert one(ledger, "SELECT COUNT(*) FROM users") == (0,)
