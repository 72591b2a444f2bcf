"""Deliveries: the list (also as CSV), one of them, and the actions on it."""

import json
from typing import Annotated, Any

from flask import Response
from pydantic import AfterValidator, Field, WithJsonSchema
from werkzeug.exceptions import UnprocessableEntity

from app.ledger.actions import replay as actions
from app.ledger.actions.edit import submit_edit
from app.ledger.engine import look
from app.ledger.reading import deliveries as reading_deliveries
from app.ledger.reading.deliveries import deliveries_that_match
from app.web.api.actor import actor
from app.web.api.answers import ActionResult
from app.web.api.routes import Routes
from app.web.api.schemas import DeliveryPage, WholeDelivery
from app.web.auth import is_viewer
from app.web.csv_export import export_deliveries
from app.web.params import DeliveryFilter, OneOf, Paging, Request
from app.web.services import Parts

ROUTES = Routes()


def _object(value: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("must be the whole edited payload, a JSON object")
    return value


class DeliveriesQuery(DeliveryFilter, Paging):
    """A filter and a page."""


class ReplayQuery(Request):
    force: Annotated[
        Annotated[str, OneOf(("0", "1", "true", "false"))] | None,
        Field(description="1: send a delivered one again."),
    ] = None


class Edit(Request):
    payload: Annotated[
        Any,
        AfterValidator(_object),
        WithJsonSchema({"type": "object"}),
        Field(description="The whole payload as it is to be sent."),
    ]


@ROUTES.get("/deliveries")
def deliveries(parts: Parts, query: DeliveriesQuery) -> DeliveryPage:
    """List deliveries, newest first."""
    with look(parts.ledger) as tx:
        page = deliveries_that_match(tx, query.as_filter(), parts.sources, before=query.before, limit=query.size)
    return DeliveryPage.model_validate({"deliveries": page.rows, "next_before": page.next_before})


@ROUTES.get("/deliveries.csv", media="text/csv")
def deliveries_csv(parts: Parts, query: DeliveryFilter) -> Response:
    """Download all deliveries that match, as CSV."""
    return export_deliveries(parts.ledger, query.as_filter(), parts.sources, is_masked=is_viewer())


@ROUTES.get("/deliveries/<int:delivery_id>")
def delivery(parts: Parts, delivery_id: int) -> WholeDelivery:
    """Get one delivery with its attempts and events."""
    with look(parts.ledger) as tx:
        return WholeDelivery.model_validate(reading_deliveries.delivery(tx, delivery_id))


@ROUTES.post("/deliveries/<int:delivery_id>/replay")
def replay_delivery(parts: Parts, delivery_id: int, query: ReplayQuery) -> ActionResult:
    """Make a delivery due now; a delivered one only with force."""
    force = query.force in ("1", "true")
    result = parts.ledger.transact(lambda tx: actions.replay(tx, delivery_id, actor=actor(), force=force))
    parts.nudge()
    return _answer(result)


@ROUTES.post("/deliveries/<int:delivery_id>/discard")
def discard_delivery(parts: Parts, delivery_id: int) -> ActionResult:
    """Close a delivery unsent."""
    return _answer(parts.ledger.transact(lambda tx: actions.discard(tx, delivery_id, actor=actor())))


@ROUTES.post("/deliveries/<int:delivery_id>/undo")
def undo_delivery(parts: Parts, delivery_id: int) -> ActionResult:
    """Undo a discard."""
    result = parts.ledger.transact(lambda tx: actions.undo_discard(tx, delivery_id, actor=actor()))
    parts.nudge()
    return _answer(result)


@ROUTES.post("/deliveries/<int:delivery_id>/edit")
def edit_delivery(parts: Parts, delivery_id: int, body: Edit) -> ActionResult:
    """Send a dead delivery with another payload, under an Idempotency-Key of its own (`…:edit-N`).

    Its kind and invoiceId must not change.
    """
    with look(parts.ledger) as tx:
        delivery = reading_deliveries.delivery(tx, delivery_id)
    wire = parts.format(delivery["destination"])
    edited = submit_edit(parts.ledger, delivery, json.dumps(body.payload), wire, actor=actor())
    if edited.problem:
        raise UnprocessableEntity(edited.problem)
    parts.nudge()
    return _answer(edited.result)


def _answer(result: actions.ActionResult) -> ActionResult:
    return ActionResult(id=result.delivery_id, done=result.done, message=result.message)
