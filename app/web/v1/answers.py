"""What the resources answer alike."""

from collections.abc import Callable, Iterator
from typing import Any

from flask import Response, jsonify

from app.ledger import queries
from app.ledger.mending import Mended
from app.ledger.search import Page

ACTOR = "api"


def told(mended: Mended) -> Response:
    """200 where it was done, 409 where the delivery was left alone."""
    response = jsonify(id=mended.delivery_id, done=mended.done, message=mended.message)
    response.status_code = 200 if mended.done else 409
    return response


def every_row(page_of: Callable[[int | None, int], Page]) -> Iterator[dict[str, Any]]:
    """All rows of a list, page after page. page_of(before, limit): the page with ids below `before`."""
    before: int | None = None
    while True:
        page = page_of(before, queries.PAGE)
        yield from page.rows
        if page.next_before is None:
            return
        before = page.next_before
