"""The actor of a change made through the API, as the audit log names it."""

from app.web.auth import bearer


def actor() -> str:
    """ "api" for API_TOKEN, else the user and their token."""
    token = bearer()
    return token.actor if token else "api"


def by() -> int | None:
    """The ID of that user; None for API_TOKEN."""
    token = bearer()
    return token.user.id if token else None
