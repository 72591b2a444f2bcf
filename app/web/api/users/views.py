"""Users: adding, changing and removing them, and their API tokens, which are made on pages and by the command line alone."""

from typing import Annotated

from app.ledger.access.passwords import LONGEST, SHORTEST, chosen_or_generated
from app.ledger.access.roles import ROLES, Role
from app.ledger.access.tokens import revoke_token, tokens_of
from app.ledger.access.users import (
    LONGEST_NAME,
    add_user,
    all_users,
    disable_user,
    enable_user,
    end_sessions,
    remove_user,
    set_password,
    set_role,
    user_of,
)
from app.ledger.engine import look
from app.times import iso
from app.web.api.actor import actor, by
from app.web.api.routes import Routes
from app.web.api.users.schemas import (
    Done,
    Me,
    NamedUser,
    NamedUsers,
    Token,
    Tokens,
    UserWithPassword,
    user_answer,
)
from app.web.auth import bearer
from app.web.params import OneOf, Pattern, Request
from app.web.services import Parts

ROUTES = Routes()
UserName = Annotated[
    str,
    Pattern(
        rf"[^\x00-\x1f()<>]{{1,{LONGEST_NAME}}}",
        f"must have 1 to {LONGEST_NAME} letters, digits, spaces and . _ @ + ' -",
    ),
]
NewPassword = Annotated[
    str, Pattern(rf"[\s\S]{{{SHORTEST},{LONGEST}}}", f"must have {SHORTEST} to {LONGEST} characters")
]
WantedRole = Annotated[Role, OneOf(ROLES)]


class NewUser(Request):
    name: UserName
    role: WantedRole
    password: NewPassword | None = None


class ChangedRole(Request):
    role: WantedRole


class ChangedPassword(Request):
    password: NewPassword | None = None


@ROUTES.get("/me")
def me(parts: Parts) -> Me:
    """Get the user of this token, and its role."""
    token = bearer()
    if token is None:
        return Me(name="api", role="admin", token=None, expires_at=None)
    return Me(name=token.user.name, role=token.role, token=token.token.label, expires_at=iso(token.token.expires_at))


@ROUTES.get("/users", role="admin")
def users(parts: Parts) -> NamedUsers:
    """List the named users."""
    with look(parts.ledger) as tx:
        listed = all_users(tx)
    return NamedUsers(users=[user_answer(user) for user in listed])


@ROUTES.post("/users", 409, role="admin")
def add_named_user(parts: Parts, body: NewUser) -> UserWithPassword:
    """Add a user. Without a password, one is generated."""
    password, generated = chosen_or_generated(body.password)
    user = add_user(parts.ledger, parts.passwords, body.name, body.role, password, actor=actor())
    return UserWithPassword(user=user_answer(user), password=generated)


@ROUTES.get("/users/<int:user_id>", role="admin")
def user(parts: Parts, user_id: int) -> NamedUser:
    """Get one user."""
    with look(parts.ledger) as tx:
        return user_answer(user_of(tx, user_id))


@ROUTES.post("/users/<int:user_id>/role", 409, role="admin")
def change_role(parts: Parts, user_id: int, body: ChangedRole) -> NamedUser:
    """Give a user another role, which ends their sessions."""
    return user_answer(set_role(parts.ledger, user_id, body.role, actor=actor(), by=by()))


@ROUTES.post("/users/<int:user_id>/password", 409, role="admin")
def change_password(parts: Parts, user_id: int, body: ChangedPassword | None) -> UserWithPassword:
    """Set another password, which ends the sessions. Without one, it is generated."""
    password, generated = chosen_or_generated(body.password if body else None)
    changed = set_password(parts.ledger, parts.passwords, user_id, password, actor=actor(), by=by())
    return UserWithPassword(user=user_answer(changed), password=generated)


@ROUTES.post("/users/<int:user_id>/end-sessions", role="admin")
def end_user_sessions(parts: Parts, user_id: int) -> NamedUser:
    """End all sessions of a user."""
    return user_answer(end_sessions(parts.ledger, user_id, actor=actor()))


@ROUTES.post("/users/<int:user_id>/disable", 409, role="admin")
def disable(parts: Parts, user_id: int) -> NamedUser:
    """Disable a user: their sessions end, and their API tokens are refused."""
    return user_answer(disable_user(parts.ledger, user_id, actor=actor(), by=by()))


@ROUTES.post("/users/<int:user_id>/enable", role="admin")
def enable(parts: Parts, user_id: int) -> NamedUser:
    """Enable a disabled user again."""
    return user_answer(enable_user(parts.ledger, user_id, actor=actor()))


@ROUTES.get("/users/<int:user_id>/tokens", role="admin")
def user_tokens(parts: Parts, user_id: int) -> Tokens:
    """List the API tokens of a user."""
    with look(parts.ledger) as tx:
        user_of(tx, user_id)
        tokens = tokens_of(tx, user_id)
    return Tokens(tokens=[Token.model_validate(token.as_json()) for token in tokens])


@ROUTES.post("/tokens/<int:token_id>/revoke", role="admin")
def revoke(parts: Parts, token_id: int) -> Done:
    """Revoke an API token at once."""
    return Done(message=f"Revoked the token {revoke_token(parts.ledger, token_id, actor=actor()).label}.")


@ROUTES.post("/users/<int:user_id>/remove", 409, role="admin")
def remove(parts: Parts, user_id: int) -> Done:
    """Remove a user with their sessions and API tokens."""
    removed = remove_user(parts.ledger, user_id, actor=actor(), by=by())
    return Done(message=f"Removed {removed.name}.")
