"""Requests in the quarantine: the list, one of them, verifying them again, and dropping them."""

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, model_validator
from werkzeug.exceptions import NotFound

from app.intake.verify_again import drop_held, verify_again
from app.ledger.engine import look
from app.ledger.inbound import quarantine
from app.ledger.inbound.quarantine import Selection
from app.web.api.actor import actor
from app.web.api.inbound.schemas import Dropped, HeldPage, VerifiedAgain, WholeHeldRequest
from app.web.api.routes import Routes
from app.web.params import Name, Number, Paging, Request
from app.web.services import Parts

ROUTES = Routes()
PATIENCE_SECONDS = 10.0
MOST_IDS = 500


class HeldQuery(Paging):
    source: Name | None = None


class Chosen(Request):
    """Exactly one of the three, so that an empty body selects nothing."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [one]} for one in ("ids", "source", "all")]})
    hint: ClassVar[str] = 'send {"ids": […]}, {"source": "typeform"} or {"all": true}'
    ids: Annotated[list[Number] | None, Field(min_length=1, max_length=MOST_IDS)] = None
    source: Name | None = None
    all: Annotated[Literal[True] | None, Field(description="Every request.")] = None

    @model_validator(mode="after")
    def _is_one(self) -> "Chosen":
        if (self.ids is not None) + (self.source is not None) + (self.all is not None) != 1:
            raise ValueError(self.hint)
        return self

    @property
    def selection(self) -> Selection:
        return Selection(None if self.ids is None else tuple(self.ids), self.source)


class VerifyChosen(Chosen):
    next: Annotated[Number | None, Field(description="`next` of the last answer, unless that was null.")] = None


@ROUTES.get("/quarantine")
def held_requests(parts: Parts, query: HeldQuery) -> HeldPage:
    """List requests in the quarantine, newest first."""
    with look(parts.ledger) as tx:
        rows = quarantine.held(tx, source=query.source, before=query.before, limit=query.size)
        counts = quarantine.counts(tx)
    following = rows[-1].id if len(rows) == query.size else None
    listed = [request.as_json() for request in rows]
    return HeldPage.model_validate({"quarantine": listed, "counts": counts, "next_before": following})


@ROUTES.get("/quarantine/<int:held_id>", role="operator")
def held_request(parts: Parts, held_id: int) -> WholeHeldRequest:
    """Get one request in the quarantine, with headers and body."""
    with look(parts.ledger) as tx:
        held = quarantine.one_held(tx, held_id)
    if held is None:
        raise NotFound(f"there is no request {held_id} in the quarantine")
    request, content = held
    body = content.body.decode("utf-8", "replace")
    return WholeHeldRequest.model_validate({**request.as_json(), "headers": dict(content.headers), "body": body})


@ROUTES.post("/quarantine/verify")
def verify_requests(parts: Parts, body: VerifyChosen) -> VerifiedAgain:
    """Verify requests with the current secrets, and record those that are authentic."""
    done = verify_again(
        parts.ledger,
        parts.intake,
        parts.sealer,
        body.selection,
        actor=actor(),
        after=body.next or 0,
        seconds=PATIENCE_SECONDS,
    )
    parts.nudge()
    return VerifiedAgain(
        taken=done.taken,
        outcomes=dict(done.outcomes),
        refused=len(done.problems),
        problems={str(key): text for key, text in done.problems.items()},
        next=done.after,
    )


@ROUTES.post("/quarantine/drop")
def drop_requests(parts: Parts, body: Chosen) -> Dropped:
    """Remove requests from the quarantine for good."""
    return Dropped(dropped=drop_held(parts.ledger, body.selection, actor=actor()))
