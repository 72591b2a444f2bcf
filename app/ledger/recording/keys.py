"""The dedupe keys of an event's purchase or submission, and the keys it may be found by."""

from collections.abc import Iterable

from app.ledger.recording.arrival import Arrival
from app.model import fact_key

LENGTH_OF_A_BEGINNING = 25
"""How many characters of a truncated ID must match the full one."""
BEGINS = "begins:"
"""Prefix for a truncated key. The event with the full key may arrive later."""


def numbered(numbers: Iterable[tuple[str, str | None]]) -> list[str]:
    """Numbers with their series: order=5."""
    return [f"{series}={number}" for series, number in numbers if number]


class Keys:
    """The keys of one event."""

    def __init__(self, arrival: Arrival, *, is_sqlite: bool) -> None:
        mapped = arrival.mapped
        self._mapped = mapped
        scope = fact_key(arrival.source, mapped, "")
        self._prefix = f"{mapped.kind}:{scope}"
        """Of each dedupe key (app.model.dedupe_key)."""
        self.own = self._full(mapped.keys)
        self.facts = [scope + key for key in mapped.keys if key not in mapped.weak_keys]
        self.bare_numbers: list[str] = []
        """Those of `own` that are numbers, and may be numbers of another series."""
        if mapped.numbers:
            self.bare_numbers = self._full(number for _, number in mapped.numbers)
            self.own += self.numbered_as(mapped.numbers)
            self.facts += [scope + key for key in numbered(mapped.numbers)]
        if mapped.gateway_keys:
            self.own += [f"{mapped.kind}:{key}" for key in mapped.gateway_keys]
            self.facts += mapped.gateway_keys
        self.loose = self._full(mapped.weak_keys) if mapped.weak_keys else []
        self.prefixes = self._full(mapped.key_prefixes) if mapped.key_prefixes else []
        self.cut_off = [BEGINS + key for key in self.prefixes] if self.prefixes and mapped.outcome != "sale" else []
        """Keys that do not join two payments counted separately, even for the same invoice."""
        self.named_before = self._named_before() if mapped.truncatable_keys else []
        """Keys under which an earlier event with a truncated ID recorded this purchase."""
        self.known_by = [*self.own, *self.cut_off, *self.named_before]
        self.beginnings = [] if is_sqlite else self._beginnings()
        """Beginnings to lock: of keys that other events may have truncated, and of this event's own truncated ones. SQLite
        needs none: it has one writer."""

    def numbered_as(self, numbers: Iterable[tuple[str, str | None]]) -> list[str]:
        """Keys of numbers that name their series: sale:shop:order=5."""
        return self._full(numbered(numbers))

    def _named_before(self) -> list[str]:
        cut = [text for key in self._mapped.truncatable_keys for text in (key[:LENGTH_OF_A_BEGINNING], key)]
        return [BEGINS + key for key in self._full(dict.fromkeys(cut))]

    def _full(self, keys: Iterable[str]) -> list[str]:
        prefix = self._prefix
        return [prefix + key for key in keys]

    def _beginnings(self) -> list[str]:
        mapped = self._mapped
        if not mapped.links_keys and not mapped.key_prefixes and mapped.outcome != "sale":
            return []
        cut = [key[:LENGTH_OF_A_BEGINNING] for key in (*mapped.keys, *mapped.key_prefixes)]
        return [f"begins={key}" for key in self._full(dict.fromkeys(cut))]
