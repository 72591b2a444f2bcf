"""API tokens of named users. A token is random, so its SHA-256 is kept and no slow hash is needed.

It begins with `cb_` and ends with a checksum, so that scanners can recognize leaked tokens offline.
"""

import hashlib
import re
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from app.errors import AccessError, TokenNotFound
from app.ledger import tables
from app.ledger.access.roles import Role, lower_of
from app.ledger.access.users import User, find_by_id, user_of
from app.ledger.audit import note
from app.ledger.engine import Ledger
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx
from app.text import storable
from app.times import iso

PREFIX = "cb_"
ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM, CHECKSUM = 40, 6
SHAPE = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{RANDOM + CHECKSUM}}}")
HINT = 4
MOST_TOKENS = 50
LONGEST_LABEL = 40
MOST_DAYS = 3650
MOST_DAYS_OF_PROVIDER = 90
"""For users of an OpenID provider, whose groups are read when they sign in and not when a token is used."""
DAY_MS = 86_400_000
USE_NOTED_MS = 600_000
"""How old the last use may be before it is written again: reading is not to write."""
COLUMNS = "id, user_id, label, role, hint, created_at, expires_at, used_at"


@dataclass(frozen=True, slots=True)
class ApiToken:
    """hint: its last characters. Times in ms."""

    id: int
    user_id: int
    label: str
    role: Role
    hint: str
    created_at: int
    expires_at: int | None
    used_at: int | None

    def as_json(self) -> dict[str, Any]:
        """As the API and `--json` show it."""
        times = {name: iso(getattr(self, name)) for name in ("created_at", "expires_at", "used_at")}
        return asdict(self) | times


@dataclass(frozen=True, slots=True)
class Bearer:
    """The sender of an API request, and their role."""

    user: User
    token: ApiToken
    role: Role

    @property
    def actor(self) -> str:
        """As the audit log names them. No name of a user has a parenthesis."""
        return f"{self.user.name} (token {self.token.label})"


def make_token(
    ledger: Ledger, user_id: int, label: str, *, role: Role | None, days: int | None, actor: str
) -> tuple[ApiToken, str]:
    """A new token of a user, and its text, which is not stored.

    role: at most the user's, and theirs by default; days: how long it lasts, by default until it is revoked. Raises AccessError.
    """
    label = storable(" ".join(label.split()))
    if not 0 < len(label) <= LONGEST_LABEL or not label.isprintable():
        raise AccessError(
            f"name the token in 1 to {LONGEST_LABEL} printable characters, such as the program that uses it"
        )
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise AccessError(f"a token lasts 1 to {MOST_DAYS} days")
    text = _random_token()

    def work(tx: Tx) -> ApiToken:
        user = user_of(tx, user_id)
        if user.is_disabled:
            raise AccessError(f"{user.name} is disabled: enable the user first")
        its_role = user.role if role is None else role
        if lower_of(its_role, user.role) != its_role:
            raise AccessError(f"{user.name} has the role {user.role}: a token cannot have the role {its_role}")
        if tx.run("SELECT COUNT(*) FROM api_tokens WHERE user_id = ?", user_id).scalar() >= MOST_TOKENS:
            raise AccessError(f"{user.name} has {MOST_TOKENS} tokens: revoke some first")
        lasts, now = days, tx.now()
        if user.issuer is not None:
            lasts = min(days or MOST_DAYS_OF_PROVIDER, MOST_DAYS_OF_PROVIDER)
        expires = None if lasts is None else now + lasts * DAY_MS
        columns = ("user_id", "label", "role", "digest", "hint", "created_at", "expires_at")
        row = (user_id, label, its_role, _digest(text), text[-HINT:], now, expires)
        tx.insert(tables.api_tokens, columns, [row])
        note(tx, actor, "make token", user.target, f"{label}, {its_role}" + (f", {lasts} days" if lasts else ""))
        return _token(tx.run(f"SELECT {COLUMNS} FROM api_tokens WHERE digest = ?", _digest(text)).one())

    return ledger.transact(work), text


def tokens_of(tx: Tx, user_id: int) -> list[ApiToken]:
    """The tokens of one user, newest first."""
    rows = tx.run(f"SELECT {COLUMNS} FROM api_tokens WHERE user_id = ? ORDER BY id DESC", user_id)
    return [_token(row) for row in rows]


def revoke_token(ledger: Ledger, token_id: int, *, actor: str, user_id: int | None = None) -> ApiToken:
    """Ends a token at once. user_id: whose it must be. Raises TokenNotFound."""

    def work(tx: Tx) -> ApiToken:
        row = tx.run(f"SELECT {COLUMNS} FROM api_tokens WHERE id = ?", min(token_id, LARGEST_ID)).first()
        token = _token(row) if row else None
        if token is None or user_id not in (None, token.user_id):
            raise TokenNotFound(token_id)
        tx.run("DELETE FROM api_tokens WHERE id = ?", token.id)
        note(tx, actor, "revoke token", user_of(tx, token.user_id).target, token.label)
        return token

    return ledger.transact(work)


def bearer_of(ledger: Ledger, text: str) -> Bearer | None:
    """The owner of a token; None if it is wrong, revoked or expired, or its user is disabled. Records when it was used."""
    if not SHAPE.fullmatch(text) or text[-CHECKSUM:] != _checksum(text[:-CHECKSUM]):
        return None
    with ledger.read() as tx:
        row = tx.run(f"SELECT {COLUMNS} FROM api_tokens WHERE digest = ?", _digest(text)).first()
        if row is None:
            return None
        token, now = _token(row), tx.now()
        user = find_by_id(tx, token.user_id)
    if user is None or user.is_disabled or (token.expires_at is not None and token.expires_at <= now):
        return None
    if token.used_at is None or token.used_at <= now - USE_NOTED_MS:
        ledger.transact(lambda tx: tx.run("UPDATE api_tokens SET used_at = ? WHERE id = ?", now, token.id))
        token = replace(token, used_at=now)
    return Bearer(user, token, lower_of(token.role, user.role))


def is_token(text: str) -> bool:
    """Whether it looks like a token of a user."""
    return text.startswith(PREFIX)


def _random_token() -> str:
    body = PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM))
    return body + _checksum(body)


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM):
        number, rest = divmod(number, len(ALPHABET))
        digits = ALPHABET[rest] + digits
    return digits


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _token(row: Sequence[Any]) -> ApiToken:
    return ApiToken(*row)
