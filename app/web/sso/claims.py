"""Reads a user's identity from the claims of a provider. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.ledger.access.roles import ROLES, Role

NAMES = ("preferred_username", "email", "name", "nickname", "sub")
"""Where a name is taken from, best first."""
MOST_GROUPS = 10_000


@dataclass(frozen=True, slots=True)
class Identity:
    """A user as the provider knows them."""

    subject: str
    name: str
    groups: frozenset[str]

    def role(self, groups: Mapping[str, frozenset[str]]) -> Role | None:
        """The highest role of the user's groups; None if none of them has a role."""
        return next((role for role in reversed(ROLES) if self.groups & groups[role]), None)


def identity_of(claims: Mapping[str, Any], groups_claim: str) -> Identity:
    """claims: of a verified ID token, with those of userinfo."""
    texts = (claims.get(name) for name in NAMES)
    name = next(text for text in texts if isinstance(text, str) and text.strip())
    return Identity(str(claims["sub"]), name, _groups(claims, groups_claim))


def _groups(claims: Mapping[str, Any], path: str) -> frozenset[str]:
    """The groups in a claim, which may be a list or one text and may be nested: realm_access.roles."""
    value: Any = claims.get(path)
    if value is None:
        value = claims
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if path == "email" and claims.get("email_verified") is not True:
        return frozenset()  # an unverified address may be anyone's
    values = value if isinstance(value, list) else [value]
    return frozenset(group for group in values[:MOST_GROUPS] if isinstance(group, str))
