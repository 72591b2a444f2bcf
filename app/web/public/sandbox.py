"""The sandbox: a destination of the bridge's own that checks what it is sent against the destination's contract."""

import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import NotFound, Unauthorized

from app.destinations.formats.base import Format
from app.destinations.target import sandbox_token
from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.transaction import Tx
from app.model import Kind

KINDS: tuple[Kind, ...] = ("lead", "sale")


def problem_of(kind: Kind, payload: object, wire: Format) -> str | None:
    """What is wrong with a payload by its format's rules; None where nothing is."""
    if not isinstance(payload, dict):
        return "the body must be a JSON object"
    return wire.problem(kind, payload)


def create_blueprint(ledger: Ledger, secret_key: str, wire: Format) -> Blueprint:
    """It takes what the format asks for: its paths and methods, with the bridge's own token where the format puts it."""
    blueprint = Blueprint("sandbox", __name__)
    token = sandbox_token(secret_key)

    def wanted(path: str) -> Kind:
        """What is sent to this path. Raises NotFound."""
        for kind in KINDS:
            expected = wire.request(kind, "{}", "", token, datetime.now(UTC))
            if (expected.method, expected.path.partition("?")[0].strip("/")) == (request.method, path.strip("/")):
                check_token(expected.headers)
                return kind
        raise NotFound

    def check_token(expected: Mapping[str, str]) -> None:
        """Raises Unauthorized unless the token stands where the format puts it."""
        carriers = {name: value for name, value in expected.items() if token in value}
        if not carriers or not all(is_same(request.headers.get(name, ""), value) for name, value in carriers.items()):
            raise Unauthorized("the sandbox takes only this bridge's own token")

    def is_same(given: str, value: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), value.encode())

    @blueprint.route("/sandbox/<path:path>", methods=["POST", "PUT", "PATCH"])
    def take(path: str) -> Response:
        kind = wanted(path)
        text = request.get_data().decode("utf-8", "replace")
        try:
            payload = json.loads(text)
        except (ValueError, RecursionError):
            payload = None
        problem = problem_of(kind, payload, wire)
        key = request.headers.get("Idempotency-Key", "")
        row = (kind, key, problem, text.replace("\x00", "\ufffd"))

        def store(tx: Tx) -> None:
            columns = ("received_at", "kind", "idempotency_key", "problem", "body")
            tx.insert(tables.sandbox_requests, columns, [(tx.now(), *row)])

        ledger.transact(store)
        if problem:
            response = jsonify(error=problem)
            response.status_code = 422
            return response
        return jsonify(success=True, kind=kind)

    return blueprint
