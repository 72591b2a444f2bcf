"""A web and a worker that forward to a Dub, in one process."""

import json
import threading
from datetime import UTC, datetime
from typing import Any

from app.config.settings import Settings
from app.destinations.target import destinations_of
from app.ledger.engine import Ledger
from app.sources.catalog import SOURCES
from app.web.factory import create_app
from tests.conftest import TYPEFORM_SECRET, wait_for
from tests.support.dub import FakeDub
from tests.support.makers import checkout, signed
from workers.forward import Forwarder

SCHEDULE = (0.2, 0.3, 0.5, 0.5, 60.0)
API = {"Authorization": "Bearer api token of the tests"}


class Site:
    """A web, a worker and a Dub."""

    def __init__(
        self, settings: Settings, ledger: Ledger, dub: FakeDub, schedule: tuple[float, ...] = SCHEDULE
    ) -> None:
        self.ledger, self.dub = ledger, dub
        self.app = create_app(settings, ledger)
        self.client = self.app.test_client()
        self._stop = threading.Event()
        self._forwarder = Forwarder(ledger, destinations_of(settings), schedule, 900, self._stop)
        self._forwarder.begin()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        while not self._stop.is_set():  # as its sweeper would, it looks again and again
            self._forwarder.run(lambda: None)
            self._stop.wait(0.05)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(20)
        self._forwarder.close()
        self.app.extensions["writer"].stop()
        self.app.extensions["refusals"].stop()

    def buys(self, number: object, **session: Any) -> None:
        assert (
            self.client.post("/webhooks/stripe", **signed(checkout(number, **session))).get_json()["outcome"] == "sale"
        )

    def hears(self, body: bytes) -> dict[str, Any]:
        """What a webhook of Stripe's is answered."""
        answer: dict[str, Any] = self.client.post("/webhooks/stripe", **signed(body)).get_json()
        return answer

    def signs_up(self, number: object, email: str, **hidden: str) -> None:
        answers = [{"type": "email", "email": email, "field": {"id": "f1", "type": "email", "ref": "r1"}}]
        definition = {
            "id": "form",
            "title": "Demo",
            "fields": [{"id": "f1", "type": "email", "title": "E-mail", "ref": "r1"}],
        }
        form = {"form_id": "form", "token": f"tok_{number}", "submitted_at": "2026-04-10T12:34:56Z", "hidden": hidden}
        body = json.dumps(
            {
                "event_id": f"tf_{number}",
                "event_type": "form_response",
                "form_response": {**form, "definition": definition, "answers": answers},
            }
        ).encode()
        headers = {
            "Content-Type": "application/json",
            **SOURCES["typeform"].sign(body, TYPEFORM_SECRET, datetime.now(UTC)),
        }
        assert self.client.post("/webhooks/typeform", data=body, headers=headers).get_json()["outcome"] == "lead"

    def statuses(self) -> dict[str, int]:
        found = self.client.get("/api/v1/stats", headers=API).get_json()["deliveries"]
        return {name: count for name, count in found.items() if count}

    def deliveries(self, **fields: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.client.get(
            "/api/v1/deliveries", headers=API, query_string=fields
        ).get_json()["deliveries"]
        return found

    def settled(self, **counts: int) -> None:
        wait_for(lambda: self.statuses() == counts, 30)


def organic(number: object) -> dict[str, Any]:
    """A checkout of somebody who came from no link."""
    return {
        "metadata": {},
        "customer": f"cus_{number}",
        "customer_details": {"email": f"p{number}@example.com", "name": "Ada"},
    }


def customer_updated(customer: str, email: str, **metadata: str) -> bytes:
    fields = {"id": customer, "object": "customer", "email": email, "metadata": metadata, "created": 1_780_000_000}
    event = {"id": f"evt_of_{customer}", "object": "event", "created": 1_780_000_500, "livemode": False}
    return json.dumps({**event, "type": "customer.updated", "data": {"object": fields}}).encode()
