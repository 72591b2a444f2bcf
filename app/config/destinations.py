"""[destinations.<name>] in bridge.toml: who else is sent conversions, beside the one of DESTINATION_URL."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.config.setting_types import DestinationUrl, VariableName
from app.config.wording import what_is_wrong
from app.errors import ConfigurationError

NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
SANDBOX = "sandbox"
MAIN = "main"
"""The one of DESTINATION_URL."""


class DestinationTable(BaseModel):
    """One table. token_env names the environment variable that holds the bearer token; the token itself stays out of files.

    kinds and sources say which conversions it is sent; without them it is sent all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: DestinationUrl
    token_env: VariableName
    format: Literal["events", "track", "dub"] = "events"
    amount_unit: Literal["major", "minor"] = "major"
    concurrency: int = Field(32, ge=1, le=1000)
    rate: float | None = Field(None, gt=0, le=1_000_000)
    timeout: float = Field(10, gt=0, le=120)
    allow_private: bool = False
    kinds: tuple[Literal["sale", "lead"], ...] = Field(("sale", "lead"), min_length=1)
    sources: tuple[str, ...] | None = Field(None, min_length=1)


def read_tables(config: Mapping[str, Any], path: object, *, has_main: bool) -> dict[str, DestinationTable]:
    """The tables by name, in their order. Raises ConfigurationError that names file and key.

    has_main: DESTINATION_URL is set, so that no table may be called main.
    """
    tables = config.get("destinations", {})
    if not isinstance(tables, dict):
        raise ConfigurationError(f"{path}: destinations: must be tables, each [destinations.<name>]")
    found = {}
    for name, table in tables.items():
        if not NAME.fullmatch(name):
            raise ConfigurationError(
                f"{path}: destinations.{name}: a name is 1 to 40 of a-z, 0-9, - and _ and begins with a letter"
            )
        if name == SANDBOX or (name == MAIN and has_main):
            whose = "the bridge's own" if name == SANDBOX else "the one of DESTINATION_URL"
            raise ConfigurationError(f"{path}: destinations.{name}: that name is {whose}; choose another")
        try:
            found[name] = DestinationTable.model_validate(table)
        except ValidationError as error:
            wrong = what_is_wrong(error, DestinationTable, ("destinations", name))
            raise ConfigurationError(f"{path}: {wrong}") from None
    return found
