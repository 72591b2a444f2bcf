"""Two readings of the same events side by side: what stays, and what becomes something else, in groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.intake.playground.origins import flat

MOST_EXAMPLES = 5
MOST_GROUPS = 50
COMPARED = ("dedupe_keys", "payload")


@dataclass(frozen=True, slots=True)
class Case:
    """One event, with its lines (see dry_run.line_of) under both mappings."""

    event: int
    before: dict[str, Any]
    after: dict[str, Any]


def compare(cases: Sequence[Case]) -> dict[str, Any]:
    """compared and unchanged (counts), and groups, the largest first: {before, after (outcomes), count, fields (paths of the values
    that differ), examples: {event, reason_before, reason_after, values: {name, before, after}}}."""
    groups: dict[tuple[str, str, tuple[str, ...]], list[tuple[Case, list[dict[str, Any]]]]] = {}
    unchanged = 0
    for case in cases:
        values = _differences(case)
        before, after = str(case.before["outcome"]), str(case.after["outcome"])
        if before == after and not values and case.before["reason"] == case.after["reason"]:
            unchanged += 1
            continue
        names = tuple(value["name"] for value in values) if before == after else ()
        groups.setdefault((before, after, names), []).append((case, values))
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return {
        "compared": len(cases),
        "unchanged": unchanged,
        "groups": [
            {
                "before": before,
                "after": after,
                "count": len(members),
                "fields": list(names),
                "examples": [_example(case, values) for case, values in members[:MOST_EXAMPLES]],
            }
            for (before, after, names), members in ordered[:MOST_GROUPS]
        ],
        "more_groups": max(0, len(ordered) - MOST_GROUPS),
    }


def _differences(case: Case) -> list[dict[str, Any]]:
    before, after = ({name: line[name] for name in COMPARED} for line in (case.before, case.after))
    old, new = flat(before), flat(after)
    names = list(dict.fromkeys([*old, *new]))
    return [
        {"name": name, "before": old.get(name), "after": new.get(name)}
        for name in names
        if old.get(name) != new.get(name)
    ]


def _example(case: Case, values: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "event": case.event,
        "reason_before": case.before["reason"],
        "reason_after": case.after["reason"],
        "values": values,
    }
