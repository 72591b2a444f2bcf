"""The sandbox: a destination of the bridge's own that checks what it is sent against the destination's contract."""

import hmac
import json
from datetime import datetime
from typing import Annotated, Any, Literal

from flask import Blueprint, Response, jsonify, request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictFloat, StrictInt, StrictStr, ValidationError
from werkzeug.exceptions import Unauthorized

from app.destinations.http import sandbox_token
from app.ledger import tables
from app.ledger.engine import Ledger


def _is_timestamp(value: str) -> str:
    if not value.endswith("Z") or len(value) != len("2026-04-10T12:34:56.000Z"):
        raise ValueError("must be ISO 8601 UTC with milliseconds and Z")
    datetime.fromisoformat(value)
    return value


Text = Annotated[StrictStr, Field(min_length=1)]
Timestamp = Annotated[StrictStr, AfterValidator(_is_timestamp)]


class _Conversion(BaseModel):
    """What Lead and Sale share, in dialect `events`: absent where unknown, never null or empty."""

    model_config = ConfigDict(extra="forbid")

    timestamp: Timestamp
    customerExternalId: Text  # noqa: N815 - the wire's names
    clickId: Text = "-"  # noqa: N815
    email: Annotated[StrictStr, Field(pattern="^[^@ ]+@[^@ ]+$")] = "-@-"
    name: Text = "-"
    phone: Text = "-"
    metadata: Annotated[dict[str, Any], Field(min_length=1)] = {"-": "-"}


class LeadPayload(_Conversion):
    event: Literal["lead"]
    mode: Literal["deferred"] = "deferred"


class SalePayload(_Conversion):
    event: Literal["sale"]
    currency: Annotated[StrictStr, Field(pattern="^[A-Z]{3}$")]
    amount: Annotated[StrictInt | StrictFloat, Field(gt=0)]
    invoiceId: Text  # noqa: N815
    orderId: Text = "-"  # noqa: N815


def problem_of(kind: str, payload: object, dialect: str) -> str | None:
    """What is wrong with a payload by the destination's contract; None where nothing is."""
    if not isinstance(payload, dict):
        return "the body is no JSON object"
    if dialect != "events":
        missing = [n for n in ("eventName", "customerExternalId") if not payload.get(n)]
        if kind == "sale":
            missing += [n for n in ("amount", "currency", "invoiceId") if not payload.get(n)]
        return f"missing: {', '.join(missing)}" if missing else None
    try:
        (SalePayload if kind == "sale" else LeadPayload).model_validate(payload)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    return None


def create_blueprint(ledger: Ledger, secret_key: str, dialect: str) -> Blueprint:
    blueprint = Blueprint("sandbox", __name__)
    token = sandbox_token(secret_key)

    @blueprint.post("/sandbox/track/<any(lead, sale):kind>")
    def track(kind: str) -> Response:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
            raise Unauthorized("the sandbox takes only this bridge's own token")
        text = request.get_data().decode("utf-8", "replace")
        try:
            payload = json.loads(text)
        except (ValueError, RecursionError):
            payload = None
        problem = problem_of(kind, payload, dialect)
        key = request.headers.get("Idempotency-Key", "")
        row = (kind, key, problem, text.replace("\x00", "\ufffd"))

        def store(connection: Any) -> None:
            columns = ("received_at", "kind", "idempotency_key", "problem", "body")
            ledger.insert(connection, tables.sandbox_requests, columns, [(ledger.now(connection), *row)])

        ledger.transact(store)
        if problem:
            response = jsonify(error=problem)
            response.status_code = 422
            return response
        return jsonify(success=True, kind=kind)

    return blueprint
