"""The OpenAPI document of /api/v1. Written by hand beside the views; a test calls every path that it names."""

from typing import Any

from app.model import OUTCOMES, STATUSES

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
BLANK_TEXT = {"type": ["string", "null"]}
BLANK_TIME = {"type": ["string", "null"], "format": "date-time"}


def document() -> dict[str, Any]:
    """OpenAPI 3.1, as /api/v1/openapi.json shows it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Conversion Bridge",
            "version": "1",
            "description": "What was received, what became of it, and the verbs that mend it. Times are ISO 8601 UTC.",
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}],
        "paths": {
            "/events": {"get": _list("Events, newest first.", "events", "Event", _choice("outcome", OUTCOMES))},
            "/events/{id}": {"get": _one("One event with headers, body and deliveries.", "Event", TEXT)},
            "/deliveries": {
                "get": _list("Deliveries, newest first.", "deliveries", "Delivery", _choice("status", STATUSES))
            },
            "/deliveries/{id}": {"get": _one("One delivery with its attempts and events.", "Delivery", NUMBER)},
            "/deliveries/{id}/replay": {
                "post": _verb("Make it due now; a delivered one only with force=1.", force=True)
            },
            "/deliveries/{id}/discard": {"post": _verb("Close it unsent.")},
            "/replay": {"post": _replay()},
            "/stats": {"get": _operation("Counts, workers, destinations.", {"type": "object"}, [])},
            "/openapi.json": {"get": _operation("This document.", {"type": "object"}, [])},
        },
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {
                "Error": {"type": "object", "required": ["error"], "properties": {"error": TEXT}},
                "Mended": {
                    "type": "object",
                    "required": ["id", "done", "message"],
                    "properties": {"id": NUMBER, "done": {"type": "boolean"}, "message": TEXT},
                },
                "Event": _event(),
                "Delivery": _delivery(),
            },
        },
    }


def _event() -> dict[str, Any]:
    properties = {
        "id": NUMBER,
        "source": TEXT,
        "event_id": TEXT,
        "event_type": TEXT,
        "outcome": {"enum": list(OUTCOMES)},
        "reason": TEXT,
        "received_at": {"type": "string", "format": "date-time"},
        "received_count": NUMBER,
    }
    return {"type": "object", "required": list(properties), "properties": properties}


def _delivery() -> dict[str, Any]:
    properties = {
        "id": NUMBER,
        "status": {"enum": list(STATUSES)},
        "kind": {"enum": ["sale", "lead"]},
        "dedupe_key": TEXT,
        "destination": TEXT,
        "payload": {"type": "object"},
        "attempts": NUMBER,
        "next_attempt_at": BLANK_TIME,
        "created_at": {"type": "string", "format": "date-time"},
        "delivered_at": BLANK_TIME,
        "last_error": BLANK_TEXT,
        "source": TEXT,
        "event_id": TEXT,
    }
    return {"type": "object", "required": list(properties), "properties": properties}


def _choice(name: str, values: tuple[str, ...]) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"enum": list(values)}}


def _operation(
    summary: str, schema: dict[str, Any], parameters: list[dict[str, Any]], *refusals: str
) -> dict[str, Any]:
    answers = {"200": {"description": "Done.", "content": {"application/json": {"schema": schema}}}}
    error = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    for status in ("401", "503", *refusals):
        answers[status] = {"description": _MEANINGS[status], **error}
    return {"summary": summary, "parameters": parameters, "responses": answers}


_MEANINGS = {
    "401": "The token is missing or wrong.",
    "404": "There is none of that id.",
    "415": "The body is not JSON.",
    "422": "A parameter is wrong; the error says which.",
    "503": "The ledger cannot be used now; try again.",
}


def _list(summary: str, name: str, schema: str, choice: dict[str, Any]) -> dict[str, Any]:
    page = {
        "type": "object",
        "required": [name, "next_before"],
        "properties": {
            name: {"type": "array", "items": {"$ref": f"#/components/schemas/{schema}"}},
            "next_before": {"type": ["integer", "null"]},
        },
    }
    whole = {"type": "integer", "minimum": 1}
    paging = [
        {"name": "limit", "in": "query", "schema": {**whole, "maximum": 500, "default": 100}},
        {"name": "before", "in": "query", "description": "Only ids below this one.", "schema": whole},
    ]
    return _operation(summary, page, [choice, *paging], "422")


def _one(summary: str, schema: str, kind: dict[str, Any]) -> dict[str, Any]:
    parameter = {"name": "id", "in": "path", "required": True, "schema": kind}
    return _operation(summary, {"$ref": f"#/components/schemas/{schema}"}, [parameter], "404")


def _verb(summary: str, *, force: bool = False) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [{"name": "id", "in": "path", "required": True, "schema": NUMBER}]
    if force:
        parameters.append({"name": "force", "in": "query", "schema": {"enum": ["0", "1"]}})
    found = _operation(summary, {"$ref": "#/components/schemas/Mended"}, parameters, "404")
    left = {"$ref": "#/components/schemas/Mended"}
    found["responses"]["409"] = {"description": "It was left alone.", "content": {"application/json": {"schema": left}}}
    return found


def _replay() -> dict[str, Any]:
    result = {"type": "object", "properties": {"replayed": NUMBER, "left_alone": NUMBER}}
    found = _operation("Replay all that match a filter.", result, [], "422")
    properties = {
        "status": {"enum": ["dead", "discarded", "retrying", "pending"]},
        "source": TEXT,
        "since": {"type": "string", "description": "2026-04-10, 2026-04-10T12:00:00Z, 24h or 7d"},
    }
    schema = {"type": "object", "required": ["status"], "properties": properties, "additionalProperties": False}
    found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return found
