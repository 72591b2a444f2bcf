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
    """Sources by name. Raises ConfigurationError where bridge.toml declares one wrongly."""
    sources = dict(SOURCES)
    for name, table in config.get("sources", {}).items():
        if name not in SOURCES:
            sources[name] = build(name, {key: value for key, value in table.items() if key not in LEAD_KEYS})
            continue
        unknown = sorted(set(table) - LEAD_KEYS)
        if unknown:
            raise ConfigurationError(
                f"bridge.toml: sources.{name}.{unknown[0]}: {name} is built in; it takes only {', '.join(sorted(LEAD_KEYS))}"
            )
    return sources


def source_called(name: str, config: Mapping[str, Any]) -> Source:
    """The source of that name. Raises UnknownSource that lists those there are."""
    sources = all_sources(config)
    if name not in sources:
        raise UnknownSource(f"there is no source called {name}; there are {', '.join(sorted(sources))}", source=name)
    return sources[name]
