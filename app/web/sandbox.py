"""The sandbox: a destination of the bridge's own that checks what it is sent against the destination's contract."""

import hmac
import json

from flask import Blueprint, Response, jsonify, request
from werkzeug.exceptions import Unauthorized

from app.destinations.formats.base import Format
from app.destinations.target import sandbox_token
from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.transaction import Tx
from app.model import Kind


def problem_of(kind: Kind, payload: object, wire: Format) -> str | None:
    """What is wrong with a payload by its format's rules; None where nothing is."""
    if not isinstance(payload, dict):
        return "the body must be a JSON object"
    return wire.problem(kind, payload)


def create_blueprint(ledger: Ledger, secret_key: str, wire: Format) -> Blueprint:
    blueprint = Blueprint("sandbox", __name__)
    token = sandbox_token(secret_key)

    @blueprint.post("/sandbox/track/<any(lead, sale):kind>")
    def track(kind: Kind) -> Response:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
            raise Unauthorized("the sandbox takes only this bridge's own token")
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
