"""The sandbox: the bridge's own destination, which checks requests against the destination's contract."""

import hmac
import json
import re
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from flask import Blueprint, Response, request
from werkzeug.exceptions import NotFound, Unauthorized

from app.destinations.formats.base import Format, HttpRequest
from app.destinations.target import Destination, sandbox_token
from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.transaction import Tx
from app.model import DELIVERY_KINDS, DeliveryKind

MOST_SEALED = 10_000
"""Of the newest requests, which an encrypted ledger has to decrypt to know their customers."""


def _has_click(body: str) -> bool:
    return '"clickId":"' in body and '"clickId":""' not in body


def problem_of(kind: DeliveryKind, payload: object, wire: Format) -> str | None:
    """The error in a payload by its format's rules; None if it is valid."""
    if not isinstance(payload, dict):
        return "the body must be a JSON object"
    return wire.problem(kind, payload)


def create_blueprint(ledger: Ledger, secret_key: str, destination: Destination) -> Blueprint:
    """Accepts the paths and methods of the format, with the bridge's own token where the format puts it."""
    blueprint = Blueprint("sandbox", __name__)
    token, wire = sandbox_token(secret_key), destination.format

    def kinds_at(path: str) -> list[DeliveryKind]:
        """The kinds of delivery that this path takes. Raises NotFound, Unauthorized."""
        kinds: list[DeliveryKind] = []
        for kind in (known for known in DELIVERY_KINDS if known in wire.kinds):
            expected = destination.request(kind, "{}", "", datetime.now(UTC))
            if (expected.method, expected.path.partition("?")[0].strip("/")) == (request.method, path.strip("/")):
                check_token(expected)
                kinds.append(kind)
        if not kinds:
            raise NotFound
        return kinds

    def check_token(expected: HttpRequest) -> None:
        """Raises Unauthorized unless the token stands where the format puts it."""
        carriers = [
            is_same(request.headers.get(name, ""), value)
            for name, value in expected.headers.items()
            if token in value or name.lower() == "authorization"
        ]
        if token in expected.path:
            query = request.query_string.decode("latin-1")
            carriers.append(is_same(f"{request.path}?{query}".rstrip("?"), f"/sandbox{expected.path}"))
        if not (all(carriers) if carriers else token.encode() in request.get_data()):
            raise Unauthorized("the sandbox takes only this bridge's own token")

    def is_same(sent: str, value: str) -> bool:
        return hmac.compare_digest(sent.encode("utf-8", "replace"), value.encode())

    def is_known(customer_id: str) -> bool:
        """Whether an earlier conversion made this customer known: a Lead, or a Sale with a click."""
        named = f'"customerExternalId":{json.dumps(customer_id, ensure_ascii=False)}'
        escaped = re.sub(r"([\\%_])", r"\\\1", named)
        with ledger.read() as tx:
            if tx.is_sealed:
                statement = "SELECT kind, body FROM sandbox_requests WHERE problem IS NULL ORDER BY id DESC LIMIT ?"
                rows = tx.run(statement, MOST_SEALED).all()
                return any(named in body and (kind == "lead" or _has_click(body)) for kind, body in rows)
            row = tx.run(
                "SELECT 1 FROM sandbox_requests WHERE problem IS NULL AND body LIKE ? ESCAPE '\\'"
                " AND (kind = 'lead' OR (body LIKE ? AND body NOT LIKE ?)) LIMIT 1",
                *(f"%{escaped}%", '%"clickId":"%', '%"clickId":""%'),
            ).first()
        return row is not None

    @blueprint.route("/sandbox/<path:path>", methods=["POST", "PUT", "PATCH"])
    def take(path: str) -> Response:
        kinds = kinds_at(path)
        text = request.get_data().decode("utf-8", "replace")
        payload = fields_of(text, request.mimetype)
        key = request.headers.get("Idempotency-Key", "")
        problems = {kind: problem_of(kind, payload, wire) for kind in kinds}
        kind = min(kinds, key=lambda kind: (problems[kind] is not None, not key.startswith(f"{kind}:")))
        problem = problems[kind]
        if problem is None and isinstance(payload, dict):
            problem = wire.age_problem(payload, datetime.now(UTC))
        status, answer = 422, json.dumps({"error": problem})
        if problem is None:
            assert isinstance(payload, dict)
            status, answer = wire.sandbox_answer(kind, payload, is_known)
            problem = None if status < 300 else f"answered {status}: {answer}"[:400]
        row = (kind, key, problem, text.replace("\x00", "\ufffd"))

        def store(tx: Tx) -> None:
            columns = ("received_at", "kind", "idempotency_key", "problem", "body")
            tx.insert(tables.sandbox_requests, columns, [(tx.now(), *row)])

        ledger.transact(store)
        return Response(answer, status, mimetype="application/json" if answer[:1] in "{[" else "text/plain")

    return blueprint


def fields_of(text: str, content_type: str) -> object:
    """The body of a request; None if it cannot be read. Numbers in a form are returned as numbers."""
    if content_type == "application/x-www-form-urlencoded":
        pairs = parse_qsl(text, keep_blank_values=True)
        return {name: int(value) if re.fullmatch("[0-9]{1,15}", value) else value for name, value in pairs}
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
