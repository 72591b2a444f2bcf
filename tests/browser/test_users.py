"""A named user signs in, gives a program a token and takes it away again, in a real browser."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Page

from app.ledger.access.passwords import Passwords
from app.ledger.access.tokens import make_token
from app.ledger.access.users import add_user
from tests.browser.accessible import violations, violations_in_both_schemes
from tests.browser.conftest import Site
from tests.support.oidc import OidcProvider

pytestmark = pytest.mark.stack
PASSWORD = "correct horse battery"


def test_an_admin_adds_a_user_who_signs_in_and_makes_and_revokes_a_token(
    site: Site, visit: Callable[..., Page]
) -> None:
    admin = visit("/users")
    admin.get_by_label("Name", exact=True).fill("Ada Lovelace")
    admin.get_by_label("Role").select_option("operator")
    admin.get_by_role("button", name="Add user").click()
    password = admin.locator("pre").inner_text()
    page = visit("/account", password, name="ada lovelace")
    page.get_by_label("Name", exact=True).fill("CRM sync")
    page.get_by_role("button", name="Create token").click()
    token = page.locator("pre").inner_text()

    def status() -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(f"{site.url}/api/v1/stats", headers=headers, timeout=60).status_code

    assert status() == 200
    page.get_by_role("link", name="Done").click()
    assert page.get_by_text(token).count() == 0
    page.get_by_role("button", name="Revoke CRM sync").click()
    page.get_by_text("Revoked the token CRM sync").wait_for()
    assert status() == 401
    admin.goto("/users")
    admin.get_by_role("link", name="Ada Lovelace").click()
    admin.get_by_role("button", name="Disable").click()
    admin.get_by_text("Disabled Ada Lovelace").wait_for()
    page.goto("/events")
    page.get_by_role("heading", name="Log in").wait_for()


def test_single_sign_on_in_a_browser_and_a_clear_page_for_those_without_a_group(
    chromium: Chromium, tmp_path: Path
) -> None:
    provider = OidcProvider()
    site = Site(tmp_path, **(provider.variables | {"PUBLIC_URL": "{url}"}))
    try:
        context = chromium.new_context(base_url=site.url, bypass_csp=True)
        page = context.new_page()
        page.goto("/events")
        page.get_by_role("link", name="Sign in with 127.0.0.1").click()
        page.get_by_role("heading", name="Events").wait_for()
        page.get_by_role("button", name="Log out").click()
        page.get_by_role("link", name="Sign out at 127.0.0.1 too").wait_for()
        provider.user["groups"] = ["staff"]
        page.get_by_role("link", name="Sign in with 127.0.0.1").click()
        page.get_by_text("alice is in no group that may use this dashboard").wait_for()
        assert violations(page) == []
        page.get_by_role("link", name="Use a password").click()
        page.get_by_label("Password").wait_for()
        context.close()
    finally:
        site.stop()
        provider.close()


def test_the_pages_of_users_are_accessible_and_fit_a_phone(site: Site, visit: Callable[..., Page]) -> None:
    name = "W" * 33 + "' @._-"
    user = add_user(site.ledger, Passwords(), name, "admin", PASSWORD, actor="cli")
    make_token(site.ledger, user.id, "W" * 40, role=None, days=30, actor="cli")
    other = add_user(site.ledger, Passwords(), "יעל", "viewer", PASSWORD, actor="cli")
    found = {}

    def look(page: Page, where: str) -> None:
        found[where] = violations_in_both_schemes(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, where

    page = visit("/", PASSWORD, name=name, bypass_csp=True, viewport={"width": 390, "height": 800})
    for path in ("/account", "/users", f"/users/{user.id}", f"/users/{other.id}"):
        page.goto(path)
        look(page, path)
    page.get_by_role("button", name="Remove…").click()
    page.get_by_role("heading", name=re.compile("^Remove")).wait_for()
    look(page, "remove")
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("button", name="Reset password").click()
    page.get_by_text("Copy it now").wait_for()
    look(page, "secret")
    assert {where: some for where, some in found.items() if some} == {}
