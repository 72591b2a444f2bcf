"""Generates secrets for sources whose secret the operator chooses, in the form that the source takes. Nothing is stored."""

import base64
import secrets

from app.sources.base import Source
from app.sources.set_up import set_up_of


def generated_secret(source: Source) -> str | None:
    """A new signing secret, or a URL token for a source that does not sign; None if the provider generates the secret."""
    if not source.signed:
        return secrets.token_urlsafe(32)
    known = set_up_of(source)
    if not known.is_secret_chosen:
        return None
    return known.secret_form.format(
        secret=secrets.token_urlsafe(32), base64=base64.b64encode(secrets.token_bytes(24)).decode()
    )
