"""A source of your own, put together from its table."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.errors import ConfigurationError
from app.sources.base import Source, Vector
from app.sources.custom.mapping import read
from app.sources.custom.plan import Plan, read_plan
from app.sources.custom.tables import SourceTable, checked, scheme_in
from app.sources.handshake import WOOCOMMERCE, woocommerce_ping
from app.sources.set_up import SetUp
from app.sources.signatures import HmacScheme, StaticSecret
from app.sources.webhook import Scheme, Webhook


def build(name: str, table: Mapping[str, Any]) -> Source:
    """The source that [sources.<name>] describes. Raises ConfigurationError naming the key that is wrong."""
    location = f"sources.{name}"
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{location}: must be a table")
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name):
        raise ConfigurationError(
            f"{location}: a source's name is 1 to 40 of a-z, 0-9 and _ and begins with a letter: it names a URL and a variable"
        )
    read_table = checked(SourceTable, table, location)
    return _put_together(read_plan(name, read_table, location), read_table, location)


def build_shipped(name: str, text: str) -> Source:
    """The source of a folder that holds a source.toml: the table of bridge.toml, its vectors, and its [set_up]."""
    content = tomllib.loads(text)
    vectors = [Vector(**{**vector, "body": vector["body"].encode()}) for vector in content.pop("vectors", [])]
    known = SetUp(**content.pop("set_up", {"is_secret_chosen": True}))
    table = checked(SourceTable, content, "source.toml")
    plan = replace(read_plan(name, table, "source.toml"), is_shipped=True)
    return replace(_put_together(plan, table, "source.toml"), vectors=vectors, pings=None, set_up=known)


def _put_together(plan: Plan, table: SourceTable, location: str) -> Webhook:
    signature = scheme_in(table.signature, location)
    return Webhook(
        plan.name,
        table.title or plan.name,
        signature,
        lambda inbound, rules: read(plan, inbound, rules),
        set_up=SetUp(
            is_secret_chosen=True,
            secret_form=_secret_form(signature),
            marks_tests="test" in table.model_fields_set or "test" in table.fields,
        ),
        looked_for=plan.looked_for,
        pings=woocommerce_ping if signature is None or signature.header.casefold() == WOOCOMMERCE else None,
    )


def _secret_form(scheme: Scheme | None) -> str:
    """How a generated secret must be written for it, of {secret} and {base64}."""
    if isinstance(scheme, StaticSecret) and scheme.form == "basic":
        return "bridge:{secret}"
    is_base64 = isinstance(scheme, HmacScheme) and scheme.secret_encoding == "whsec"  # noqa: S105 (of an encoding)
    return "whsec_{base64}" if is_base64 else "{secret}"
