"""The refunds that stand for what is back of one Sale: table `refunds`, and the conversions of that kind."""

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
    """Those of one Sale, in their order. event_of: the events that reported its marks, by reference."""

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
        """What the refunds that stand come to."""
        return sum(entry.minor for entry in self.live)

    def take_back(self, wanted: Mapping[str, int], back: AbstractSet[str]) -> None:
        """Refunds whose money is not back after all: those not sent are dropped, the others are followed by one that restores."""
        for reference in self._references:
            if reference in self.known and reference not in back and not _is_sum(reference):
                self._undo(reference, self._stands_for(reference))
        surplus = self._surplus(wanted, back) - sum(max(0, m - self._stands_for(r)) for r, m in wanted.items())
        for reference in self._references:
            excess = min(surplus, self._stands_for(reference) - wanted.get(reference, 0))
            if reference in self.known and _is_sum(reference) and excess > 0:
                self._undo(reference, excess)
                surplus -= excess

    @property
    def _references(self) -> list[str]:
        return list(dict.fromkeys(entry.reference for entry in self.live))

    def _stands_for(self, reference: str) -> int:
        return sum(entry.minor for entry in self.live if entry.reference == reference)

    def _surplus(self, wanted: Mapping[str, int], back: AbstractSet[str]) -> int:
        """By how much refunds stand for more than their marks say: of a sum, whose single refunds turned up since; or because
        another source reported the same money."""
        known = [reference for reference in self._references if reference in self.known]
        loose = [reference for reference in known if _is_sum(reference) or reference in back]
        return sum(max(0, self._stands_for(reference) - wanted.get(reference, 0)) for reference in loose)

    def _undo(self, reference: str, minor: int) -> None:
        for entry in [one for one in reversed(self.live) if one.reference == reference and one.minor > 0]:
            if 0 < entry.minor <= minor and self._drop(entry):
                minor -= entry.minor
        if minor > 0:
            self._make(reference, -minor, f"{_bare(reference)}:restored")

    def _drop(self, entry: Entry) -> bool:
        """Drops one that was not sent anywhere."""
        deliveries, sales = self.sent.of(entry.conversion.id), self.sent.of(self.sale.id)
        if any(not (one.is_unsent or one.status == "discarded") for one in deliveries.values()):
            return False
        for name, one in deliveries.items():
            self.sent.discard(one, TAKEN_BACK)
            if one.last_error == LOWERED and name in sales and sales[name].is_unsent:  # which is raised again
                self.tx.run("UPDATE deliveries SET last_error = ? WHERE id = ?", TAKEN_BACK, one.id)
                one.last_error = TAKEN_BACK
        entry.is_dropped = True
        self.tx.run("UPDATE refunds SET is_dropped = 1 WHERE conversion_id = ?", entry.conversion.id)
        return True

    def add(self, wanted: Sequence[Adjustment], back: AbstractSet[str]) -> None:
        """Refunds that nothing stands for yet. A single one takes the place of one that was known by a sum alone."""
        surplus = self._surplus({one.reference: one.minor for one in wanted}, back)
        for one in sorted(wanted, key=lambda one: (one.summed is not None, one.at, one.reference)):
            lacks = max(0, one.minor - self._stands_for(one.reference))
            if lacks and one.summed is None and (entry := self._anonymous(one, lacks)) is not None:
                self._rename(entry, one)
                surplus -= lacks
                continue
            covered = min(max(surplus, 0), lacks)
            surplus -= covered
            amount = min(lacks - covered, self.minor - self.refunded)
            if amount > 0:
                name = _bare(one.reference) if one.summed is None else f"{one.summed}:{one.total}"
                self._make(one.reference, amount, name, one.source, one.at)

    def _anonymous(self, one: Adjustment, minor: int) -> Entry | None:
        """The refund of a sum that turns out to be this one."""
        for entry in self.live:
            payment = _bare(entry.reference)
            if _is_sum(entry.reference) and entry.minor == minor and any(k.endswith(f":{payment}") for k in one.keys):
                return entry
        return None

    def _rename(self, entry: Entry, one: Adjustment) -> None:
        entry.reference = one.reference
        statement = "UPDATE refunds SET reference = ? WHERE conversion_id = ?"
        self.tx.run(statement, one.reference, entry.conversion.id)
        key = self._key_of(_bare(one.reference), one.source)
        self.snapshot.new_keys[key] = entry.conversion
        self.tx.run("INSERT INTO dedupe_keys (key, conversion_id) VALUES (?, ?)", key, entry.conversion.id)
        deliveries = self.sent.of(entry.conversion.id).values()
        if all(delivery.is_unsent for delivery in deliveries):
            entry.conversion.dedupe_key = key
            entry.conversion.facts["refund"]["id"] = _bare(one.reference)
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

    def _make(self, reference: str, minor: int, name: str, source: str | None = None, at: int | None = None) -> None:
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
            occurred_at=at or now,
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
