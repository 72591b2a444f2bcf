"""A source of your own, put together from its table."""

import re
from collections.abc import Mapping
from typing import Any

from app.errors import ConfigurationError
from app.sources.base import Source
from app.sources.custom.mapping import read
from app.sources.custom.plan import read_plan
from app.sources.custom.tables import scheme_in, text_in
from app.sources.handshake import WOOCOMMERCE, woocommerce_ping
from app.sources.webhook import Webhook


def build(name: str, table: Mapping[str, Any]) -> Source:
    """The source that [sources.<name>] describes. Raises ConfigurationError naming the key that is wrong."""
    at = f"sources.{name}"
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{at}: must be a table")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise ConfigurationError(
            f"{at}: a source's name is 1 to 40 of a-z, 0-9 and _ and begins with a letter: it names a URL and a variable"
        )
    plan, signature = read_plan(name, table, at), scheme_in(table, at)
    return Webhook(
        name,
        text_in(table, "title", at) or name,
        signature,
        lambda inbound, rules: read(plan, inbound, rules),
        pings=woocommerce_ping if signature is None or signature.header.casefold() == WOOCOMMERCE else None,
    )
