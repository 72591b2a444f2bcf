"""Every page that takes no id answers, for an operator, with an empty ledger and with something in it."""

from flask import Flask
from flask.testing import FlaskClient

from tests.support.makers import checkout, signed
from tests.web.conftest import Browser


def pages(app: Flask) -> list[str]:
    return sorted(
        rule.rule
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ()) and not rule.arguments and not rule.rule.startswith("/api/")
    )


def test_every_page_answers(web: FlaskClient, browser: Browser) -> None:
    for _ in range(2):
        for path in pages(web.application):
            answer = browser.get(path)
            assert answer.status_code in (200, 302) or path in ("/statusz", "/static/<path:filename>"), (
                path,
                answer.text[:300],
            )
            assert "Traceback" not in answer.text
        assert web.post("/webhooks/stripe", **signed(checkout())).status_code == 200
