"""Every conversion that the sources' own examples and fixtures become, at the present time."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from app.errors import MalformedEvent
from app.intake.dry_run import facts_of
from app.model import Facts, Inbound, Rules
from app.sources.catalog import SOURCES, content_type_of, example, has_example

SOURCE_FILES = Path(__file__).parents[2] / "app" / "sources"
RULES = Rules(accept_test_events=True)


@cache
def conversions() -> dict[str, Facts]:
    """By the name of the source and of the file."""
    now, found = datetime.now(UTC), {}
    for where, source, inbound in _bodies():
        try:
            mapped = SOURCES[source].map(inbound, RULES)
        except MalformedEvent:
            continue
        facts = facts_of(mapped, now, RULES, source) if mapped.outcome in ("sale", "lead") else None
        if facts is not None:
            found[where] = replace(facts, occurred_at=now)
    return found


def _bodies() -> Iterator[tuple[str, str, Inbound]]:
    for name in SOURCES:
        if has_example(name):
            body, content_type = example(name)
            yield f"{name}/example", name, Inbound(body, {"content-type": content_type})
        for path in sorted(SOURCE_FILES.glob(f"{name}/fixtures/*")):
            if path.name.endswith((".json", ".txt")) and ".expected." not in path.name:
                body = path.read_bytes()
                kind = content_type_of(path.name, body)
                yield f"{name}/{path.name}", name, Inbound(body, {"content-type": kind})
