"""The refunds in force of one Sale: rows of the table `refunds`, and their conversions."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from app.ledger import tables
from app.ledger.inserts import Rows
from app.ledger.reading.money.marks import SUM, Adjustment
from app.ledger.recording.arrival import Conversion
from app.ledger.recording.known.snapshot import Snapshot
from app.ledger.recording.refunds.sent import LOWERED, TAKEN_BACK, Deliveries
from app.ledger.recording.rows import conversion_row


@dataclass(slots=True)
class Entry:
    """A row of refunds. In memory the newest state; `conversion` is loaded with it."""

    conversion: Conversion
    reference: str
    minor: int
    is_dropped: bool


class Entries:
    """The refunds of one Sale, in order. event_of: the events that reported its marks, by reference."""

    def __init__(self, snapshot: Snapshot, sale: Conversion, event_of: Mapping[str, int | None]) -> None:
        self.snapshot, self.tx, self.sale, self.event_of = snapshot, snapshot.tx, sale, event_of
        self.minor = int(sale.facts["sale"]["minor"])
        rows = self.tx.run(
            "SELECT conversion_id, reference, minor, is_dropped FROM refunds WHERE sale_id = ? ORDER BY conversion_id",
            sale.id,
        ).all()
        snapshot.load_conversions([row[0] for row in rows])
        conversions = snapshot.conversions
        self.all = [Entry(conversions[row[0]], row[1], row[2], bool(row[3])) for row in rows]
        statement = (
            "SELECT DISTINCT m.reference FROM dedupe_keys k JOIN marks m ON m.key = k.key WHERE k.conversion_id = ?"
        )
        self.known = frozenset(self.tx.run(statement, sale.id).scalars())
        """Marks that are still kept. Of one that retention removed, its refund stands as it is."""
        self.sent = Deliveries(self.tx, [sale.id, *(row[0] for row in rows)], snapshot.now)

    @property
    def live(self) -> list[Entry]:
        return [entry for entry in self.all if not entry.is_dropped]

    @property
    def refunded(self) -> int:
        """The sum of the refunds in force, in minor units."""
        return sum(entry.minor for entry in self.live)

    def take_back(self, amounts: Mapping[str, int], back: AbstractSet[str]) -> None:
        """Undoes refunds whose money was not returned after all: drops unsent ones, and restores the others by a further refund.
        amounts: minor units by reference.
        """
        for reference in self._references:
            if reference in self.known and reference not in back and not _is_sum(reference):
                self._undo(reference, self._stands_for(reference))
        surplus = self._surplus(amounts, back) - sum(max(0, m - self._stands_for(r)) for r, m in amounts.items())
        for reference in self._references:
            excess = min(surplus, self._stands_for(reference) - amounts.get(reference, 0))
            if reference in self.known and _is_sum(reference) and excess > 0:
                self._undo(reference, excess)
                surplus -= excess

    @property
    def _references(self) -> list[str]:
        return list(dict.fromkeys(entry.reference for entry in self.live))

    def _stands_for(self, reference: str) -> int:
        return sum(entry.minor for entry in self.live if entry.reference == reference)

    def _surplus(self, amounts: Mapping[str, int], back: AbstractSet[str]) -> int:
        """By how much the refunds in force exceed their marks: single refunds of a sum may arrive after it, or another source may
        report the same money."""
        known = [reference for reference in self._references if reference in self.known]
        loose = [reference for reference in known if _is_sum(reference) or reference in back]
        return sum(max(0, self._stands_for(reference) - amounts.get(reference, 0)) for reference in loose)

    def _undo(self, reference: str, minor: int) -> None:
        for entry in [live for live in reversed(self.live) if live.reference == reference and live.minor > 0]:
            if 0 < entry.minor <= minor and self._drop(entry):
                minor -= entry.minor
        if minor > 0:
            self._make(reference, -minor, f"{_bare(reference)}:restored")

    def _drop(self, entry: Entry) -> bool:
        """Drops a refund unless a delivery of it was sent. Returns whether it did."""
        deliveries, sales = self.sent.of(entry.conversion.id), self.sent.of(self.sale.id)
        if any(not (delivery.is_unsent or delivery.status == "discarded") for delivery in deliveries.values()):
            return False
        for name, delivery in deliveries.items():
            self.sent.discard(delivery, TAKEN_BACK)
            if delivery.last_error == LOWERED and name in sales and sales[name].is_unsent:  # which is raised again
                self.tx.run("UPDATE deliveries SET last_error = ? WHERE id = ?", TAKEN_BACK, delivery.id)
                delivery.last_error = TAKEN_BACK
        entry.is_dropped = True
        self.tx.run("UPDATE refunds SET is_dropped = 1 WHERE conversion_id = ?", entry.conversion.id)
        return True

    def add(self, marks: Sequence[Adjustment], back: AbstractSet[str]) -> None:
        """Adds refunds for marks that have none yet. A single refund replaces one that was known only from a sum."""
        surplus = self._surplus({mark.reference: mark.minor for mark in marks}, back)
        for mark in sorted(marks, key=lambda mark: (mark.summed is not None, mark.at, mark.reference)):
            lacks = max(0, mark.minor - self._stands_for(mark.reference))
            if lacks and mark.summed is None and (entry := self._anonymous(mark, lacks)) is not None:
                self._rename(entry, mark)
                surplus -= lacks
                continue
            covered = min(max(surplus, 0), lacks)
            surplus -= covered
            amount = min(lacks - covered, self.minor - self.refunded)
            if amount > 0:
                name = _bare(mark.reference) if mark.summed is None else f"{mark.summed}:{mark.total}"
                self._make(mark.reference, amount, name, mark.source, mark.at)

    def _anonymous(self, mark: Adjustment, minor: int) -> Entry | None:
        """The refund known from a sum that turns out to be this mark; None if there is none."""
        for entry in self.live:
            payment = _bare(entry.reference)
            if _is_sum(entry.reference) and entry.minor == minor and any(k.endswith(f":{payment}") for k in mark.keys):
                return entry
        return None

    def _rename(self, entry: Entry, mark: Adjustment) -> None:
        entry.reference = mark.reference
        statement = "UPDATE refunds SET reference = ? WHERE conversion_id = ?"
        self.tx.run(statement, mark.reference, entry.conversion.id)
        key = self._key_of(_bare(mark.reference), mark.source)
        self.snapshot.new_keys[key] = entry.conversion
        self.tx.run("INSERT INTO dedupe_keys (key, conversion_id) VALUES (?, ?)", key, entry.conversion.id)
        deliveries = self.sent.of(entry.conversion.id).values()
        if all(delivery.is_unsent for delivery in deliveries):
            entry.conversion.dedupe_key = key
            entry.conversion.facts["refund"]["id"] = _bare(mark.reference)
            self.tx.update(tables.conversions, [conversion_row(entry.conversion)])
            statement = "UPDATE deliveries SET dedupe_key = ? WHERE conversion_id = ?"
            self.tx.run(statement, key, entry.conversion.id)

    def _key_of(self, name: str, source: str | None = None) -> str:
        """`refund:<source>:<name>`, unless that is taken, as by an earlier refund of the same id."""
        scope = self.sale.dedupe_key.split(":")[2:-1]
        account = f"{scope[0]}:" if scope and scope[0].startswith("acct_") else ""
        key = first = f"refund:{source or self.sale.source}:{account}{name}"
        number = 1
        while self.snapshot.is_taken(key):
            number += 1
            key = f"{first}:{number}"
        return key

    def _make(
        self, reference: str, minor: int, name: str, source: str | None = None, moment: int | None = None
    ) -> None:
        now, key = self.snapshot.now, self._key_of(name, source)
        refund = {"id": name.removesuffix(":restored"), "minor": abs(minor), "is_restored": minor < 0}
        facts = {
            **{name: self.sale.facts.get(name) for name in ("click_id", "email", "name", "phone", "sale")},
            **({"clicks": self.sale.facts["clicks"]} if "clicks" in self.sale.facts else {}),
            "lead": None,
            "refund": refund,
        }
        conversion = Conversion(
            id=self.snapshot.next_id(),
            state="counted",
            kind="refund",
            source=self.sale.source,
            dedupe_key=key,
            hold="none",
            event_id=self.event_of.get(reference) or self.sale.event_id,
            person=self.sale.person,
            occurred_at=moment or now,
            created_at=now,
            facts=facts,
            deliver_at=now,
        )
        self.snapshot.conversions[conversion.id] = conversion
        row = {
            "conversion_id": conversion.id,
            "sale_id": self.sale.id,
            "reference": reference,
            "minor": minor,
            "is_dropped": 0,
        }
        self.tx.insert_all(
            [
                Rows(tables.conversions, [conversion_row(conversion)]),
                Rows(tables.dedupe_keys, [{"key": key, "conversion_id": conversion.id}]),
                Rows(tables.refunds, [row]),
            ]
        )
        self.snapshot.new_keys[key] = conversion
        self.all.append(Entry(conversion, reference, minor, False))


def _is_sum(reference: str) -> bool:
    return reference.endswith(SUM)


def _bare(reference: str) -> str:
    """The provider's own id, without what marks set it apart with."""
    numbered = reference.removeprefix("refund_")
    return numbered if numbered.isdigit() else reference.removesuffix(SUM)
