"""A destination that behaves as Dub does: late ingestion of leads, its 7-day key, clicks that it does not know, customers that it
does not know, and commissions. Written from Dub's public routes (dubinc/dub, apps/web/lib/api/conversions)."""

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LAG_SECONDS = 3.0
"""How late a lead can be read that was not sent with mode wait."""
KEY_SECONDS = 7 * 86_400
CLICK_MISSING = (
    "The `clickId` property was not provided and no existing customer with the provided `customerExternalId` was found."
)
EMAIL = re.compile(r"(?!\.)(?!.*\.\.)[A-Za-z0-9_'+.-]*[A-Za-z0-9_+-]@(?:[A-Za-z0-9][A-Za-z0-9-]*\.)+[A-Za-z]{2,}")

Answer = tuple[int, dict[str, Any]]


@dataclass(slots=True)
class Customer:
    external_id: str
    click_id: str
    readable: list[float] = field(default_factory=list)
    """When each of its lead events can be read."""


class FakeDub:
    """Serves on a thread of its own. `lag_seconds` and `ahead_seconds` (how far its clock is ahead) may be changed at any time."""

    def __init__(self) -> None:
        self.clicks: set[str] = set()
        self.customers: dict[str, Customer] = {}
        self.leads: list[dict[str, Any]] = []
        self.sales: list[dict[str, Any]] = []
        self.commissions: list[dict[str, Any]] = []
        self.earns = True
        """Whether a partner earns by the next Sales."""
        self.before_answer: Callable[[str, str], None] = lambda _method, _path: None
        """Called with each request once it is done, before it is answered."""
        self.is_closed, self.longest_page = False, 1000
        """Whether the token may not read events, and how many of them a page has at most."""
        self.asked: list[tuple[str, dict[str, Any], Answer]] = []
        self.changes: list[dict[str, Any]] = []
        """Bodies of the PATCH requests."""
        self.lag_seconds, self.ahead_seconds = LAG_SECONDS, 0.0
        self._keys: dict[tuple[str, str], float] = {}
        self._answers: dict[str, tuple[float, Answer]] = {}
        self._lock = threading.Lock()
        dub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kind = self.path.removeprefix("/track/")
                with dub._lock:
                    status, answer = (dub.lead if kind == "lead" else dub.sale)(body)
                    dub.asked.append((kind, body, (status, answer)))
                self._answer(status, answer)

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                with dub._lock:
                    if parts.path == "/events":
                        self._answer(*dub.events(query))
                    else:
                        self._answer(200, [c for c in dub.commissions if c["invoiceId"] == query.get("invoiceId")])

            def do_PATCH(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with dub._lock:
                    dub.changes.append(body)
                    status, answer = dub.change(self.path.removeprefix("/commissions/"), body)
                self._answer(status, answer)

            def _answer(self, status: int, answer: Any) -> None:
                dub.before_answer(self.command, self.path)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def now(self) -> float:
        return time.monotonic() + self.ahead_seconds

    def lead(self, body: dict[str, Any]) -> Answer:
        if problem := _problem(body, required=("eventName", "customerExternalId")):
            return _error(422, "unprocessable_entity", problem)
        external_id, click_id = body["customerExternalId"].strip(), body.get("clickId") or None
        customer = self.customers.get(external_id)
        if customer is None and click_id is None:
            return _error(400, "bad_request", CLICK_MISSING)
        is_deferred = body.get("mode") == "deferred"
        key = (external_id, body["eventName"].lower().replace(" ", "-"))
        if not is_deferred:
            claimed = self._keys.get(key)
            if claimed is not None and self.now() - claimed < KEY_SECONDS:
                return 200, {"click": {"id": click_id}, "link": None, "customer": None}
            self._keys[key] = self.now()  # before the click is looked up
        if click_id is not None and click_id not in self.clicks:
            return _error(404, "not_found", f"Click event not found for clickId: {click_id}")
        if customer is None:
            assert click_id is not None
            customer = self.customers[external_id] = Customer(external_id, click_id)
        if not is_deferred:
            customer.readable.append(self.now() + (0 if body.get("mode") == "wait" else self.lag_seconds))
            self.leads.append(body)
        return 200, {
            "click": {"id": customer.click_id},
            "link": {"id": "link_1"},
            "customer": {"externalId": external_id},
        }

    def sale(self, body: dict[str, Any]) -> Answer:
        if problem := _problem(body, required=("customerExternalId", "amount")):
            return _error(422, "unprocessable_entity", problem)
        stored = self._answers.get(body.get("invoiceId", ""))
        if stored and self.now() - stored[0] < KEY_SECONDS:
            return stored[1]
        external_id, click_id = body["customerExternalId"], body.get("clickId") or None
        customer = self.customers.get(external_id)
        if (customer is None and click_id is None) or body["amount"] == 0:
            return 200, {"eventName": body.get("eventName", "Purchase"), "customer": None, "sale": None}
        if customer is None:
            assert click_id is not None
            if click_id not in self.clicks:
                return _error(404, "not_found", f"Click event not found for clickId: {click_id}")
            self.customers[external_id] = Customer(external_id, click_id, [self.now() + self.lag_seconds])
        elif not any(at <= self.now() for at in customer.readable):
            return _error(404, "not_found", f"Lead event not found for externalId: {external_id}")
        self.sales.append(body)
        answer = (
            200,
            {
                "eventName": body.get("eventName"),
                "customer": {"externalId": external_id},
                "sale": {"amount": body["amount"]},
            },
        )
        if self.earns:
            fields = {"type": "sale", "status": "pending", "currency": "usd", "earnings": body["amount"] // 5}
            number = f"cm_{len(self.commissions) + 1}"
            self.commissions.append(
                {"id": number, "invoiceId": body.get("invoiceId"), "amount": body["amount"], **fields}
            )
        if "invoiceId" in body:
            self._answers[body["invoiceId"]] = (self.now(), answer)
        return answer

    def events(self, query: dict[str, str]) -> tuple[int, Any]:
        """GET /events: the sale events, in pages."""
        if self.is_closed:
            return _error(
                403, "forbidden", "The provided key does not have the required permissions for this endpoint."
            )
        assert (query["event"], query["start"][-1]) == ("sales", "Z")
        page, limit = int(query.get("page", 1)), min(int(query.get("limit", 100)), self.longest_page)
        sales = self.sales[(page - 1) * limit : page * limit]
        return 200, [
            {"event": "sale", "sale": {"amount": sale["amount"], "invoiceId": sale["invoiceId"]}} for sale in sales
        ]

    def change(self, identity: str, body: dict[str, Any]) -> Answer:
        """PATCH /commissions/{id}. As Dub does, a status has precedence, and an amount of 0 is a refund."""
        commission = next((one for one in self.commissions if one["id"] == identity), None)
        if commission is None:
            return _error(404, "not_found", f"Commission {identity} not found.")
        if commission["status"] == "paid":
            return _error(400, "bad_request", f"Cannot update amount: Commission {identity} has already been paid.")
        status = body.get("status") or ("refunded" if body.get("saleAmount") == 0 else None)
        if status is not None and status == commission["status"]:
            return _error(400, "bad_request", f"Commission {identity} is already in the {status} status.")
        if status is not None:
            commission["status"] = status
        elif body.get("currency", "usd") == "usd":
            commission["amount"] = body["saleAmount"]
        return 200, commission


def _error(status: int, code: str, message: str) -> Answer:
    return status, {
        "error": {"code": code, "message": message, "doc_url": f"https://dub.co/docs/api-reference/errors#{code}"}
    }


def _problem(body: dict[str, Any], required: tuple[str, ...]) -> str | None:
    """What Dub's schema refuses first."""
    for name in required:
        if body.get(name) in (None, ""):
            return f"invalid_type: {name}: Required"
    amount = body.get("amount", 1)
    if not isinstance(amount, int) or isinstance(amount, bool) or amount < 0:
        return "invalid_type: amount: Expected integer"
    if len(body.get("customerName", "").encode("utf-16-le")) > 200:
        return "too_big: customerName: Too big: expected string to have <=100 characters"
    email = body.get("customerEmail", "a@b.co")
    if len(email) > 100 or not EMAIL.fullmatch(email):
        return "invalid_format: customerEmail: Invalid email address"
    if len(body.get("eventName", "")) > 255:
        return "too_big: eventName"
    if len(json.dumps(body.get("metadata", {}))) > 10_000:
        return "custom: metadata: Metadata must be less than 10,000 characters when stringified"
    if body.get("paymentProcessor", "custom") not in (
        "stripe",
        "shopify",
        "polar",
        "paddle",
        "apple",
        "revenuecat",
        "dub",
        "custom",
    ):
        return "invalid_value: paymentProcessor"
    return None
