"""Who changes something through the API, as the audit log names them."""

from app.web.auth import bearer


def actor() -> str:
    """ "api" for API_TOKEN, else the user and their token."""
    token = bearer()
    return token.actor if token else "api"
