"""The schemas of what /api/v1 answers and takes, for its OpenAPI document. Every object names all of its fields."""

from typing import Any, get_args

from app.model import OUTCOMES, STATUSES, AttemptResult

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "integer"}
COUNT: Schema = {"type": "integer", "minimum": 0}
YES: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
BLANK_TEXT: Schema = {"type": ["string", "null"]}
BLANK_NUMBER: Schema = {"type": ["integer", "null"]}
BLANK_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
ANYTHING: Schema = {"type": "object"}
COUNTS: Schema = {"type": "object", "additionalProperties": COUNT}
NAME: Schema = {"type": "string", "pattern": "^[a-z0-9_-]{1,100}$"}
SEARCHED: Schema = {"type": "string", "minLength": 1, "maxLength": 512}
ID: Schema = {"type": "integer", "minimum": 1, "maximum": 2**62 - 1}
CODE: Schema = {"type": "integer", "minimum": 100, "maximum": 599}
MARK: Schema = {"type": "string", "pattern": "^[0-9]{1,18}-[0-9a-f]{8}$"}
WHEN: Schema = {
    "description": "2026-04-10, 2026-04-10T12:00:00Z, or an age: 90m, 24h, 7d.",
    "anyOf": [
        {"type": "string", "pattern": "^[0-9]{1,5}[mhd]$"},
        {"type": "string", "format": "date"},
        {"type": "string", "format": "date-time"},
    ],
}


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def thing(properties: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    """An object that has these fields and no others."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


def many(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def page(name: str, schema: str) -> Schema:
    """One page of a list. next_before: `before` of the next page, null at the end; until then a page may be short."""
    return thing({name: many(ref(schema)), "next_before": BLANK_NUMBER})


EVENT: Schema = {
    "id": NUMBER,
    "source": TEXT,
    "event_id": TEXT,
    "event_type": TEXT,
    "outcome": {"enum": list(OUTCOMES)},
    "reason": TEXT,
    "conversion_id": BLANK_NUMBER,
    "person_id": BLANK_NUMBER,
    "received_at": TIME,
    "received_count": COUNT,
    "last_received_at": TIME,
    "destinations": many(TEXT),
}
DELIVERY: Schema = {
    "id": NUMBER,
    "status": {"enum": list(STATUSES)},
    "kind": {"enum": ["sale", "lead"]},
    "dedupe_key": TEXT,
    "destination": TEXT,
    "payload": {"type": "object", "description": "What is sent, to the byte, in the destination's format."},
    "attempts": COUNT,
    "next_attempt_at": BLANK_TIME,
    "created_at": TIME,
    "delivered_at": BLANK_TIME,
    "last_error": BLANK_TEXT,
    "last_status": BLANK_NUMBER,
    "source": TEXT,
    "event_id": {"type": "string", "description": "The source's own id of the event it came from."},
    "event_type": TEXT,
    "event": {"type": "integer", "description": "The ledger's id of that event."},
    "person_id": NUMBER,
    "conversion_id": NUMBER,
    "held": YES,
    "sending": YES,
    "amount": {"type": ["number", "null"], "description": "In major units of `currency`, whatever the format sends."},
    "currency": BLANK_TEXT,
    "invoice_id": BLANK_TEXT,
    "customer_id": BLANK_TEXT,
    "email": BLANK_TEXT,
    "omitted": {
        "type": "array",
        "items": TEXT,
        "description": "What the format left out of the payload or shortened.",
    },
    "note": {**BLANK_TEXT, "description": "What the destination's answer means beyond its status."},
}
ATTEMPT: Schema = {
    "number": NUMBER,
    "result": {"enum": list(get_args(AttemptResult))},
    "by_hand": YES,
    "started_at": TIME,
    "duration_ms": COUNT,
    "status": BLANK_NUMBER,
    "error": BLANK_TEXT,
    "answer_headers": {"type": ["object", "null"]},
    "answer_body": BLANK_TEXT,
}
REFUND: Schema = {
    "reference": TEXT,
    "kind": {"enum": ["refund", "dispute"]},
    "status": TEXT,
    "amount_minor": NUMBER,
    "currency": TEXT,
    "at": BLANK_TIME,
}
PERSON: Schema = {
    "id": NUMBER,
    "customer_id": BLANK_TEXT,
    "explicit_id": BLANK_TEXT,
    "provider_id": BLANK_TEXT,
    "email": BLANK_TEXT,
    "name": BLANK_TEXT,
    "phone": BLANK_TEXT,
    "click_first": BLANK_TEXT,
    "click_last": BLANK_TEXT,
    "clicks": {
        "type": "object",
        "additionalProperties": thing({"first": TEXT, "first_at": TIME, "last": TEXT, "last_at": TIME}),
        "description": "Click ids beside the main one, by name.",
    },
    "created_at": TIME,
    "merged_into": BLANK_NUMBER,
}
STEP: Schema = {
    "what": TEXT,
    "at": BLANK_TIME,
    "text": BLANK_TEXT,
    "tone": {"enum": ["", "warn", "bad"]},
    "amount": BLANK_TEXT,
    "event": BLANK_NUMBER,
    "deliveries": many(ANYTHING),
    "key": BLANK_TEXT,
    "source": TEXT,
    "click": BLANK_TEXT,
    "event_name": BLANK_TEXT,
    "event_type": BLANK_TEXT,
    "of": many(ANYTHING),
    "is_id": YES,
}
IDENTIFIER = thing({"kind": TEXT, "value": TEXT, "seen_at": TIME})
PLAIN: Schema = {
    "requests": {**COUNT, "description": "One for each webhook of these conversions."},
    "twice": {**COUNT, "description": "Of these, beyond the first of a conversion."},
    "unpaid": {**COUNT, "description": "Further ones, for money that was not collected at that time."},
    "without_click": {**COUNT, "description": "Conversions whose click ID is known from earlier webhooks alone."},
    "unidentified": {**COUNT, "description": "Conversions whose person a later webhook named."},
}
SHADOW: Schema = {
    "since": TIME,
    "sales": COUNT,
    "leads": COUNT,
    "held": COUNT,
    "deduplicated": COUNT,
    "refused": COUNT,
    "reasons": many(thing({"reason": TEXT, "count": COUNT})),
    "plain": {**thing(PLAIN), "description": "What a plain forwarder would have done."},
    "is_capped": YES,
}
PAUSES: Schema = {
    "name": TEXT,
    "paused_at": BLANK_TIME,
    "paused_reason": BLANK_TEXT,
    "failures": COUNT,
    "probe_at": BLANK_TIME,
    "is_open": {"type": "boolean", "description": "The breaker is open: it is only probed."},
}
SCHEMAS: dict[str, Schema] = {
    "Error": thing({"error": {"type": "string", "description": "What is wrong, and what to do."}}),
    "ActionResult": thing({"id": NUMBER, "done": YES, "message": TEXT}),
    "Event": thing(EVENT),
    "WholeEvent": thing(
        {**EVENT, "headers": ANYTHING, "body": TEXT, "deliveries": many(ref("Delivery"))},
    ),
    "Delivery": thing(DELIVERY),
    "WholeDelivery": thing(
        {
            **DELIVERY,
            "attempt_list": many(thing(ATTEMPT)),
            "events": many(ref("Event")),
            "marks": many(thing(REFUND)),
            "waits_for": {**BLANK_NUMBER, "description": "The person's open Lead that goes first."},
        }
    ),
    "Person": thing(PERSON),
    "WholePerson": thing(
        {
            **PERSON,
            "identifiers": many(IDENTIFIER),
            "attempted": YES,
            "forgotten_at": BLANK_TIME,
            "events": many(ANYTHING),
            "journey": many(thing(STEP, optional=("source", "event_type", "of", "is_id"))),
            "why": {"type": "string", "description": "Which customer id is sent, and why."},
        }
    ),
    "Source": thing(
        {
            "name": TEXT,
            "title": TEXT,
            "is_configured": YES,
            "is_signed": YES,
            "variable": TEXT,
            "url": TEXT,
            "last": {"anyOf": [thing({"id": NUMBER, "at": TIME}), {"type": "null"}]},
            "outcomes": COUNTS,
            "refused": COUNTS,
        }
    ),
    "Destination": thing(
        {
            **PAUSES,
            "is_used": {**YES, "description": "A worker has served it."},
            "waiting": COUNT,
            "mode": {"enum": ["live", "shadow"]},
            "shadow": {"anyOf": [thing(SHADOW), {"type": "null"}], "description": "Its last 7 days in shadow mode."},
        }
    ),
    "Line": thing({"id": NUMBER, "at": TIME, "actor": TEXT, "action": TEXT, "subject": TEXT, "detail": TEXT}),
    "Stats": thing(
        {
            "deliveries": COUNTS,
            "events": COUNTS,
            "repeats": COUNT,
            "oldest_due_seconds": {"type": ["number", "null"]},
            "workers_alive": COUNT,
            "destinations": many(thing(PAUSES)),
        }
    ),
}
