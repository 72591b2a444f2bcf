"""Roles of users and API tokens."""

from typing import Literal, get_args

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what those before it may. viewer: read, with email addresses masked; operator: act; admin: manage users too."""


def lower_of(first: Role, second: Role) -> Role:
    """The role with fewer permissions."""
    return min(first, second, key=ROLES.index)


def may(role: str | None, required: Role) -> bool:
    """Whether `role` includes the permissions of `required`."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(required)
