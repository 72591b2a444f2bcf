"""Named users: signing in, roles, what ends a session, and who manages whom."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from app.errors import AccessError
from app.ledger.access.passwords import Passwords
from app.ledger.access.roles import Role
from app.ledger.access.users import User, add_user, find_user
from app.ledger.engine import Ledger
from app.web.throttle import MOST_FAILURES
from tests.support.makers import checkout, one, signed
from tests.web.conftest import FAST, Browser

PASSWORD = "correct horse battery"
NEW = "staple staple horse"
SHARED = "password of the tests"
sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@pytest.fixture
def make_user(ledger: Ledger) -> Callable[..., User]:
    def make(name: str = "Ada", role: Role = "operator", password: str = PASSWORD) -> User:
        return add_user(ledger, FAST, name, role, password, actor="cli")

    return make


def sign_in(app: Flask, name: str = "Ada", password: str = PASSWORD) -> Browser:
    return Browser(app.test_client(), password, name)


def is_in(browser: Browser) -> bool:
    return browser.get("/audit").status_code == 200


def shown_secret(page: str) -> str:
    (found,) = re.findall(r"<pre data-copy[^>]*>([^<]+)</pre>", page)
    return str(found)


def test_a_user_signs_in_with_their_name_and_acts_under_it(
    app: Flask, ledger: Ledger, make_user: Callable[..., User]
) -> None:
    make_user("Zoë Ada")
    assert [
        sign_in(app, *wrong).login.status_code for wrong in (("Zoë Ada", "wrong"), ("Zoë", PASSWORD), ("", PASSWORD))
    ] == [401] * 3
    browser = sign_in(app, " zoe\u0308  ADA ")  # another spelling of the same name
    app.test_client().post("/webhooks/stripe", **signed(checkout()))
    (delivery,) = one(ledger, "SELECT id FROM deliveries")
    assert browser.submit(f"/deliveries/{delivery}/discard").status_code == 302
    assert one(ledger, "SELECT actor FROM audit WHERE action = 'discard'") == ("Zoë Ada",)
    assert one(ledger, "SELECT password FROM users")[0].startswith("$argon2id$")
    assert PASSWORD not in one(ledger, "SELECT password FROM users")[0]


def test_each_role_opens_what_it_may_and_nothing_else(
    app: Flask, ledger: Ledger, make_user: Callable[..., User]
) -> None:
    browsers = {}
    roles: tuple[Role, ...] = ("viewer", "operator", "admin")
    for role in roles:
        make_user(role.title() + "s", role)
        browsers[role] = sign_in(app, role.title() + "s")
    app.test_client().post("/webhooks/stripe", **signed(checkout()))
    (delivery,) = one(ledger, "SELECT id FROM deliveries")
    page = f"/deliveries/{delivery}"
    assert ["p1@example.com" in browsers[role].get(page).text for role in roles] == [False, True, True]
    assert [browsers[role].submit(page + "/discard").status_code for role in roles] == [403, 302, 302]
    assert [browsers[role].get("/users").status_code for role in roles] == [403, 403, 200]
    assert [browsers[role].submit("/users", name="New", role="admin").status_code for role in roles] == [403, 403, 200]


def test_what_ends_the_sessions_of_a_user(app: Flask, ledger: Ledger, make_user: Callable[..., User]) -> None:
    user, admin = make_user(), Browser(app.test_client(), SHARED)
    other = make_user("Grete")
    bystander = sign_in(app, "Grete")
    page = f"/users/{user.id}"

    def ends(path: str, **fields: str) -> bool:
        """Whether a session of the user that was open is over."""
        browser = sign_in(app)
        assert is_in(browser)
        assert admin.submit(page + path, **fields).status_code in (200, 302)
        return not is_in(browser)

    assert ends("/end-sessions")
    assert ends("/role", role="viewer")
    assert not ends("/role", role="viewer")  # nothing changed
    assert ends("/disable")
    assert sign_in(app).login.status_code == 401
    admin.submit(page + "/enable")
    browser = sign_in(app)
    secret = shown_secret(admin.submit(page + "/password").text)
    assert not is_in(browser)
    assert sign_in(app).login.status_code == 401
    browser = sign_in(app, "Ada", secret)
    assert is_in(browser)
    assert "Remove Ada?" in admin.submit(page + "/remove").text
    assert is_in(browser)
    admin.submit(page + "/remove", confirmed="1")
    assert not is_in(browser)
    again = make_user(password=secret)  # may get the same ID
    assert not is_in(browser), (user.id, again.id)
    assert is_in(bystander)
    with ledger.read() as tx:
        actions = list(tx.run("SELECT action FROM audit WHERE subject = 'user Ada' AND actor LIKE 'Grace%'").scalars())
    assert sorted(actions) == sorted(
        ["end sessions", "change role", "disable user", "enable user", "set password", "remove user"]
    )
    assert other.name == "Grete"


def test_a_user_of_any_role_changes_their_own_password_and_ends_their_sessions(
    app: Flask, make_user: Callable[..., User]
) -> None:
    make_user(role="viewer")
    here, there = sign_in(app), sign_in(app)

    def change(current: str, password: str, again: str) -> bool:
        answer = here.submit("/account/password", current=current, password=password, again=again)
        assert answer.headers["Location"] == "/account"
        return "is changed" in here.get("/account").text

    assert not change("wrong", NEW, NEW)
    assert not change(PASSWORD, NEW, NEW + "x")
    assert not change(PASSWORD, "short", "short")
    assert is_in(there)
    assert change(PASSWORD, NEW, NEW)
    assert (is_in(here), is_in(there)) == (True, False)
    assert sign_in(app).login.status_code == 401
    there = sign_in(app, password=NEW)
    assert here.submit("/account/end-sessions").headers["Location"] == "/login"
    assert (is_in(here), is_in(there)) == (False, False)


@sqlite_alone
def test_the_shared_passwords_work_as_before_and_their_names_are_marked_once_there_are_users(
    make_app: Callable[..., Flask], ledger: Ledger, make_user: Callable[..., User]
) -> None:
    app = make_app(DASHBOARD_VIEWER_PASSWORD="viewers may look")
    before = sign_in(app, "Ada", SHARED)
    before.submit("/logout-everywhere")
    make_user()
    for name in ("Ada", "", "cli"):
        sign_in(app, name, SHARED).submit("/logout-everywhere")
    viewer = sign_in(app, "Ada", "viewers may look")
    assert "Ada (shared password)" in viewer.get("/").text
    assert viewer.get("/users").status_code == 403
    with ledger.read() as tx:
        actors = list(tx.run("SELECT actor FROM audit WHERE action = 'log out everywhere' ORDER BY id").scalars())
    assert actors == ["Ada", "Ada (shared password)", "operator (shared password)", "cli (shared password)"]
    for path in ("/account/password", "/account/end-sessions", "/account/tokens"):
        assert viewer.submit(path).status_code == 403  # it has no account
    assert viewer.get("/account").status_code == 200


@sqlite_alone
def test_an_unknown_name_costs_as_much_work_as_a_known_one(
    make_app: Callable[..., Flask], make_user: Callable[..., User], monkeypatch: pytest.MonkeyPatch
) -> None:
    app, verified = make_app(), []
    make_user()
    make_user("Off")
    Browser(app.test_client(), SHARED).submit("/users/2/disable")
    real = Passwords.verify

    def count(self: Passwords, kept: str | None, password: str) -> bool:
        verified.append(kept is None)
        return real(self, kept, password)

    monkeypatch.setattr(Passwords, "verify", count)
    pages = [sign_in(app, name, "guess").login.text for name in ("Ada", "Nobody", "Off", "x" * 5000, "\x00\ufffd")]
    assert verified == [False, True, False, True, True]
    forms = {re.sub(r' value="[^"]*"', "", page) for page in pages}
    assert len(forms) == 1


@sqlite_alone
def test_guessing_the_password_of_a_user_is_throttled_on_the_account_page_too(
    app: Flask, make_user: Callable[..., User]
) -> None:
    make_user()
    browser = sign_in(app)
    answers = [
        browser.submit("/account/password", current="guess", password=NEW, again=NEW).status_code
        for _ in range(MOST_FAILURES + 1)
    ]
    assert answers == [302] * MOST_FAILURES + [429]
    assert sign_in(app).login.status_code == 429


@sqlite_alone
def test_an_admin_cannot_lock_themselves_out(app: Flask, make_user: Callable[..., User]) -> None:
    user = make_user("Root", "admin")
    browser = sign_in(app, "Root")
    for path, fields in (
        ("/disable", {}),
        ("/role", {"role": "viewer"}),
        ("/password", {}),
        ("/remove", {"confirmed": "1"}),
    ):
        browser.submit(f"/users/{user.id}{path}", **fields)
        assert "your own account" in browser.get(f"/users/{user.id}").text
    assert is_in(browser)
    for path in ("/users/99", f"/users/{2**63}"):
        assert browser.get(path).status_code == 404
        assert browser.submit(path + "/disable").status_code == 404


@sqlite_alone
@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("Ada", PASSWORD),  # taken
        ("ａｄａ", PASSWORD),  # the same in full width
        ("", PASSWORD),
        ("x" * 41, PASSWORD),
        ("api", PASSWORD),
        ("Ada (shared password)", PASSWORD),
        ("Ada\u202eeva", PASSWORD),
        ("<script>", PASSWORD),
        ("Eve", "elevenchars"),
        ("Eve", "aaaaaaaaaaaaaaaa"),
        ("Eve Adamson-Long", "eve adamson-long1"),
        ("Eve", "x1y2z3" * 50),
    ],
)
def test_a_name_or_password_that_would_mislead_is_refused(
    ledger: Ledger, make_user: Callable[..., User], name: str, password: str
) -> None:
    make_user()
    with pytest.raises(AccessError):
        make_user(name, "viewer", password)
    assert one(ledger, "SELECT COUNT(*) FROM users") == (1,)


@sqlite_alone
def test_a_password_hashed_with_other_parameters_is_hashed_again_at_the_next_login(app: Flask, ledger: Ledger) -> None:
    add_user(ledger, Passwords(time_cost=2, memory_kib=16), "Ada", "viewer", PASSWORD, actor="cli")
    (before,) = one(ledger, "SELECT password FROM users")
    assert is_in(sign_in(app))
    (after,) = one(ledger, "SELECT password FROM users")
    assert "m=16,t=2" in before
    assert "m=8,t=1" in after
    assert is_in(sign_in(app))


def test_the_command_line_manages_users(
    bridge: Callable[..., Any], app: Flask, ledger: Ledger, ledger_url: str
) -> None:
    def run(*arguments: str, input: str | None = None) -> Any:
        return bridge("user", *arguments, input=input, DATABASE_URL=ledger_url)

    assert run("add", "Ada", "--role", "operator", input=PASSWORD + "\n").exit_code == 0
    assert is_in(sign_in(app))
    assert "already" in run("add", "ADA", "--role", "viewer", input=PASSWORD + "\n").output
    assert "12 to 256" in run("add", "Eve", "--role", "viewer", input="short\n").output
    assert PASSWORD not in run("list").output
    generated = run("passwd", "ada", "--generate").stdout.strip()
    assert is_in(sign_in(app, "Ada", generated))
    run("role", "Ada", "viewer")
    run("disable", "Ada")
    assert '"role": "viewer", "disabled": true' in run("list", "--json").output
    assert sign_in(app, "Ada", generated).login.status_code == 401
    run("enable", "Ada")
    assert is_in(sign_in(app, "Ada", generated))
    assert run("remove", "Ada", input="n\n").exit_code == 1
    assert run("remove", "Ada", "--yes").exit_code == 0
    assert "there is no user Ada" in run("disable", "Ada").output
    with ledger.read() as tx:
        assert find_user(tx, "Ada") is None
