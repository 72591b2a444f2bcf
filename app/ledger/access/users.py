"""Named users: adding them, signing in, and ending their sessions. Each change is in the audit log."""

import secrets
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.errors import AccessError, UserNotFound
from app.ledger import tables
from app.ledger.access.passwords import Passwords
from app.ledger.access.roles import Role
from app.ledger.audit import note
from app.ledger.engine import Ledger
from app.ledger.tables import LARGEST_ID
from app.ledger.transaction import Tx
from app.times import iso

LONGEST_NAME = 40
MOST_USERS = 500
RESERVED = ("api", "bridge", "cli", "operator", "viewer")
"""The audit log has entries of these names that are not a user's."""
MARKS = " ._@+'-"
COLUMNS = "id, name, role, password, session_key, created_at, signed_in_at, disabled_at, issuer"


@dataclass(frozen=True, slots=True)
class User:
    """session_key: what their sessions carry. issuer: the OpenID provider through which they sign in. Times in ms."""

    id: int
    name: str
    role: Role
    has_password: bool
    session_key: str
    created_at: int
    signed_in_at: int | None
    disabled_at: int | None
    issuer: str | None

    @property
    def is_disabled(self) -> bool:
        return self.disabled_at is not None

    @property
    def target(self) -> str:
        """As the audit log names them."""
        return f"user {self.name}"

    def as_json(self) -> dict[str, Any]:
        """As the API and `--json` show it."""
        return {
            "id": self.id,
            "name": self.name,
            "role": self.role,
            "disabled": self.is_disabled,
            "issuer": self.issuer,
            "created_at": iso(self.created_at),
            "signed_in_at": iso(self.signed_in_at),
        }


def clean_name(text: str) -> str:
    """A name as it is kept: letters, digits and a few marks. Raises AccessError."""
    name = " ".join(unicodedata.normalize("NFKC", text.encode("utf-8", "replace").decode()).split())
    if not 0 < len(name) <= LONGEST_NAME:
        raise AccessError(f"a user name has 1 to {LONGEST_NAME} characters")
    wrong = next((c for c in name if not (unicodedata.category(c)[0] in "LNM" or c in MARKS)), None)
    if wrong is not None or not any(c.isalnum() for c in name):
        raise AccessError("a user name has letters, digits, spaces and . _ @ + ' -")
    if key_of(name) in RESERVED:
        raise AccessError(f"{name} is reserved for the audit log: choose another name")
    return name


def key_of(name: str) -> str:
    """The form of a name that all its spellings share."""
    return unicodedata.normalize("NFKC", " ".join(name.encode("utf-8", "replace").decode().split()).casefold())


def add_user(ledger: Ledger, passwords: Passwords, name: str, role: Role, password: str, *, actor: str) -> User:
    """Adds a user who signs in with a password. Raises AccessError if the name or the password cannot be accepted."""
    name = clean_name(name)
    hashed = passwords.hash(password, name)

    def work(tx: Tx) -> User:
        user = insert_user(tx, name, role, password=hashed)
        note(tx, actor, "add user", user.target, role)
        return user

    return ledger.transact(work)


def insert_user(
    tx: Tx, name: str, role: Role, *, password: str | None = None, identity: tuple[str, str] | None = None
) -> User:
    """identity: issuer and subject of a user without a password. Raises AccessError if the name is taken."""
    check_free(tx, name)
    if tx.run("SELECT COUNT(*) FROM users").scalar() >= MOST_USERS:
        raise AccessError(f"there are {MOST_USERS} users: remove some first")
    columns = ("name", "name_key", "role", "password", "session_key", "created_at", "issuer", "subject")
    row = (name, key_of(name), role, password, _fresh_key(), tx.now(), *(identity or (None, None)))
    tx.insert(tables.users, columns, [row])
    return user_named(tx, name)


def check_free(tx: Tx, name: str) -> None:
    """Raises AccessError if a user has that name."""
    if (existing := find_user(tx, name)) is not None:
        raise AccessError(f"there is a user {existing.name} already")


def all_users(tx: Tx) -> list[User]:
    """All users, ordered by name."""
    return [_user(row) for row in tx.run(f"SELECT {COLUMNS} FROM users ORDER BY name_key LIMIT ?", MOST_USERS)]


def has_users(tx: Tx) -> bool:
    return tx.run("SELECT 1 FROM users LIMIT 1").first() is not None


def find_user(tx: Tx, name: str) -> User | None:
    row = tx.run(f"SELECT {COLUMNS} FROM users WHERE name_key = ?", key_of(name).replace("\x00", "\ufffd")).first()
    return _user(row) if row else None


def user_named(tx: Tx, name: str) -> User:
    """Raises UserNotFound."""
    user = find_user(tx, name)
    if user is None:
        raise UserNotFound(name)
    return user


def find_by_id(tx: Tx, user_id: int) -> User | None:
    row = tx.run(f"SELECT {COLUMNS} FROM users WHERE id = ?", min(user_id, LARGEST_ID)).first()
    return _user(row) if row else None


def user_of(tx: Tx, user_id: int) -> User:
    """Raises UserNotFound."""
    user = find_by_id(tx, user_id)
    if user is None:
        raise UserNotFound(user_id)
    return user


def user_of_session(tx: Tx, user_id: int, session_key: str) -> User | None:
    """The user of a session; None if it was ended, or the user was disabled or removed."""
    row = tx.run(
        f"SELECT {COLUMNS} FROM users WHERE id = ? AND session_key = ? AND disabled_at IS NULL",
        min(user_id, LARGEST_ID),
        session_key,
    ).first()
    return _user(row) if row else None


def sign_in(ledger: Ledger, passwords: Passwords, name: str, password: str) -> User | None:
    """The user with this name and password; None otherwise. Takes the same time for an unknown or disabled user."""
    with ledger.read() as tx:
        user = find_user(tx, name)
        kept = None if user is None else tx.run("SELECT password FROM users WHERE id = ?", user.id).scalar()
    is_right = passwords.verify(kept, password)
    if user is None or kept is None or not is_right or user.is_disabled:
        return None
    changed = passwords.rehash(password) if passwords.is_outdated(kept) else kept

    def work(tx: Tx) -> None:
        tx.run("UPDATE users SET signed_in_at = ? WHERE id = ?", tx.now(), user.id)
        if changed != kept:
            tx.run("UPDATE users SET password = ? WHERE id = ? AND password = ?", changed, user.id, kept)

    ledger.transact(work)
    return user


def is_password_of(ledger: Ledger, passwords: Passwords, user_id: int, password: str) -> bool:
    """Whether this is the password of a user who is signed in."""
    with ledger.read() as tx:
        kept = tx.run("SELECT password FROM users WHERE id = ?", user_id).scalar()
    return passwords.verify(kept, password)


def set_password(
    ledger: Ledger, passwords: Passwords, user_id: int, password: str, *, actor: str, by: int | None = None
) -> User:
    """Sets another password, which ends the user's sessions; their API tokens stay. by: see set_role. Raises AccessError."""
    _check_not_own(user_id, by)
    with ledger.read() as tx:
        name = user_of(tx, user_id).name
    hashed = passwords.hash(password, name)

    def change(tx: Tx, user: User) -> str:
        if user.issuer is not None:
            raise AccessError(f"{user.name} signs in at {user.issuer}: change the password there")
        tx.run("UPDATE users SET password = ?, session_key = ? WHERE id = ?", hashed, _fresh_key(), user.id)
        return ""

    return _change(ledger, user_id, "set password", change, actor)


def set_role(ledger: Ledger, user_id: int, role: Role, *, actor: str, by: int | None = None) -> User:
    """Gives a user another role, which ends their sessions. Idempotent. Raises AccessError.

    by: the admin who asks, if that is a named user, so that nobody can lock themselves out.
    """
    _check_not_own(user_id, by)

    def change(tx: Tx, user: User) -> str | None:
        if user.issuer is not None:
            raise AccessError(f"the groups of {user.name} at {user.issuer} decide on the role: change them there")
        if user.role == role:
            return None
        tx.run("UPDATE users SET role = ?, session_key = ? WHERE id = ?", role, _fresh_key(), user.id)
        return f"{user.role} to {role}"

    return _change(ledger, user_id, "change role", change, actor)


def disable_user(ledger: Ledger, user_id: int, *, actor: str, by: int | None = None) -> User:
    """Ends a user's sessions and closes the login and their API tokens to them. Idempotent. by: see set_role. Raises
    AccessError."""
    _check_not_own(user_id, by)

    def change(tx: Tx, user: User) -> str | None:
        if user.is_disabled:
            return None
        tx.run("UPDATE users SET disabled_at = ?, session_key = ? WHERE id = ?", tx.now(), _fresh_key(), user.id)
        return ""

    return _change(ledger, user_id, "disable user", change, actor)


def enable_user(ledger: Ledger, user_id: int, *, actor: str) -> User:
    """Enables a disabled user. Idempotent. Raises UserNotFound."""

    def change(tx: Tx, user: User) -> str | None:
        if not user.is_disabled:
            return None
        tx.run("UPDATE users SET disabled_at = NULL WHERE id = ?", user.id)
        return ""

    return _change(ledger, user_id, "enable user", change, actor)


def end_sessions(ledger: Ledger, user_id: int, *, actor: str) -> User:
    """Ends all sessions of a user. Raises UserNotFound."""

    def change(tx: Tx, user: User) -> str:
        replace_session_key(tx, user.id)
        return ""

    return _change(ledger, user_id, "end sessions", change, actor)


def remove_user(ledger: Ledger, user_id: int, *, actor: str, by: int | None = None) -> User:
    """Removes a user with their sessions and API tokens; what they did stays in the audit log. by: see set_role. Raises
    AccessError."""
    _check_not_own(user_id, by)

    def work(tx: Tx) -> User:
        user = user_of(tx, user_id)
        tx.run("DELETE FROM api_tokens WHERE user_id = ?", user.id)
        tx.run("DELETE FROM users WHERE id = ?", user.id)
        note(tx, actor, "remove user", user.target)
        return user

    return ledger.transact(work)


def _check_not_own(user_id: int, by: int | None) -> None:
    """Raises AccessError."""
    if user_id == by:
        raise AccessError("this is your own account: ask another admin, or sign in with DASHBOARD_PASSWORD")


def _change(ledger: Ledger, user_id: int, action: str, change: Callable[[Tx, User], str | None], actor: str) -> User:
    """change: returns the detail for the audit log, or None if it changed nothing."""

    def work(tx: Tx) -> User:
        user = user_of(tx, user_id)
        detail = change(tx, user)
        if detail is not None:
            note(tx, actor, action, user.target, detail)
        return user_of(tx, user_id)

    return ledger.transact(work)


def replace_session_key(tx: Tx, user_id: int) -> None:
    """Ends the sessions of a user."""
    tx.run("UPDATE users SET session_key = ? WHERE id = ?", _fresh_key(), user_id)


def _fresh_key() -> str:
    return secrets.token_urlsafe(12)


def _user(row: Sequence[Any]) -> User:
    user_id, name, role, password, *rest = row
    return User(user_id, name, role, password is not None, *rest)
