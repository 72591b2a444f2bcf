"""Money at stake: the sum of the Sales of some deliveries, by currency. Read only and bounded."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cachetools import TTLCache

from app.ledger.transaction import Tx
from app.money import Money, json_number

ADDED = 1000
"""The most deliveries whose money is added up, newest first: each takes two reads from anywhere in the ledger."""
LARGE, KEPT_SECONDS = 500, 15.0
"""Sums over so many deliveries are cached for that long."""
_SHOWN = 4
"""Currencies that a text names; more are counted."""
_SQLITE = """
  SELECT json_extract(c.facts, '$.sale.currency'),
    SUM(json_extract(c.facts, '$.sale.minor') - CASE WHEN json_extract(c.facts, '$.sale.is_net')
      THEN COALESCE(json_extract(c.facts, '$.sale.tax'), 0) ELSE 0 END), COUNT(*)
  FROM ({}) d CROSS JOIN conversions c ON c.id = d.conversion_id
  WHERE c.kind = 'sale' AND json_extract(c.facts, '$.sale.currency') IS NOT NULL GROUP BY 1"""
_POSTGRESQL = """
  SELECT s.sale->>'currency', SUM((s.sale->>'minor')::bigint - CASE WHEN (s.sale->>'is_net')::boolean
      THEN COALESCE((s.sale->>'tax')::bigint, 0) ELSE 0 END), COUNT(*)
  FROM ({}) d CROSS JOIN LATERAL (
    SELECT c.facts::json->'sale' AS sale FROM conversions c WHERE c.kind = 'sale' AND c.id = d.conversion_id OFFSET 0) s
  WHERE s.sale->>'currency' IS NOT NULL GROUP BY 1"""


_PARKED = {
    "$.sale": "$.unnamed.facts.sale",
    "json->'sale'": "json->'unnamed'->'facts'->'sale'",
    "c.kind = 'sale' AND ": "",
}
"""Where the Sale of a parked event stands: of one whose person is not known. Of others the amount is unknown."""


@dataclass(frozen=True, slots=True)
class Stake:
    """amounts: the sum of the Sales, the currency with most Sales first. is_capped: there are more than were added up."""

    amounts: Sequence[Money] = ()
    is_capped: bool = False

    def __bool__(self) -> bool:
        return bool(self.amounts)

    @property
    def text(self) -> str:
        """ "594.00 USD, 157.00 GBP"; "" where there is no Sale."""
        shown = [money.text for money in self.amounts[:_SHOWN]]
        more = len(self.amounts) - len(shown)
        if more:
            shown.append(f"{more} more {'currency' if more == 1 else 'currencies'}")
        return f"{'at least ' if self.is_capped and shown else ''}{', '.join(shown)}"

    def as_json(self) -> list[dict[str, Any]]:
        return [{"amount": json_number(money.major), "currency": money.currency} for money in self.amounts]


NOTHING = Stake()


def stake(tx: Tx, rows: str, *values: Any, is_capped: bool = False) -> Stake:
    """rows: a bounded SELECT of the conversion_id of deliveries. A conversion counts once, however many deliveries it has."""
    return stakes(tx, (), rows, *values, is_capped=is_capped).get((), NOTHING)


def stakes(
    tx: Tx, columns: Sequence[str], rows: str, *values: Any, is_capped: bool = False, is_parked: bool = False
) -> dict[tuple[Any, ...], Stake]:
    """Stakes by the values of these columns of `rows`. is_parked: `rows` are parked events."""
    named = "".join(f", {name}" for name in columns)
    once = f"SELECT DISTINCT conversion_id{named} FROM ({rows}) r"
    statement = (_SQLITE if tx.is_sqlite else _POSTGRESQL).format(once)
    for counted, parked in (_PARKED if is_parked else {}).items():
        statement = statement.replace(counted, parked)
    statement = statement.replace("COUNT(*)", f"COUNT(*){named}").replace("GROUP BY 1", f"GROUP BY 1{named}")
    by_key: dict[tuple[Any, ...], list[tuple[int, Money]]] = {}
    for currency, minor, count, *key in tx.run(statement, *values).all():
        by_key.setdefault(tuple(key), []).append((int(count), Money(int(minor), str(currency))))
    return {
        key: Stake(
            [
                money
                for _, money in sorted(
                    amounts, key=lambda counted_money: (-counted_money[0], counted_money[1].currency)
                )
            ],
            is_capped,
        )
        for key, amounts in by_key.items()
    }


def together(many: Sequence[Stake]) -> Stake:
    """The sum of several stakes."""
    sums: dict[str, int] = {}
    for money in (money for stake in many for money in stake.amounts):
        sums[money.currency] = sums.get(money.currency, 0) + money.minor
    return Stake([Money(minor, name) for name, minor in sums.items()], any(stake.is_capped for stake in many))


class Stakes:
    """Money at stake for a caller that asks often. Safe to share between threads.

    count: how many deliveries there are.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._sums: TTLCache[Any, Stake] = TTLCache(256, KEPT_SECONDS, clock)
        self._lock = threading.Lock()

    def of_status(self, tx: Tx, status: str, count: int) -> Stake:
        """The newest ADDED deliveries of that status."""
        rows = f"SELECT conversion_id FROM deliveries WHERE status = ? ORDER BY id DESC LIMIT {ADDED}"
        return self._sum(tx, rows, (status,), count)

    def of_parked(self, tx: Tx, count: int) -> Stake:
        """The newest ADDED parked events, as far as their amounts are known."""
        newest = f"SELECT conversion_id FROM events WHERE outcome = 'parked' ORDER BY id DESC LIMIT {ADDED}"
        rows = f"SELECT conversion_id FROM ({newest}) n WHERE conversion_id IS NOT NULL"
        return self._sum(tx, rows, (), count, is_parked=True)

    def of_waiting(self, tx: Tx, destination: str, count: int) -> Stake:
        """ADDED open deliveries to that destination."""
        rows = f"SELECT conversion_id FROM deliveries WHERE destination = ? AND due_at IS NOT NULL LIMIT {ADDED}"
        return self._sum(tx, rows, (destination,), count)

    def of_dead(self, tx: Tx, destination: str, since: int, count: int) -> Stake:
        """The newest ADDED deliveries to that destination that died since then (ms)."""
        rows = (
            "SELECT conversion_id FROM deliveries WHERE status = 'dead' AND destination = ? AND dead_at >= ?"
            f" ORDER BY dead_at DESC LIMIT {ADDED}"
        )
        return self._sum(tx, rows, (destination, since), count)

    def _sum(self, tx: Tx, rows: str, values: tuple[Any, ...], count: int, *, is_parked: bool = False) -> Stake:
        if not count:
            return NOTHING
        if count < LARGE:
            return stakes(tx, (), rows, *values, is_parked=is_parked).get((), NOTHING)
        key = (rows, *values[:1])
        with self._lock:
            total = self._sums.get(key)
        if total is None:
            sums = stakes(tx, (), rows, *values, is_capped=count > ADDED, is_parked=is_parked)
            total = sums.get((), NOTHING)
            with self._lock:
                self._sums[key] = total
        return total
