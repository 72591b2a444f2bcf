"""The mark of a test that an operator sends on purpose: it lets one test event through and shows at the destination.

It is signed with the secret (or token) of the source, so that only somebody who could send a real event can set it.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace

from app.model import Mapped, Rules

HEADER = "bridge-test"
METADATA = {"test": True}


def mark_of(body: bytes, secret: str) -> dict[str, str]:
    """The header that marks `body`, as it is posted, as a test."""
    return {HEADER: hmac.digest(secret.encode(), HEADER.encode() + b"\n" + body, hashlib.sha256).hex()}


def is_marked(headers: Mapping[str, str], body: bytes, secrets: Sequence[str]) -> bool:
    """Whether a request carries the mark, made with one of `secrets`."""
    presented = headers.get(HEADER, "").encode("utf-8", "backslashreplace")
    return bool(presented) and any(
        hmac.compare_digest(presented, mark_of(body, secret)[HEADER].encode()) for secret in secrets
    )


def accepting(rules: Rules, source: str) -> Rules:
    """`rules` under which this one event counts although it is a test."""
    return replace(rules, test_events={**rules.test_events, source: True})


def as_test(mapped: Mapped) -> Mapped:
    """What a marked event means: the same conversion, which says that it is a test."""
    sale = mapped.sale and replace(mapped.sale, metadata={**mapped.sale.metadata, **METADATA})
    lead = mapped.lead and replace(mapped.lead, metadata={**mapped.lead.metadata, **METADATA})
    return replace(mapped, sale=sale, lead=lead, reason=f"test: {mapped.reason}")
