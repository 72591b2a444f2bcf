"""Where each value of a result comes from: a field of the body, all of it, the time of receipt, the configuration, or a default."""

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from app.intake.playground.probes import Probe, plain
from app.times import read_since

From = Literal["field", "body", "received", "constant", "default", "earlier event"]
Values = dict[str, Any]
MOST_FIELDS = 5
WHOLE_BODY = 0.6
SHORTEST = 3
FEWEST = 3
"""So many fields, and so large a share of all, must each change a value that is computed from the whole body."""
SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Origin:
    """by: where it comes from. fields: the paths of the fields, or the name of the setting."""

    by: From
    fields: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {"from": self.by, "fields": list(self.fields)} if self.fields else {"from": self.by}


def flat(value: Any, path: str = "") -> Values:
    """The scalars in a value, by path: {"metadata.source": "tally", "products[0].id": "p1"}."""
    if isinstance(value, dict):
        below = [flat(inner, f"{path}.{key}" if path else str(key)) for key, inner in value.items()]
    elif isinstance(value, list | tuple):
        below = [flat(inner, f"{path}[{index}]") for index, inner in enumerate(value)]
    else:
        return {path: value}
    return {name: scalar for part in below for name, scalar in part.items()}


def origins(
    base: Values,
    probes: Sequence[Probe],
    render: Callable[[Probe], Values],
    *,
    tried: int,
    deciding: Sequence[tuple[str, str]],
    received_later: Values,
    constants: Mapping[str, Any],
    seconds: float = SECONDS,
) -> dict[str, Origin]:
    """The origin of each value of `base`. render: the values with one field changed. received_later: those of the same body, had it
    come at another time. constants: what the configuration fixes, by the name of its setting."""
    until = time.thread_time() + seconds
    changed: dict[str, list[tuple[Probe, bool]]] = defaultdict(list)
    lost: dict[str, list[str]] = defaultdict(list)
    for probe in probes:
        if time.thread_time() > until:
            break
        values = render(probe)
        for name, value in base.items():
            if name not in values:
                if related(probe.old, value):
                    lost[name].append(probe.path)
            elif values[name] != value:
                changed[name].append((probe, related(probe.new, values[name])))
    for path, old in deciding:  # no other value of it leaves a result to compare: its own text shows where it went
        for name, value in base.items():
            if len(old) >= SHORTEST and old == plain(value):
                lost[name].append(path)
    return {
        name: _origin(value, changed[name], lost[name], tried)
        or _not_of_the_body(name, value, received_later, constants)
        for name, value in base.items()
    }


def _origin(value: Any, changed: Sequence[tuple[Probe, bool]], lost: Sequence[str], tried: int) -> Origin | None:
    sources = [probe.path for probe, is_related in changed if is_related]
    if sources:
        return Origin("field", tuple(sources[:MOST_FIELDS]))
    if len(changed) >= max(FEWEST, tried * WHOLE_BODY):
        return Origin("body")
    if changed:
        return Origin("field", tuple(probe.path for probe, _ in changed[:MOST_FIELDS]))
    return Origin("field", tuple(lost[:MOST_FIELDS])) if lost else None


def _not_of_the_body(name: str, value: Any, received_later: Values, constants: Mapping[str, Any]) -> Origin:
    if name in received_later and received_later[name] != value:
        return Origin("received")
    setting = next((setting for setting, fixed in constants.items() if fixed == value), None)
    return Origin("constant", (setting,)) if setting else Origin("default")


def related(text: str, value: Any) -> bool:
    """Whether a field's text (as `plain` writes it) can be seen in a value: as it is, or as the time that it stands for."""
    if not text:
        return False
    shown = plain(value)
    if text in shown or (shown and shown in text):
        return True
    moment = _epoch(value)
    return bool(moment) and (moment.startswith(text) or text.startswith(moment[:10]))


def _epoch(value: Any) -> str:
    """Milliseconds since 1970 of an ISO time; "" for all else."""
    if not isinstance(value, str) or "T" not in value or not value[:4].isdigit():
        return ""
    try:
        return str(read_since(value))
    except (ValueError, OverflowError):
        return ""
