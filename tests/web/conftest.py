"""The web on a ledger of the test, and a browser that is logged in."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.routing import Rule
from werkzeug.test import TestResponse

from app.config.settings import Settings
from app.ledger.access.passwords import Passwords
from app.ledger.engine import Ledger
from app.web.factory import create_app
from tests.support.makers import signed

API = {"Authorization": "Bearer api token of the tests"}
FAST = Passwords(time_cost=1, memory_kib=8)
"""Hashes in less than a millisecond."""


class Compiled(BytecodeCache):
    """Templates are compiled once, and not for each application of a test."""

    def __init__(self) -> None:
        self._codes: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._codes:
            bucket.bytecode_from_string(self._codes[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._codes[bucket.key] = bucket.bytecode_to_string()


COMPILED = Compiled()


class LateRule(Rule):
    """Compiles what builds its URLs when it is asked for one: for all rules that takes longer than most tests of a page."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compiled: list[Callable[..., tuple[str, str]]] = []
        compile_it = super()._compile_builder

        def build(rule: Rule, **values: Any) -> tuple[str, str]:
            if not compiled:
                compiled.append(compile_it(append_unknown))
            return compiled[0](rule, **values)

        return build


Flask.url_rule_class = LateRule


class Browser:
    """A client with a session."""

    def __init__(self, client: FlaskClient, password: str, name: str = "Grace") -> None:
        self.client = client
        self.login = client.post("/login", data={"password": password, "name": name})

    @property
    def csrf(self) -> str:
        with self.client.session_transaction() as session:
            return str(session.get("csrf", ""))

    def get(self, path: str) -> TestResponse:
        return self.client.get(path)

    def submit(self, path: str, **fields: str) -> TestResponse:
        return self.client.post(path, data={"csrf": self.csrf, **fields})


@pytest.fixture
def make_app(make_settings: Callable[..., Settings], ledger: Ledger) -> Iterator[Callable[..., Flask]]:
    made: list[Flask] = []

    def make(**variables: str) -> Flask:
        made.append(create_app(make_settings(**variables), ledger, FAST))
        made[-1].jinja_env.bytecode_cache = COMPILED
        return made[-1]

    yield make
    for app in made:
        app.extensions["writer"].stop()
        app.extensions["refusals"].stop()


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    return make_app()


@pytest.fixture
def web(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app.test_client(), "password of the tests")


@pytest.fixture
def post(web: FlaskClient) -> Callable[[bytes], Any]:
    """Posts a signed body of Stripe's; returns the answer's JSON."""

    def send(body: bytes) -> Any:
        answer = web.post("/webhooks/stripe", **signed(body))
        assert answer.status_code == 200, answer.text
        return answer.json

    return send
