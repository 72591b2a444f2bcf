"""What the resources answer alike."""

from flask import Response, jsonify

from app.ledger.actions.replay import ActionResult

ACTOR = "api"


def told(mended: ActionResult) -> Response:
    """200 where it was done, 409 where the delivery was left alone."""
    response = jsonify(id=mended.delivery_id, done=mended.done, message=mended.message)
    response.status_code = 200 if mended.done else 409
    return response
