"""The keys under which the purchase or submission of an event is counted once, and those by which it may be found."""

from collections.abc import Iterable

from app.ledger.recording.arrival import Arrival
from app.model import dedupe_key, fact_key

LENGTH_OF_A_BEGINNING = 25
"""Of an id that is known cut off: so many characters are the same in it and in the whole one."""
BEGINS = "begins:"
"""Before a key that is known by its beginning: the event that names it whole may come later."""


class Keys:
    """Of one event."""

    def __init__(self, arrival: Arrival, *, is_sqlite: bool) -> None:
        mapped = arrival.mapped
        self._arrival = arrival
        self.own = [*self._full(mapped.keys), *(f"{mapped.kind}:{key}" for key in mapped.gateway_keys)]
        self.loose = self._full(mapped.weak_keys)
        self.prefixes = self._full(mapped.key_prefixes)
        self.cut_off = [BEGINS + key for key in self.prefixes] if mapped.outcome != "sale" else []
        """Two payments that are counted by themselves stay two, whatever invoice they are of."""
        cut = [text for key in mapped.truncatable_keys for text in (key[:LENGTH_OF_A_BEGINNING], key)]
        self.named_before = [BEGINS + key for key in self._full(dict.fromkeys(cut))]
        """Under which an earlier event knows this purchase that could only say how the id begins."""
        self.known_by = [*self.own, *self.cut_off, *self.named_before]
        self.facts = [fact_key(arrival.source, mapped, key) for key in mapped.keys if key not in mapped.weak_keys]
        self.facts += mapped.gateway_keys
        self.beginnings = [] if is_sqlite else self._beginnings()
        """Of keys that other events may know cut off, and of those that this one does. SQLite has one writer anyway."""

    def _full(self, keys: Iterable[str]) -> list[str]:
        return [dedupe_key(self._arrival.source, self._arrival.mapped, key) for key in keys]

    def _beginnings(self) -> list[str]:
        mapped = self._arrival.mapped
        if not mapped.links_keys and not mapped.key_prefixes and mapped.outcome != "sale":
            return []
        cut = [key[:LENGTH_OF_A_BEGINNING] for key in (*mapped.keys, *mapped.key_prefixes)]
        return [f"begins={key}" for key in self._full(dict.fromkeys(cut))]
