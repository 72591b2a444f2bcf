"""What people and programs may do."""

from typing import Literal, get_args

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each may do what those before it may. viewer: read, with email addresses masked; operator: act; admin: manage users too."""


def lower_of(one: Role, other: Role) -> Role:
    """The role that may do less."""
    return min(one, other, key=ROLES.index)


def may(role: str | None, wanted: Role) -> bool:
    """Whether `role` includes what `wanted` may do."""
    return role in ROLES and ROLES.index(role) >= ROLES.index(wanted)
