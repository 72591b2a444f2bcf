"""What is kept of refused requests beside their counts: nothing of it is an event, a delivery or a person."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text, UniqueConstraint

from app.ledger.tables.base import ID, metadata

refused_minutes = Table(
    "refused_minutes",
    metadata,
    Column("minute", BigInteger, primary_key=True, autoincrement=False),
    Column("source", String, primary_key=True),
    Column("reason", String, primary_key=True),
    Column("count", BigInteger, nullable=False),
)
"""The counts of `refusals` for the last hours, by the minute (its beginning)."""

last_refusals = Table(
    "last_refusals",
    metadata,
    Column("topic", String, primary_key=True),
    Column("source", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("detail", Text, nullable=False),
)
"""What was wrong with the last request of each source and reason ("typeform:wrong"). detail: JSON, see inbound.details."""

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("source", String, nullable=False),
    Column("received_at", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("count", Integer, nullable=False, server_default="1"),
    Column("client", String, nullable=False),
    Column("reason", Text, nullable=False),
    Column("problem", Text),
    Column("size", Integer, nullable=False),
    Column("digest", String, nullable=False),
    Column("body_digest", String, nullable=False),
    Column("with_token", Integer, nullable=False, server_default="0"),
    Column("path", Text),
    Column("sealed", Text),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("source", "digest"),
    Index("ix_quarantine_body", "source", "body_digest"),
    Index("ix_quarantine_client", "source", "client", "size"),
    Index("ix_quarantine_received", "received_at"),
)
"""Requests refused for their signature, in case the secret here was wrong. received_at: by the clock that judged the signature's
age. client: the network it came from. digest: of body and headers; body_digest: of the body. with_token: its URL had a right
token, which is not kept. path: of the URL, where the source signs that, with {token} for the token. sealed: JSON, keyed digests
of credentials that were taken out of headers and body. problem: why it was refused when it was verified again."""
