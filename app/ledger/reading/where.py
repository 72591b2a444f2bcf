"""WHERE clauses, put together condition by condition."""

from typing import Any, Self


class Where:
    """Conditions that must all hold. In a statement it is `WHERE {where}`, and its placeholders take `where.values`."""

    __slots__ = ("_conditions", "values")

    def __init__(self, condition: str | None = None, *values: Any) -> None:
        self._conditions: list[str] = []
        self.values: list[Any] = []
        if condition is not None:
            self.add(condition, *values)

    def add(self, condition: str, *values: Any) -> Self:
        self._conditions.append(condition)
        self.values += values
        return self

    def when(self, value: Any, condition: str) -> Self:
        """Adds a condition on `value`, unless that is None: it was not asked for."""
        return self if value is None else self.add(condition, value)

    def __str__(self) -> str:
        return " AND ".join(self._conditions) or "1 = 1"
