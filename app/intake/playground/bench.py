"""The playground of page, API and command line: one body explained, or the last events of a source under a changed mapping."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic_core import from_json

from app.config.settings import Settings
from app.destinations.formats.events import Events
from app.destinations.target import Destination
from app.errors import LedgerUnavailable
from app.intake.dry_run import conversion_of, line_of, parts_of, request_to, shown_request
from app.intake.playground.comparison import Case, compare
from app.intake.playground.mapping_text import Edited, read_mapping
from app.intake.playground.origins import Origin, Values, flat, origins
from app.intake.playground.probes import Probe, Probed, probe
from app.intake.playground.trial import map_all, try_edited
from app.ledger.actions.rehearse import Rehearsed, recorded, rehearse
from app.ledger.engine import Ledger, look
from app.ledger.reading.bodies import Received, recent
from app.ledger.recording.arrival import Arrival, Policy
from app.model import Inbound, Mapped, Rules
from app.sources.base import Source
from app.sources.catalog import all_sources, source_called

MOST_EVENTS = 100
LATER = timedelta(days=365, seconds=1)
CONSTANTS = ("currency", "event_name")
"""Keys of a source's table that fix a value of every conversion."""
SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A body to explain. mapping: TOML to use instead of the current mapping; None for that. event: the one that it is, if the
    ledger has it."""

    source: str
    inbound: Inbound
    received_at: datetime
    mapping: str | None = None
    event: Received | None = None

    @staticmethod
    def of(event: Received, mapping: str | None = None) -> "Asked":
        """An event that the ledger has."""
        received_at = datetime.fromtimestamp(event.received_at / 1000, UTC)
        return Asked(event.source, Inbound(event.body, event.headers), received_at, mapping, event)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a body means, and the source and rules that said so."""

    name: str
    mapped: Mapped | str
    rules: Rules
    probed: Probed | None
    table: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Playground:
    """ledger: None if there is none to ask, so that a body is read by itself."""

    settings: Settings
    destinations: Sequence[Destination]
    policy: Policy
    ledger: Ledger | None = None

    def explain(self, asked: Asked, *, origins: bool = True) -> dict[str, Any]:
        """What a body would become: the fields of a line of `bridge map`, and

        events (how many the request holds; the first is explained), origins (by the path of each value of payload and
        dedupe_keys: {from, fields}), deciding (paths that decide the outcome), tried and fields (how many fields were changed, of
        how many), known (outcome and reason with all that the ledger knows; null without it), and destinations: {name, request,
        not_sent, omitted, origins, payload}.

        Nothing is recorded or sent. Raises ConfigurationError, UnknownSource or TrialFailed.
        """
        reading, events = self._read(asked, probes=origins)
        line = line_of(reading.mapped, reading.name, reading.rules, asked.received_at)
        rehearsed = self._rehearse(asked, reading)
        values = _Values(self, reading, asked.received_at)
        origins_by_path = values.origins() if origins else {}
        probed = reading.probed
        known = rehearsed and {"outcome": rehearsed.receipt.outcome, "reason": rehearsed.receipt.reason}
        return {
            "source": reading.name,
            **line,
            "events": events,
            "origins": _below("", origins_by_path),
            "deciding": [path for path, _ in probed.deciding] if probed else [],
            "tried": probed.tried if probed else 0,
            "fields": probed.total if probed else 0,
            "known": known,
            "destinations": [
                self._at(destination, asked, reading, origins_by_path, rehearsed) for destination in self.destinations
            ],
        }

    def compare(self, name: str, mapping: str, *, most: int = MOST_EVENTS) -> dict[str, Any]:
        """How the newest events of a source would change under a mapping: see comparison.compare. Raises as `explain` does."""
        edited = read_mapping(self.settings, name, mapping)
        source = self._sources().get(edited.name)
        assert self.ledger is not None
        with look(self.ledger) as tx:
            newest = recent(tx, edited.name, min(most, MOST_EVENTS))
        inbounds = [Inbound(event.body, event.headers) for event in newest.events]
        before = map_all(source, inbounds, self.settings.rules, SECONDS) if source else []
        after = try_edited(edited, inbounds).results if inbounds else []
        cases = [
            Case(
                event.id,
                line_of(old, edited.name, self.settings.rules, received_at),
                line_of(new, edited.name, edited.rules, received_at),
            )
            for event, old, new in zip(newest.events, before, after, strict=False)
            for received_at in [datetime.fromtimestamp(event.received_at / 1000, UTC)]
        ]
        late = len(newest.events) - len(cases)
        return {
            "source": edited.name,
            **compare(cases),
            "left_out": {"removed": newest.removed, "too_large": newest.too_large, "too_late": late},
            "mapping": mapping,
        }

    def _sources(self) -> dict[str, Source]:
        return all_sources(self.settings.config, self.settings.config_path)

    def _read(self, asked: Asked, *, probes: bool) -> tuple[_Reading, int]:
        if asked.mapping is not None:
            return self._read_edited(read_mapping(self.settings, asked.source, asked.mapping), asked, probes=probes), 1
        settings = self.settings
        source, rules = source_called(asked.source, settings.config, settings.config_path), settings.rules
        parts = parts_of(source, asked.inbound)
        (mapped,) = map_all(source, parts[:1], rules, SECONDS)
        probed = probe(source, parts[0], rules, mapped) if probes and isinstance(mapped, Mapped) else None
        table = settings.config.get("sources", {}).get(asked.source, {})
        return _Reading(asked.source, mapped, rules, probed, table), len(parts)

    def _read_edited(self, edited: Edited, asked: Asked, *, probes: bool) -> _Reading:
        tried = try_edited(edited, [asked.inbound], probes=probes)
        return _Reading(edited.name, tried.results[0], edited.rules, tried.probed, edited.own_table)

    def _rehearse(self, asked: Asked, reading: _Reading) -> Rehearsed | None:
        """None if the ledger is not asked, cannot be, or has nothing to add."""
        if self.ledger is None or isinstance(reading.mapped, str):
            return None
        event = asked.event
        try:
            if event is not None and event.outcome != "parked":
                return None if asked.mapping is not None else recorded(self.ledger, event.id)
            recorded_as = event.id if event else None
            arrival = Arrival(reading.name, reading.mapped, asked.inbound, {}, asked.received_at, recorded_as)
            return rehearse(self.ledger, arrival, self.policy)
        except LedgerUnavailable:
            return None

    def _at(
        self,
        destination: Destination,
        asked: Asked,
        reading: _Reading,
        origins_by_path: Mapping[str, Origin],
        rehearsed: Rehearsed | None,
    ) -> dict[str, Any]:
        """What one destination would be sent: with what the ledger knows, else what the body says by itself."""
        name = destination.name
        shown: dict[str, Any] = {"name": name, "request": None, "payload": None, "omitted": [], "origins": {}}
        own = conversion_of(
            reading.mapped, asked.received_at, reading.rules, reading.name, net_of_tax=destination.net_of_tax
        )
        deliveries = rehearsed.deliveries if rehearsed else ()
        delivery = next((row for row in deliveries if row["destination"] == name and row["kind"] != "refund"), None)
        if delivery is not None:
            request = shown_request(
                destination, delivery["kind"], delivery["payload"], delivery["key"], asked.received_at
            )
            payload = from_json(delivery["payload"])
            by_itself = flat(destination.format.body(own).fields) if own else {}
            return {
                **shown,
                **request,
                "payload": payload,
                "omitted": delivery["omitted"],
                "origins": _with_earlier(flat(payload), by_itself, _below(f"{name}:", origins_by_path)),
                "delivery": delivery["id"],
                "status": delivery["status"],
            }
        if own is None:
            return {**shown, "not_sent": f"the event is {_outcome(reading)}, so nothing is sent"}
        route = next((route for route in self.policy.routes if route.name == name), None)
        if route is not None and not route.takes(own.kind, reading.name):
            return {**shown, "not_sent": f"{name} takes no {own.kind} from {reading.name}"}
        if rehearsed is not None and rehearsed.receipt.outcome not in ("sale", "lead"):
            return {**shown, "not_sent": f"the event is {rehearsed.receipt.outcome}: {rehearsed.receipt.reason}"}
        body = destination.format.body(own)
        return {
            **shown,
            **request_to(destination, own, own.key, asked.received_at),
            "payload": body.fields,
            "omitted": list(body.omitted),
            "origins": _below(f"{name}:", origins_by_path),
        }


def _outcome(reading: _Reading) -> str:
    return "rejected" if isinstance(reading.mapped, str) else reading.mapped.outcome


def _with_earlier(payload: Values, by_itself: Values, known: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What the body by itself does not say, or says otherwise, comes from an earlier event."""
    earlier = Origin("earlier event").as_json()
    return {
        name: known[name] if name in known and by_itself.get(name) == value else earlier
        for name, value in payload.items()
    }


def _below(prefix: str, origins: Mapping[str, Origin]) -> dict[str, dict[str, Any]]:
    """The origins of one target, without its prefix; "" for payload and keys."""
    return {
        name.removeprefix(prefix): origin.as_json()
        for name, origin in origins.items()
        if (name.startswith(prefix) if prefix else ":" not in name.partition(".")[0])
    }


class _Values:
    """Every value that a body gives, by its path: payload.…, dedupe_keys[0], and NAME:… of each destination."""

    def __init__(self, bench: Playground, reading: _Reading, received_at: datetime) -> None:
        self._bench, self._reading, self._received_at = bench, reading, received_at

    def of(self, mapped: Mapped | str, received_at: datetime) -> Values:
        reading = self._reading
        values: Values = {}
        if isinstance(mapped, str):
            return values
        line = line_of(mapped, reading.name, reading.rules, received_at)
        values |= flat({"dedupe_keys": line["dedupe_keys"]})
        nets: dict[bool, Any] = {}
        for net in {reading.rules.net_of_tax, *(destination.net_of_tax for destination in self._bench.destinations)}:
            nets[net] = conversion_of(mapped, received_at, reading.rules, reading.name, net_of_tax=net)
        if nets[reading.rules.net_of_tax] is None:
            return values
        values |= flat(Events().body(nets[reading.rules.net_of_tax]).fields, "payload")
        for destination in self._bench.destinations:
            facts = nets[destination.net_of_tax]
            if facts.kind in destination.format.kinds:
                body = flat(destination.format.body(facts).fields)
                values |= {f"{destination.name}:{path}": value for path, value in body.items()}
        return values

    def origins(self) -> dict[str, Origin]:
        reading, probed = self._reading, self._reading.probed
        if probed is None:
            return {}
        base = self.of(reading.mapped, self._received_at)

        def render(probe: Probe) -> Values:
            return self.of(probe.mapped, self._received_at)

        constants = {
            f"{key} in [sources.{reading.name}]": reading.table[key] for key in CONSTANTS if key in reading.table
        }
        later = self.of(reading.mapped, self._received_at - LATER)
        return origins(
            base,
            probed.probes,
            render,
            tried=probed.tried,
            deciding=probed.deciding,
            received_later=later,
            constants=constants,
        )
