"""Every page that takes no id answers, for an operator, with an empty ledger and with something in it."""

from flask import Flask
from flask.testing import FlaskClient

from bench import pages as benchmark
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


NOT_TIMED = {
    "/api/v1/deliveries.csv": "sends everything that matches",
    "/api/v1/events.csv": "sends everything that matches",
    "/deliveries.csv": "sends everything that matches",
    "/events.csv": "sends everything that matches",
    "/api/v1/persons/<int:person_id>/export": "reads the bodies of all events",
    "/api/v1/quarantine/<int:held_id>": "the quarantine is bounded",
    "/inbound/quarantine/<int:held_id>": "the quarantine is bounded",
    "/api/v1/users/<int:user_id>": "reads a few rows",
    "/api/v1/users/<int:user_id>/tokens": "reads a few rows",
    "/users/<int:of>": "reads a few rows",
    "/login": "reads no rows",
    "/static/<path:filename>": "reads no rows",
    "/webhooks/<source>": "reads no rows",
    "/webhooks/<source>/<token>": "reads no rows",
    "/statusz": "answers 503 where Redis is away",
}


def test_the_benchmark_asks_for_every_page(app: Flask) -> None:
    routes = app.url_map.bind("localhost")
    timed = {routes.match(path.partition("?")[0], "GET", return_rule=True)[0].rule for path in benchmark.paths(1000)}
    every = {rule.rule for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    assert every - timed == NOT_TIMED.keys()
