"""Pictures of every page, light, dark and on a phone, of example data: python -m tests.browser.screenshots FOLDER [NAME…]"""

import os
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any, cast

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from app.ledger.access.passwords import Passwords
from app.ledger.access.tokens import make_token
from app.ledger.access.users import add_user, disable_user
from app.ledger.engine import Ledger
from app.ledger.schema import upgrade
from tests.browser.example_data import Shop, receive_in_sandbox
from tests.browser.site import ARGUMENTS, CHROMIUM, Web, log_in

KEEP_FAMILIES = ("monospace", "Monospace", "ui-monospace", "SF Mono", "Menlo", "Consolas")
FONTS = f"""<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>
<match target="pattern">
{"".join(f'<test qual="all" name="family" compare="not_eq"><string>{name}</string></test>' for name in KEEP_FAMILIES)}
<edit name="family" mode="prepend" binding="strong"><string>Inter</string><string>Liberation Sans</string></edit></match>
<include ignore_missing="yes">/etc/fonts/fonts.conf</include>
</fontconfig>"""
"""The pages ask for the system's own font; so that pictures look alike everywhere, that is Inter where it is installed."""
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1200, "height": 760}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1200, "height": 760}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 390, "height": 780}, "color_scheme": "light", "has_touch": True},
}
TALLEST = {"light": 1100, "dark": 1100, "phone": 1500}
TALLER = {("overview", "light"): 1500, ("overview", "dark"): 1500, ("overview", "phone"): 2300}
"""Pages of which more is to be seen."""
COLORS = 200
PASSWORD_OF_GRACE = "grace takes pictures"


def pages(ledger: Ledger) -> dict[str, str]:
    """Where each page is: its name and its path."""

    def one(statement: str, *values: object) -> int:
        with ledger.read() as tx:
            return int(tx.run(statement, *values).scalar_one())

    dead = one("SELECT MAX(id) FROM deliveries WHERE status = 'dead'")
    marta = one("SELECT id FROM persons WHERE email = 'marta.reis@lumen.example' ORDER BY id LIMIT 1")
    parked = one("SELECT MAX(id) FROM events WHERE outcome = 'parked'")
    return {
        "overview": "/?span=week",
        "failed": "/failed",
        "delivery": f"/deliveries/{dead}",
        "edit": f"/deliveries/{dead}/edit",
        "deliveries": "/deliveries",
        "events": "/events",
        "event": f"/events/{parked}",
        "persons": "/persons",
        "person": f"/persons/{marta}",
        "forget": f"/persons/{marta}/forget",
        "sources": "/sources",
        "source": "/sources/typeform",
        "refused": "/inbound",
        "quarantine": "/inbound/quarantine",
        "setup": "/setup",
        "destination": "/destination",
        "audit": "/audit",
        "users": "/users",
        "account": "/account",
        "search": "/search?q=marta.reis",
        "why": "/why?q=marta.reis@lumen.example",
        "coverage": "/coverage",
        "parked": "/parked",
        "playground": f"/playground?event={parked}",
        "alerts": "/alerts",
    }


def add_people(ledger: Ledger) -> None:
    """Named users, of whom Grace takes the pictures."""
    grace = add_user(ledger, Passwords(), "Grace", "admin", PASSWORD_OF_GRACE, actor="cli")
    add_user(ledger, Passwords(), "Tom\u00e1s", "operator", "tom\u00e1s looks after it", actor="Grace")
    off = add_user(ledger, Passwords(), "agency@lumen.example", "viewer", "the agency may look", actor="Grace")
    disable_user(ledger, off.id, actor="Grace")
    make_token(ledger, grace.id, "CRM sync", role="viewer", days=90, actor="Grace")
    make_token(ledger, grace.id, "nightly replay", role="operator", days=None, actor="Grace")


def picture(page: Page, path: Path, tallest: int) -> None:
    """The page from its top, at most `tallest` pixels of it, in the colours that it has most of."""
    assert page.viewport_size is not None
    width, least = page.viewport_size["width"], page.viewport_size["height"]
    height = max(least, min(tallest, page.evaluate("Math.ceil(document.documentElement.scrollHeight)")))
    page.set_viewport_size({"width": width, "height": height})
    image = Image.open(BytesIO(page.screenshot(animations="disabled"))).convert("RGB")
    page.set_viewport_size({"width": width, "height": least})
    counted = sorted(cast("list[tuple[int, tuple[int, ...]]]", image.getcolors(width * height)), reverse=True)[:COLORS]
    palette = Image.new("P", (1, 1))
    palette.putpalette([part for _, color in counted for part in color])
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def take(folder: Path, requested: set[str]) -> int:
    """Takes all pictures, or those named in `requested`, and returns their size in bytes."""
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        (home / "fonts.conf").write_text(FONTS)
        (home / "bridge.toml").write_text('[sources.clerk]\nlead_mode = "deferred"\n')
        url = f"sqlite:///{home / 'ledger.db'}"
        ledger = Ledger(url)
        upgrade(ledger)
        Shop(url).play()
        receive_in_sandbox(url)
        add_people(ledger)
        common = {
            "BRIDGE_CONFIG": str(home / "bridge.toml"),
            "PUBLIC_URL": "https://bridge.example.com",
            "TYPEFORM_WEBHOOK_SECRET": "typeform secret of the pictures",
            "CLERK_WEBHOOK_SECRET": "whsec_cGljdHVyZXMgb2YgdGhlIHBhZ2Vz",
            "CALENDLY_WEBHOOK_SECRET": "calendly secret of the pictures",
        }
        real = {
            "DESTINATION_URL": "https://attribution.example.com/v1",
            "DESTINATION_TOKEN": "token",
            "DESTINATION_RATE": "50",
        }
        sites = {"": Web(home, **common, **real), "sandbox": Web(home, **common)}
        places = {**pages(ledger), "sandbox": "/sandbox"}
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=CHROMIUM,
                    args=ARGUMENTS,
                    env={**os.environ, "FONTCONFIG_FILE": str(home / "fonts.conf")},
                )
                for look, options in LOOKS.items():
                    for name in ("", "sandbox"):
                        session(browser, sites[name].url, options, look, folder, {
                            one: path for one, path in places.items()
                            if (one == "sandbox") == (name == "sandbox") and (not requested or one in requested)
                        })  # fmt: skip
                browser.close()
        finally:
            for site in sites.values():
                site.stop()
            ledger.close()
    return sum(path.stat().st_size for path in folder.glob("*.png"))


def session(
    browser: Browser, url: str, options: dict[str, Any], look: str, folder: Path, places: dict[str, str]
) -> None:
    """Takes the pictures of `places` in one look."""
    if not places:
        return
    context = browser.new_context(base_url=url, timezone_id="Europe/Lisbon", locale="en-GB", **options)
    page = context.new_page()
    page.goto("/login")
    picture(page, folder / f"login-{look}.png", TALLEST[look])
    log_in(page, PASSWORD_OF_GRACE)
    for name, path in places.items():
        page.goto(path)
        page.wait_for_load_state("networkidle")
        if name == "overview" and (dismiss := page.get_by_role("button", name="Dismiss")).count():
            dismiss.click()
            page.goto(path)
            page.wait_for_load_state("networkidle")
        picture(page, folder / f"{name}-{look}.png", TALLER.get((name, look), TALLEST[look]))
        if name == "failed":
            page.get_by_label("matching deliveries").check()
            page.get_by_role("button", name="Replay…").click()
            page.get_by_role("heading", name="Replay").wait_for()
            picture(page, folder / f"bulk-{look}.png", TALLEST[look])
    context.close()


def main() -> int:
    if CHROMIUM is None:
        print("There is no Chromium: apt-get install chromium, or set CHROMIUM.", file=sys.stderr)
        return 1
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    size = take(folder, set(sys.argv[2:]))
    print(f"{len(list(folder.glob('*.png')))} pictures, {size / 1e6:.1f} MB, in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
