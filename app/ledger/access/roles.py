"""Roles of users and API tokens."""

from typing import Literal, get_args

from app.errors import AccessError

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what those before it may. viewer: read, with email addresses masked; operator: act; admin: manage users too."""


def role_named(text: str) -> Role:
    """The role of that name. Raises AccessError if there is none."""
    if text not in ROLES:
        raise AccessError(f"a role is one of {', '.join(ROLES)}")
    return text


def lower_of(first: Role, second: Role) -> Role:
    """The role with fewer permissions."""
    return min(first, second, key=ROLES.index)


def may(role: str | None, required: Role) -> bool:
    """Whether `role` includes the permissions of `required`."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(required)
