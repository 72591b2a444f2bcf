"""All sources that are known here: the built-in ones and those of bridge.toml."""

from collections.abc import Mapping
from typing import Any

from app.errors import ConfigurationError, UnknownSource
from app.sources.base import Source
from app.sources.custom import build
from app.sources.registry import SOURCES

LEAD_KEYS = frozenset({"lead_mode", "verified_by"})
"""What any source may say of its Leads; read by the settings."""


def all_sources(config: Mapping[str, Any]) -> dict[str, Source]:
    """Sources by name. Raises ConfigurationError, naming file and key, where bridge.toml declares one wrongly."""
    sources = dict(SOURCES)
    for name, table in config.get("sources", {}).items():
        try:
            own = _own_source(name, table)
        except ConfigurationError as error:
            raise ConfigurationError(f"bridge.toml: {error}") from None
        if own is not None:
            sources[name] = own
    return sources


def _own_source(name: str, table: object) -> Source | None:
    """The source that `table` declares; None where it only says something of a built-in one."""
    if not isinstance(table, dict):
        raise ConfigurationError(f"sources.{name}: must be a table")
    if name not in SOURCES:
        return build(name, {key: value for key, value in table.items() if key not in LEAD_KEYS})
    unknown = sorted(set(table) - LEAD_KEYS)
    if unknown:
        raise ConfigurationError(
            f"sources.{name}.{unknown[0]}: {name} is built in; it takes only {', '.join(sorted(LEAD_KEYS))}"
        )
    return None


def source_called(name: str, config: Mapping[str, Any]) -> Source:
    """The source of that name. Raises UnknownSource that lists those there are."""
    sources = all_sources(config)
    if name not in sources:
        raise UnknownSource(f"there is no source called {name}; there are {', '.join(sorted(sources))}", source=name)
    return sources[name]
