"""All sources that are known here: the built-in ones and those of bridge.toml."""

from collections.abc import Mapping
from typing import Any

from app.errors import UnknownSource
from app.sources.base import Source
from app.sources.custom import build
from app.sources.registry import SOURCES


def all_sources(config: Mapping[str, Any]) -> dict[str, Source]:
    """Sources by name. Raises ConfigurationError where bridge.toml declares one wrongly."""
    sources = dict(SOURCES)
    for name, table in config.get("sources", {}).items():
        if name not in SOURCES:
            sources[name] = build(name, table)
    return sources


def source_called(name: str, config: Mapping[str, Any]) -> Source:
    """The source of that name. Raises UnknownSource that lists those there are."""
    sources = all_sources(config)
    if name not in sources:
        raise UnknownSource(f"there is no source called {name}; there are {', '.join(sorted(sources))}", source=name)
    return sources[name]
