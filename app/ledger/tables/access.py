"""Named users and their API tokens."""

from sqlalchemy import BigInteger, Column, Index, String, Table

from app.ledger.tables.base import ID, metadata

users = Table(
    "users",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("name", String, nullable=False),
    Column("name_key", String, nullable=False),
    Column("role", String, nullable=False),
    Column("password", String),
    Column("session_key", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("signed_in_at", BigInteger),
    Column("disabled_at", BigInteger),
    Column("issuer", String),
    Column("subject", String),
    Index("ix_users_name_key", "name_key", unique=True),
    Index("ix_users_subject", "issuer", "subject", unique=True),
)
"""password: an Argon2 hash; NULL: signs in through the OpenID provider `issuer`, which knows them as `subject`. session_key: a
random text that every session of theirs carries; another one ends those sessions."""

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("user_id", BigInteger, nullable=False),
    Column("label", String, nullable=False),
    Column("role", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("hint", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("used_at", BigInteger),
    Index("ix_api_tokens_digest", "digest", unique=True),
    Index("ix_api_tokens_user", "user_id"),
)
"""digest: SHA-256 of the token, in hexadecimal; hint: its last characters."""
