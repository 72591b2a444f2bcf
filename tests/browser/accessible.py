"""What axe finds on a page."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

CHECKER = Axe().axe_script
RUN = """
    options => axe.run({resultTypes: ["violations"], ...options}).then(results => results.violations.map(
      one => [one.id, one.impact, one.nodes.slice(0, 3).map(node => node.html.slice(0, 160))]))
"""
OF_COLORS = {"runOnly": ["color-contrast", "link-in-text-block"]}
"""The rules whose result depends on the color scheme."""


def violations(page: Page) -> list[Any]:
    """All violations on the page as it is, each with its rule, its impact and the first elements. The page must not forbid scripts
    (bypass_csp)."""
    page.evaluate(CHECKER + ";0")
    found: list[Any] = page.evaluate(RUN, {})
    return found


def violations_in_both_schemes(page: Page) -> list[Any]:
    """Those of a page in light colors, and those that it has in dark colors only. The page itself stays the same."""
    page.emulate_media(color_scheme="light")
    found = violations(page)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    found += [["dark", *one] for one in page.evaluate(RUN, OF_COLORS)]
    page.emulate_media(color_scheme="light")
    return found
