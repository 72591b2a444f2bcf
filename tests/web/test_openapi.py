"""Schemathesis holds the OpenAPI document and the API together: no 5xx, and no answer that breaks the document.

BRIDGE_SCHEMATHESIS is how many cases of each kind each operation gets (15); `make nightly` runs more, on PostgreSQL too.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import positive_data_acceptance
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode

from app.ledger.access.tokens import make_token
from app.ledger.access.users import add_user
from app.ledger.engine import Ledger
from app.ledger.schema import upgrade
from app.web.api.blueprint import document
from app.web.factory import create_app
from tests.support.makers import begin, checkout, settle, signed, stripe_headers
from tests.web.conftest import API, FAST

CASES = int(os.environ.get("BRIDGE_SCHEMATHESIS", "15"))
DATABASES = ["sqlite", "postgresql"] if CASES > 15 else ["sqlite"]
# The token is right in all cases; without it no route answers anything (test_api_verbs.py).
CONFIG = SchemathesisConfig.from_dict({"generation": {"with-security-parameters": False}})
OPERATIONS = [
    (path, method, mode)
    for path, item in document()["paths"].items()
    for method, operation in item.items()
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or operation["parameters"] or "requestBody" in operation
]


@pytest.fixture(scope="module", params=DATABASES)
def api(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The API's schema, on a ledger with something of every kind in it; and what there is, by the first part of the path."""
    folder = tmp_path_factory.mktemp("api")
    if request.param == "sqlite":
        url = f"sqlite:///{folder / 'ledger.db'}"
    else:
        url = request.getfixturevalue("postgres")
    ledger = Ledger(url)
    upgrade(ledger)
    with pytest.MonkeyPatch.context() as patch:
        app = make_app(patch, ledger, folder)
    fill(app, ledger)
    yield schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app, headers=API, config=CONFIG), known_in(ledger)
    app.extensions["writer"].stop()
    ledger.close()


def make_app(patch: pytest.MonkeyPatch, ledger: Ledger, folder: Path) -> Flask:
    from app.config.settings import load_settings

    for name, value in {
        "BRIDGE_HOME": str(folder),
        "BRIDGE_CONFIG": os.devnull,
        "STRIPE_WEBHOOK_SECRET": "whsec_test_secret_of_the_tests",
        "DASHBOARD_PASSWORD": "password of the tests",
        "SECRET_KEY": "secret key of the tests",
        "API_TOKEN": "api token of the tests",
        "STRIPE_HOLD": "0",
    }.items():
        patch.setenv(name, value)
    return create_app(load_settings(), ledger, FAST)


def fill(app: Flask, ledger: Ledger) -> None:
    """Purchases in every state, ignored, repeated and parked events, a refused request."""
    client = app.test_client()
    for number in range(1, 7):
        client.post("/webhooks/stripe", **signed(checkout(number)))
    claimed = begin(ledger)
    settle(ledger, "permanent", status=422, error="no", answer="{}", claimed=claimed[:2])
    settle(ledger, "transient", status=503, retry=True, claimed=claimed[2:3])
    settle(ledger, "delivered", claimed=claimed[3:5])
    settle(ledger, "unknown", status=None, claimed=claimed[5:6])
    for body in (
        checkout(1),
        checkout(7, metadata={}, customer_details={}),
        b'{"id": "evt_x", "object": "event", "type": "x"}',
    ):
        client.post("/webhooks/stripe", **signed(body))
    client.post("/webhooks/stripe", data=b"{}")
    client.post("/webhooks/stripe", data=b"{}", headers=stripe_headers(b"{}", secret="whsec_another_secret"))
    app.extensions["refusals"].flush()
    for number in range(8):
        user = add_user(ledger, FAST, f"User {number}", "viewer", "correct horse battery", actor="cli")
        make_token(ledger, user.id, "x", role=None, days=None, actor="cli")


def known_in(ledger: Ledger) -> dict[str, list[Any]]:
    with ledger.read() as tx:
        found: dict[str, list[Any]] = {
            table: list(tx.run(f"SELECT id FROM {table} ORDER BY id").scalars())
            for table in ("deliveries", "events", "persons", "quarantine", "users", "api_tokens")
        }
    found["events"] = [str(one) for one in found["events"]] + ["stripe:evt_1"]
    found["tokens"] = found.pop("api_tokens")
    return found | {"destinations": ["sandbox"], "sources": ["stripe", "typeform", "jotform"]}


@pytest.mark.parametrize(
    ("path", "method", "mode"), OPERATIONS, ids=[f"{m.upper()} {p} {w.value}" for p, m, w in OPERATIONS]
)
def test_no_answer_breaks_the_document(api: Any, path: str, method: str, mode: GenerationMode) -> None:
    schema, known = api
    operation = schema[path][method]
    statuses: set[int] = set()
    is_described = mode is GenerationMode.POSITIVE
    # what an edit may not touch depends on the delivery, what is a mapping on TOML, which destinations there are on the
    # configuration, and whether an event is still parked on the operations before: no schema can say it
    is_free = path.endswith(("/edit", "/map", "/map/compare", "/resend", "/lacks"))
    excluded = [positive_data_acceptance] if is_free else []

    @given(
        case=operation.as_strategy(generation_mode=mode),
        there_is=st.booleans(),
        which=st.integers(0, 1000),
    )
    @settings(
        max_examples=CASES,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def run(case: Any, there_is: bool, which: int) -> None:
        if there_is and is_described and "{" in path:  # chance would not find what there is
            values = known[path.split("/")[1]]
            case.path_parameters[path.split("{")[1].split("}")[0]] = values[which % len(values)]
        statuses.add(case.call_and_validate(headers=API, excluded_checks=excluded).status_code)

    run()
    if is_described:
        assert 401 not in statuses
        assert statuses & {200, 409} or is_free, statuses
