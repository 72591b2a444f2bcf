"""Services that the pages share."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask import flash, redirect, session
from werkzeug.exceptions import UnprocessableEntity
from werkzeug.wrappers import Response

from app.config.settings import Settings
from app.destinations.formats.base import Format
from app.destinations.target import Destination
from app.errors import DestinationNotFound
from app.intake.quarantine import Sealer
from app.intake.verify_and_map import Intake
from app.ledger.access.passwords import Passwords
from app.ledger.actions.send_to import Target, known_since
from app.ledger.engine import Ledger
from app.ledger.reading.first_events import names_of_sources
from app.ledger.reading.shadow import week
from app.ledger.reading.summary.problems import Health
from app.ledger.reading.summary.stats import CountCache
from app.ledger.recording.arrival import Policy
from app.ledger.transaction import Tx
from app.sources.base import Source
from app.web.pulse import PulseKeeper

ROWS = 50


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that pages use to read and write."""

    ledger: Ledger
    settings: Settings
    intake: Intake
    policy: Policy
    sources: Mapping[str, Source]
    destinations: Sequence[Destination]
    nudge: Callable[[], None]
    health: Health
    pulse: PulseKeeper
    sealer: Sealer
    passwords: Passwords
    counts: CountCache = field(default_factory=CountCache)

    def format(self, destination: str) -> Format | None:
        """The format of a destination; None if the destination is not configured."""
        return next((known.format for known in self.destinations if known.name == destination), None)


def weeks_of(tx: Tx, parts: Parts) -> dict[str, dict[str, Any]]:
    """A week of each destination in shadow mode, by name."""
    return {
        route.name: week(tx, route.name, route.kinds, route.sources) for route in parts.policy.routes if route.is_shadow
    }


def source_choices(tx: Tx, parts: Parts) -> list[str]:
    """The sources that a list can be filtered by: configured ones, and all that the ledger has events of."""
    return sorted({*parts.intake.configured, *names_of_sources(tx)})


def target_of(parts: Parts, name: str) -> Target:
    """A destination as the target of conversions that it did not get. Raises DestinationNotFound or UnprocessableEntity."""
    route = next((route for route in parts.policy.routes if route.name == name), None)
    if route is None:
        raise DestinationNotFound(name, [route.name for route in parts.policy.routes])
    if route.is_shadow:
        raise UnprocessableEntity(f'{name} is in shadow mode: set mode = "live" and reload the configuration first')
    with parts.ledger.read() as tx:
        return Target(route, known_since(parts.settings.retention.deliveries_days, tx.now()))


def actor() -> str:
    """The logged-in user, as the audit log names them."""
    return str(session["name"])


def redirect_with(message: str, where: str, *, is_done: bool = True) -> Response:
    """Redirects to `where`, which shows `message` once."""
    flash(message[0].upper() + message[1:].rstrip(".") + ".", "ok" if is_done else "warn")
    return redirect(where)
