"""A secret is rotated while webhooks come in over HTTP: what was refused meanwhile is taken in once, on each database."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
import requests

from app.sources.catalog import SOURCES, example
from tests.conftest import PATIENCE_SECONDS
from tests.support.makers import count
from tests.support.stack_parts import FORM_SECRET, Stack, purchase

pytestmark = pytest.mark.stack
NEW = "typeform secret after its rotation"
NEW_STRIPE = "whsec_after_its_rotation_there"
TOKEN = "api token of the tests"


def test_what_came_while_the_secret_was_wrong_is_one_conversion_each(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack(API_TOKEN=TOKEN, WEB_PROCESSES="2")
    web = stack.serve()
    forms = [example("typeform")[0] for _ in range(12)]
    sales = [purchase() for _ in range(12)]

    def send(name: str, body: bytes, secret: str) -> int:
        headers = {"Content-Type": "application/json", **SOURCES[name].sign(body, secret, datetime.now(UTC))}
        return requests.post(f"{stack.url}/webhooks/{name}", data=body, headers=headers, timeout=30).status_code

    def send_all(secrets: dict[str, list[str]]) -> list[int]:
        expected = [("typeform", *one) for one in zip(forms, secrets["typeform"], strict=True)]
        expected += [("stripe", *one) for one in zip(sales, secrets["stripe"], strict=True)]
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda one: send(*one), expected))

    old_stripe = stack.environment["STRIPE_WEBHOOK_SECRET"]
    turning = {"typeform": [FORM_SECRET] * 4 + [NEW] * 8, "stripe": [old_stripe] * 4 + [NEW_STRIPE] * 8}
    assert sorted(send_all(turning)) == [200] * 8 + [401] * 16
    web.terminate()  # what is not yet in the quarantine gets there before it stops
    assert web.wait(PATIENCE_SECONDS) == 0
    stack.processes.remove(web)
    assert count(stack.ledger, "quarantine") == 16
    assert count(stack.ledger, "events") == 8

    stack.environment |= {"TYPEFORM_WEBHOOK_SECRET": NEW, "STRIPE_WEBHOOK_SECRET": NEW_STRIPE}
    stack.serve()
    with ThreadPoolExecutor(4) as pool:  # the providers retry while two people press the button
        retried = pool.submit(send_all, {"typeform": [NEW] * 12, "stripe": [NEW_STRIPE] * 12})
        verified = [pool.submit(verify, stack.url) for _ in range(2)]
        assert set(retried.result()) == {200}
        answers = [one.result() for one in verified]
    assert all(answer.status_code == 200 and not answer.json()["problems"] for answer in answers)
    assert count(stack.ledger, "quarantine") == 0
    with stack.ledger.read() as tx:
        kinds = dict(tx.run("SELECT kind, COUNT(*) FROM conversions GROUP BY kind").all())
        kept = tx.run("SELECT COUNT(DISTINCT dedupe_key) FROM deliveries").scalar()
    assert (kinds, kept) == ({"lead": 12, "sale": 12}, 24)


def verify(url: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return requests.post(f"{url}/api/v1/quarantine/verify", json={"all": True}, headers=headers, timeout=60)
