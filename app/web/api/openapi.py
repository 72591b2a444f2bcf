"""The OpenAPI document of /api/v1, beside the views; schemathesis holds the two together (tests/web/test_openapi.py)."""

from functools import cache
from typing import Any

from app.ledger.actions import replay
from app.model import OUTCOMES, STATUSES
from app.web.api import schemas
from app.web.api.schemas import COUNT, TEXT, YES, Schema, many, page, ref, thing

MEANINGS = {
    "401": "The token is missing or wrong.",
    "403": "API_TOKEN is not set, so the API is closed.",
    "404": "There is none of that id or name.",
    "405": "This path takes another method; Allow names it.",
    "409": "It was skipped; the message says why.",
    "413": "The body is larger than 1 MiB.",
    "415": "The body is not JSON.",
    "422": "A parameter or the body is wrong; the error says which and what is taken.",
    "503": "The ledger cannot be used now; try again after Retry-After.",
}
EVERYWHERE = ("401", "403", "503")
FILTER: dict[str, Schema] = {
    "source": schemas.NAME,
    "kind": {"enum": ["sale", "lead"]},
    "destination": schemas.NAME,
    "code": {**schemas.CODE, "description": "The destination's last answer."},
    "since": schemas.WHEN,
    "until": schemas.WHEN,
    "q": {
        **schemas.SEARCHED,
        "description": "An e-mail address, phone, customer, invoice, click, Stripe or event id, whole or its beginning.",
    },
}
EVENT_FILTER = {
    "outcome": {"enum": list(OUTCOMES)},
    **{name: FILTER[name] for name in ("source", "destination", "since", "until", "q")},
}
DELIVERY_FILTER = {"status": {"enum": list(STATUSES)}, **FILTER}
PAGING: dict[str, Schema] = {
    "limit": {**schemas.ID, "default": 100, "description": "500 are shown at most."},
    "before": {**schemas.ID, "description": "Only ids below this one: next_before of the last page."},
}


@cache
def document() -> dict[str, Any]:
    """OpenAPI 3.1, as /api/v1/openapi.json shows it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Conversion Bridge",
            "version": "1",
            "description": "What was received, what became of it, and the actions on it. Times are ISO 8601 UTC.",
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}],
        "paths": {**_events(), **_deliveries(), **_bulk(), **_persons(), **_others()},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": schemas.SCHEMAS,
        },
    }


def _events() -> dict[str, Any]:
    return {
        "/events": {"get": _get("Events, newest first.", page("events", "Event"), {**EVENT_FILTER, **PAGING})},
        "/events.csv": {"get": _csv("All events that match, as CSV.", EVENT_FILTER)},
        "/events/{id}": {
            "get": _one(
                "One event with headers, body and deliveries, by its id here or its source and its id there (stripe:evt_1).",
                "WholeEvent",
                {"type": "string", "pattern": "^[A-Za-z0-9:._-]+$"},
            )
        },
        "/events/remap": {
            "post": _verb("Reprocess parked events after a change of configuration.", thing({"message": TEXT}))
        },
    }


def _deliveries() -> dict[str, Any]:
    edited = thing({"payload": {"type": "object", "description": "The whole payload as it is to be sent."}})
    result = ref("ActionResult")
    verbs = {
        "replay": _verb("Make it due now; a delivered one only with force.", result, "404", "409", number=True),
        "discard": _verb("Close it unsent.", result, "404", "409", number=True),
        "undo": _verb("Take a discard back.", result, "404", "409", number=True),
        "edit": _verb(
            "Send a dead one with another payload, under an Idempotency-Key of its own (`…:edit-N`). What it is and its"
            " invoiceId must stay.",
            result,
            "404",
            "409",
            number=True,
            body=edited,
        ),
    }
    force = {"name": "force", "in": "query", "schema": {"enum": ["0", "1", "true", "false"]}}
    verbs["replay"]["parameters"].append(force)
    answer = page("deliveries", "Delivery")
    return {
        "/deliveries": {"get": _get("Deliveries, newest first.", answer, {**DELIVERY_FILTER, **PAGING})},
        "/deliveries.csv": {"get": _csv("All deliveries that match, as CSV.", DELIVERY_FILTER)},
        "/deliveries/{id}": {"get": _one("One delivery with its attempts and events.", "WholeDelivery", schemas.ID)},
        **{f"/deliveries/{{id}}/{name}": {"post": verb} for name, verb in verbs.items()},
    }


def _bulk() -> dict[str, Any]:
    following = {"next": {**schemas.ID, "description": "`next` of the last answer, where that was not null."}}
    mark = {"mark": {**schemas.MARK, "description": "Of the first answer, so that one undo takes back all."}}
    alone: dict[str, Schema] = {"left_alone": COUNT, "next": schemas.BLANK_NUMBER}

    def body(statuses: tuple[str, ...], more: dict[str, Schema]) -> Schema:
        fields = {"status": {"enum": list(statuses)}, **FILTER, **following, **more}
        return thing(fields, optional=tuple(name for name in fields if name != "status"))

    undo = thing({**mark, **following}, optional=("next",))
    return {
        "/replay": {
            "post": _verb(
                "Replay all that match. Where a request was not enough, `next` says where to go on.",
                thing({"replayed": COUNT, **alone}),
                body=body(replay.REPLAYABLE, {}),
            )
        },
        "/discard": {
            "post": _verb(
                "Discard all that match.",
                thing({"discarded": COUNT, **alone, **mark}),
                body=body(replay.DISCARDABLE, mark),
            )
        },
        "/undo": {"post": _verb("Take a bulk discard back.", thing({"undone": COUNT, **alone}), body=undo)},
    }


def _persons() -> dict[str, Any]:
    asked = {"q": {**schemas.SEARCHED, "description": "An e-mail address, phone or id, whole."}, **PAGING}
    forgotten = thing({"id": COUNT, "events": COUNT, "deliveries": COUNT, "discarded": COUNT})
    verb = _verb("Erase their data; the ids of their purchases stay. It cannot be undone.", forgotten, "404")
    verb["parameters"] = [_path(schemas.ID)]
    verb["responses"]["409"] = _refusal("409")
    return {
        "/persons": {"get": _get("Persons, newest first.", page("persons", "Person"), asked)},
        "/persons/{id}": {"get": _one("One person and what happened to them.", "WholePerson", schemas.ID)},
        "/persons/{id}/forget": {"post": verb},
    }


def _others() -> dict[str, Any]:
    changed = thing({"name": TEXT, "done": YES, "message": TEXT})
    reason = thing({"reason": schemas.SEARCHED}, optional=("reason",))
    pause = _verb("Stop forwarding to it: what is due waits.", changed, "404", body=reason)
    pause["requestBody"]["required"] = False
    resume = _verb("Let it go on.", changed, "404")
    for verb in (pause, resume):
        verb["parameters"] = [{"name": "name", "in": "path", "required": True, "schema": schemas.NAME}]
    sources = thing({"sources": many(ref("Source")), "days": COUNT})
    return {
        "/sources": {"get": _get("Sources, and what they sent within the last days.", sources, {})},
        "/destinations": {
            "get": _get("Destinations and their pauses.", thing({"destinations": many(ref("Destination"))}), {})
        },
        "/destinations/{name}/pause": {"post": pause},
        "/destinations/{name}/resume": {"post": resume},
        "/audit": {"get": _get("What somebody changed, newest first.", page("audit", "Line"), PAGING)},
        "/stats": {"get": _get("Counts, workers, destinations.", ref("Stats"), {})},
        "/openapi.json": {"get": _operation("This document.", {"type": "object"}, [])},
    }


def _get(summary: str, answer: Schema, parameters: dict[str, Schema]) -> dict[str, Any]:
    found = [{"name": name, "in": "query", "schema": schema} for name, schema in parameters.items()]
    return _operation(summary, answer, found, "422")


def _csv(summary: str, parameters: dict[str, Schema]) -> dict[str, Any]:
    found = _get(summary, TEXT, parameters)
    found["responses"]["200"] = {"description": "A table.", "content": {"text/csv": {"schema": TEXT}}}
    return found


def _one(summary: str, schema: str, kind: Schema) -> dict[str, Any]:
    return _operation(summary, ref(schema), [_path(kind)], "404", "422")


def _verb(
    summary: str, answer: Schema, *refusals: str, number: bool = False, body: Schema | None = None
) -> dict[str, Any]:
    """number: the path has an id. What was skipped (409) is answered like what was done."""
    parameters = [_path(schemas.ID)] if number else []
    more = ("413", "415") if body else ()
    found = _operation(summary, answer, parameters, *refusals, *more, "422")
    if "409" in refusals:
        found["responses"]["409"]["content"]["application/json"]["schema"] = answer
    if body:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found


def _path(kind: Schema) -> dict[str, Any]:
    return {"name": "id", "in": "path", "required": True, "schema": kind}


def _operation(summary: str, schema: Schema, parameters: list[dict[str, Any]], *refusals: str) -> dict[str, Any]:
    answers: dict[str, Any] = {"200": {"description": "Done.", "content": {"application/json": {"schema": schema}}}}
    for status in (*EVERYWHERE, *refusals):
        answers[status] = _refusal(status)
    return {"summary": summary, "parameters": parameters, "responses": dict(sorted(answers.items()))}


def _refusal(status: str) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": MEANINGS[status],
        "content": {"application/json": {"schema": ref("Error")}},
    }
    if status == "503":
        answer["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    return answer
