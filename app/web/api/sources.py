"""Sources: which are configured, what they sent lately, and what was refused. Never a secret, and no token."""

from werkzeug.exceptions import NotFound

from app.ledger.engine import look
from app.ledger.reading.first_events import Heard
from app.ledger.reading.summary.overview import LATELY_DAYS
from app.setup.checklist import checklist
from app.setup.source_state import source_state
from app.web.api.answers import fields_of
from app.web.api.routes import Routes
from app.web.api.state_schemas import (
    RefusedRequest,
    SeenEvent,
    SetUp,
    SetUpStep,
    Source,
    SourceFinding,
    Sources,
    SourceSetUp,
)
from app.web.services import Parts
from app.web.source_rows import source_rows

ROUTES = Routes()


@ROUTES.get("/sources")
def sources(parts: Parts) -> Sources:
    """List sources and their recent events."""
    with look(parts.ledger) as tx:
        rows = source_rows(tx, parts.settings, parts.sources)
    return Sources.model_validate({"sources": [fields_of(row, Source) for row in rows], "days": LATELY_DAYS})


@ROUTES.get("/sources/<name>")
def source(parts: Parts, name: str) -> SourceSetUp:
    """Get how far the set-up of one source is: its first and last event, the last refused request, and what looks wrong."""
    known = parts.sources.get(name)
    if known is None:
        raise NotFound(f"there is no source called {name}")
    with look(parts.ledger) as tx:
        state = source_state(tx, parts.settings, known)
    base = parts.settings.public_url or parts.settings.own_url
    refusal = state.refusal
    return SourceSetUp(
        name=state.name,
        title=state.title,
        stage=state.stage,
        variable=state.variable,
        url=f"{base}/webhooks/{name}{'/…' if state.has_token else ''}",
        first=_seen(state.first),
        last=_seen(state.last),
        test=_seen(state.test),
        refused=RefusedRequest(reason=refusal.reason, at=refusal.at, count=refusal.count) if refusal else None,
        findings=[SourceFinding(level=level, text=text) for level, text in state.findings],
    )


@ROUTES.get("/setup")
def setup(parts: Parts) -> SetUp:
    """List the steps of the setup checklist, and which of them are done."""
    with look(parts.ledger) as tx:
        steps = checklist(tx, parts.settings, parts.sources.values(), parts.destinations)
    return SetUp(
        steps=[SetUpStep(key=step.key, title=step.title, is_done=step.is_done, text=step.text) for step in steps]
    )


def _seen(event: Heard | None) -> SeenEvent | None:
    if event is None:
        return None
    return SeenEvent(id=event.id, at=event.at, outcome=event.outcome, reason=event.reason, event_type=event.event_type)
