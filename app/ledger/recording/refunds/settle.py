"""Settles refunds and disputes: compares, for each counted Sale, the money that its marks report back with its refunds.

Marks describe a state, and may arrive in any order, as sums or one by one, before their Sale or long after it. So no single
event decides: once a group is written, any difference between the money back and the refunds in force is settled by another
refund, by dropping an unsent one, or by one that restores. Safe to repeat.
"""

from collections.abc import Sequence
from dataclasses import replace

from app.ledger import tables
from app.ledger.actions.replay import JOINED, REFUNDED
from app.ledger.forwarding.refunds import BEHIND
from app.ledger.inserts import Rows
from app.ledger.reading.money.marks import Adjustment, adjustments, money_back, of_one_source
from app.ledger.recording.arrival import Conversion, Route
from app.ledger.recording.flush import delivery_row
from app.ledger.recording.known.snapshot import Snapshot
from app.ledger.recording.refunds.entries import Entries, Entry
from app.ledger.recording.refunds.sent import LOWERED, Sent
from app.ledger.recording.rows import conversion_row

NOT_KNOWN = ", which is not known yet"
"""How the reason of a refund's event ends until its Sale is counted."""


def of_sale(sale: Conversion | None, currency: str) -> str:
    """How the reason of an event ends that reports a refund in this currency. sale: the counted one, if it is known."""
    if sale is None:
        return NOT_KNOWN
    ours = (sale.facts.get("sale") or {}).get("currency", currency)
    other = "" if ours == currency else f"; nothing is taken off, since the Sale is in {ours} and this is in {currency}"
    return f", {sale.dedupe_key}{other}"


def settle_refunds(snapshot: Snapshot) -> None:
    """Settles all Sales of the group that have marks. Call it after the flush, in its transaction."""
    sales = {sale.id: sale for conversion in snapshot.adjusted for sale in [snapshot.surviving(conversion)]}
    for identity in sorted(sales):
        sale = sales[identity]
        if sale.state == "counted" and sale.facts.get("sale"):
            _Settlement(snapshot, sale).run()


class _Settlement:
    """One Sale."""

    def __init__(self, snapshot: Snapshot, sale: Conversion) -> None:
        self.snapshot, self.tx, self.sale = snapshot, snapshot.tx, sale
        self.minor, self.currency = int(sale.facts["sale"]["minor"]), sale.facts["sale"]["currency"]
        self.routes = {route.name: route for route in snapshot.routes}

    def run(self) -> None:
        reported_marks = adjustments(self.tx, [self.sale.id])
        marks = [mark for mark in reported_marks if mark.currency == self.currency]
        if not reported_marks and not self._has_refunds():
            return
        present = self._name_in_events(reported_marks)
        event_of = {mark.reference: mark.event_id for mark in marks if mark.event_id in present}
        self.entries = Entries(self.snapshot, self.sale, event_of)
        self.sent = self.entries.sent
        back = money_back(marks)
        reported, references = of_one_source(back), {mark.reference for mark in back}
        self.entries.take_back({mark.reference: mark.minor for mark in reported}, references)
        self.entries.add(reported, references)
        self._mind_the_sale()
        self._write_facts()
        self._deliver()

    def _has_refunds(self) -> bool:
        """Whether any stand, which may be undone. A sum of 0 is not among the marks."""
        return self.tx.run("SELECT 1 FROM refunds WHERE sale_id = ? LIMIT 1", self.sale.id).first() is not None

    def _name_in_events(self, marks: Sequence[Adjustment]) -> set[int | None]:
        """Links the events that reported `marks` to the Sale, and says so in their reasons. Returns the events that still exist."""
        currencies = {mark.event_id: mark.currency for mark in marks if mark.event_id is not None}
        condition, value = self.tx.among("id", sorted(currencies))
        person = self.sale.person.survivor().id if self.sale.person else None
        rows = self.tx.run(f"SELECT id, reason, person_id, conversion_id FROM events WHERE {condition}", value).all()
        for identity, reason, known_person, known_conversion in rows:
            updated = reason.replace(NOT_KNOWN, of_sale(self.sale, currencies[identity]))
            if updated != reason or known_person is None or known_conversion is None:
                self.tx.run(
                    "UPDATE events SET reason = ?, conversion_id = ?, person_id = ? WHERE id = ?",
                    *(updated, known_conversion or self.sale.id, known_person or person, identity),
                )
        return {row[0] for row in rows}

    # -- deliveries

    def _mind_the_sale(self) -> None:
        """Discards an unsent Sale that is fully refunded, and makes it due again if the refund is undone."""
        is_whole = self.entries.refunded >= self.minor
        for name, sale in self.sent.of(self.sale.id).items():
            refunds = [self.sent.of(entry.conversion.id).get(name) for entry in self.entries.live]
            deliveries = [sale, *(delivery for delivery in refunds if delivery is not None)]
            if is_whole and sale.is_untaken:
                for delivery in deliveries:
                    if delivery.is_untaken:
                        self.sent.discard(delivery, REFUNDED)
            elif not is_whole:
                for delivery in deliveries:
                    self.sent.undo(delivery, REFUNDED)

    def _write_facts(self) -> None:
        """What is left after each refund, in their order, and by how much an unsent Sale is to be lowered."""
        left, lowered = self.minor, self._lowered()
        for entry in self.entries.live:
            left -= entry.minor
            known = entry.conversion.facts["refund"]
            refund = {**known, "left": left, "currency": self.currency, "of": self.minor}
            elsewhere = {name: m for name, m in known.get("lowered", {}).items() if name not in self.routes}
            if lowered or elsewhere:
                refund["lowered"] = elsewhere | lowered
            if refund != entry.conversion.facts["refund"]:
                entry.conversion.facts["refund"] = refund
                self.tx.update(tables.conversions, [conversion_row(entry.conversion)])
        if any(route.lower_sales for route in self.snapshot.routes):
            refunded = min(self.entries.refunded, self.minor)
            if self.sale.facts.get("refunded", 0) != refunded:
                self.sale.facts["refunded"] = refunded
                self.tx.update(tables.conversions, [conversion_row(self.sale)])

    def _lowered(self) -> dict[str, int]:
        """By how much the Sale was lowered, by destination."""
        amounts = {}
        for name in self.routes:
            covered = [e.minor for e in self.entries.all if self._is_covered(e, name)]
            if covered:
                amounts[name] = sum(covered)
        return amounts

    def _is_covered(self, entry: Entry, destination: str) -> bool:
        """Whether the Sale goes to that destination without this part."""
        refund = self.sent.of(entry.conversion.id).get(destination)
        if refund is not None:
            return refund.status == "discarded" and refund.last_error == LOWERED
        sale = self.sent.of(self.sale.id).get(destination)
        route = self.routes[destination]
        if entry.is_dropped or not route.lower_sales or sale is None:
            return False
        return sale.is_unsent or (_is_put_aside(sale) and sale.attempts == 0)

    def _deliver(self) -> None:
        for name, sale in self.sent.of(self.sale.id).items():
            route = self.routes.get(name)
            if route is None:
                continue
            if route.lower_sales and sale.is_unsent:
                self._render_again(self.sale, sale, route)
            if sale.status == "discarded" and not _is_put_aside(sale):
                continue
            if sale.status == "shadow" and not route.is_shadow:
                continue
            for entry in self.entries.live:
                known = self.sent.of(entry.conversion.id).get(route.name)
                if known is None:
                    self._add_delivery(entry, sale, route)
                elif known.is_unsent:
                    self._render_again(entry.conversion, known, route)

    def _add_delivery(self, entry: Entry, sale: Sent, route: Route) -> None:
        """One behind the Sale's. Of what only restores, where the refund itself went."""
        if not route.takes("refund", self.sale.source):
            return
        if entry.minor < 0 and not (route.format.takes_restores and self._was_sent(entry.reference, route.name)):
            return
        due_at = max(sale.due_at or 0, self.snapshot.now)
        row = delivery_row(self.snapshot, replace(entry.conversion, deliver_at=due_at), route)
        row["held"] = 0
        if self._is_covered(entry, route.name):
            row |= {"status": "discarded", "due_at": None, "last_error": LOWERED}
        elif sale.status == "discarded":  # and is reopened with it
            row |= {"status": "discarded", "due_at": None, "last_error": f"{BEHIND} {sale.id}, is discarded"}
        self.tx.insert_all([Rows(tables.deliveries, [row])])

    def _was_sent(self, reference: str, destination: str) -> bool:
        refunds = [e.conversion.id for e in self.entries.live if e.reference == reference and e.minor > 0]
        sent = [self.sent.of(identity).get(destination) for identity in refunds]
        return any(
            delivery is not None and delivery.status in ("delivered", "retrying", "pending") for delivery in sent
        )

    def _render_again(self, conversion: Conversion, delivery: Sent, route: Route) -> None:
        text, omitted = self.snapshot.render(conversion, route)
        if text != delivery.payload:
            self.tx.run("UPDATE deliveries SET payload = ?, omitted = ? WHERE id = ?", text, omitted, delivery.id)


def _is_put_aside(sale: Sent) -> bool:
    """Somebody discarded it, and may replay it."""
    reason = sale.last_error or ""
    return sale.status == "discarded" and reason != REFUNDED and not reason.startswith(JOINED)
