"""What was wrong with the last refused request of each source and reason."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from app.ledger.transaction import Tx


@dataclass(frozen=True, slots=True)
class Detail:
    """message: the reason as it was logged. client: the network that it came from, never a whole address. header: the header (or
    field) that carries the signature, "" where it is not known. skew_seconds: how much older than allowed times the signature is;
    negative for the future."""

    message: str
    client: str = ""
    header: str = ""
    has_header: bool | None = None  # noqa: V107 - read by the page
    skew_seconds: int | None = None
    size: int | None = None
    content_type: str = ""
    user_agent: str = ""  # noqa: V107 - read by the page


def topic_of(source: str, reason: str) -> str:
    return f"{source}:{reason}"


def keep_details(tx: Tx, details: Sequence[tuple[str, str, int, Detail]]) -> None:
    """Keeps the newest detail of each source and reason. details: source, reason, time (ms), detail."""
    rows = [
        (topic_of(source, reason), source, reason, refused_at, json.dumps(asdict(detail)))
        for source, reason, refused_at, detail in sorted(details, key=lambda entry: entry[:2])
    ]
    tx.run_many(
        "INSERT INTO last_refusals (topic, source, reason, at, detail) VALUES (?, ?, ?, ?, ?) ON CONFLICT (topic) DO UPDATE"
        " SET at = excluded.at, detail = excluded.detail WHERE excluded.at >= last_refusals.at",
        rows,
    )


def details(tx: Tx, topics: Iterable[str]) -> dict[str, Detail]:
    """By topic, as far as they are known."""
    condition, value = tx.among("topic", sorted(topics))
    rows = tx.run(f"SELECT topic, detail FROM last_refusals WHERE {condition}", value).all()
    return {topic: Detail(**json.loads(detail)) for topic, detail in rows}
