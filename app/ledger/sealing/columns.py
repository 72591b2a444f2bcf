"""Which columns are sealed, and how."""

import json
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any


class How(Enum):
    """WHOLE: the same value never looks the same twice. EQUAL: it always does, so that statements find it by itself, and by nothing
    less. FACTS: JSON of which the personal values are sealed, since statements add up the others."""

    WHOLE = "whole"
    EQUAL = "equal"
    FACTS = "facts"


SEALED: Mapping[str, Mapping[str, How]] = {
    "events": dict.fromkeys(("body", "headers"), How.WHOLE),
    "deliveries": {"payload": How.WHOLE},
    "attempts": dict.fromkeys(("answer_headers", "answer_body"), How.WHOLE),
    "quarantine": dict.fromkeys(("body", "headers"), How.WHOLE),
    "persons": dict.fromkeys(
        ("customer_id", "explicit_id", "provider_id", "email", "name", "phone", "clicks"), How.WHOLE
    )
    | dict.fromkeys(("click_first", "click_last"), How.EQUAL),
    "identifiers": {"value": How.EQUAL},
    "event_facts": {"value": How.EQUAL, "given": How.WHOLE},
    "conversions": {"facts": How.FACTS},
    "conflicts": {"reason": How.EQUAL},
    "fill_ins": {"value": How.WHOLE},
    "sandbox_requests": {"body": How.WHOLE},
}
"""The columns whose values are sealed, by table."""

PERSONAL = frozenset({"email", "name", "phone", "customer_id", "aliases", "click_id", "clicks", "metadata"})
"""Keys of the facts of a conversion whose values are sealed, wherever they stand."""


def personal_changed(text: str, change: Callable[[str], str]) -> str:
    """The facts of a conversion, with `change` made to each personal text in them."""
    facts = json.loads(text)
    return json.dumps(_changed(facts, change, within=False), ensure_ascii=False, separators=(",", ":"))


def _changed(value: Any, change: Callable[[str], str], *, within: bool) -> Any:
    if isinstance(value, dict):
        return {key: _changed(part, change, within=within or key in PERSONAL) for key, part in value.items()}
    if isinstance(value, list):
        return [_changed(part, change, within=within) for part in value]
    return change(value) if within and isinstance(value, str) else value
