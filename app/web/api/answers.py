"""What the resources answer alike."""

from flask import Response, jsonify

from app.ledger.actions.replay import ActionResult

ACTOR = "api"


def answer(result: ActionResult) -> Response:
    """200 where it was done, 409 where the delivery was skipped."""
    response = jsonify(id=result.delivery_id, done=result.done, message=result.message)
    response.status_code = 200 if result.done else 409
    return response
