"""Users who sign in through an OpenID provider. The provider decides who they are and, by groups, what they may do."""

from app.errors import AccessError
from app.ledger.access.roles import Role
from app.ledger.access.users import (
    LONGEST_NAME,
    MARKS,
    RESERVED,
    User,
    find_by_id,
    find_user,
    insert_user,
    key_of,
    replace_session_key,
    user_of,
)
from app.ledger.audit import note
from app.ledger.engine import Ledger
from app.ledger.transaction import Tx
from app.text import storable

ACTOR = "bridge"
LONGEST_SUBJECT = 255
"""https://openid.net/specs/openid-connect-core-1_0.html#IDToken"""
MOST_NAMESAKES = 100


def sign_in_from(ledger: Ledger, issuer: str, subject: str, name: str, role: Role) -> User:
    """The user whom `issuer` knows as `subject`, added at their first sign-in, with the role that their groups have now.

    Another role ends their other sessions. name: the name of a new user. Raises AccessError if the user is disabled.
    """
    subject = storable(subject)
    if not 0 < len(subject) <= LONGEST_SUBJECT:
        raise AccessError("the provider named a user without an ID that can be kept")

    def work(tx: Tx) -> User:
        row = tx.run("SELECT id FROM users WHERE issuer = ? AND subject = ?", issuer, subject).first()
        user = find_by_id(tx, row[0]) if row else None
        if user is None:
            user = insert_user(tx, _free_name(tx, name), role, identity=(issuer, subject))
            note(tx, ACTOR, "add user", user.target, f"{role}, of {issuer}")
        elif user.is_disabled:
            raise AccessError(f"the user {user.name} is disabled: ask an admin to enable it")
        elif user.role != role:
            tx.run("UPDATE users SET role = ? WHERE id = ?", role, user.id)
            replace_session_key(tx, user.id)
            note(tx, ACTOR, "change role", user.target, f"{user.role} to {role}")
        tx.run("UPDATE users SET signed_in_at = ? WHERE id = ?", tx.now(), user.id)
        return user_of(tx, user.id)

    return ledger.transact(work)


def _free_name(tx: Tx, requested: str) -> str:
    """`requested` without characters that names may not have, and with a number if another user has that name."""
    kept = "".join(c if c.isalnum() or c in MARKS else " " for c in storable(requested))
    name = " ".join(kept.split())[:LONGEST_NAME].strip()
    if not any(c.isalnum() for c in name) or key_of(name) in RESERVED:
        name = "user"
    for number in range(1, MOST_NAMESAKES):
        ending = f" {number}" if number > 1 else ""
        candidate = name[: LONGEST_NAME - len(ending)].strip() + ending
        if find_user(tx, candidate) is None:
            return candidate
    raise AccessError(f"too many users are called {name}: remove some first")
