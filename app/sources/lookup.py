"""All sources that are known here: the built-in ones and those of bridge.toml."""

from collections.abc import Mapping
from typing import Any

from app.config.bridge_toml import LEAD_KEYS, deferred_leads
from app.errors import ConfigurationError, UnknownSource
from app.sources.base import Source
from app.sources.custom import build
from app.sources.registry import SOURCES


def all_sources(config: Mapping[str, Any], path: object = "bridge.toml") -> dict[str, Source]:
    """Sources by name. Raises ConfigurationError, naming the file (`path`) and the key, where it declares one wrongly."""
    sources = dict(SOURCES)
    for name, table in config.get("sources", {}).items():
        try:
            own = _own_source(name, table)
        except ConfigurationError as error:
            raise ConfigurationError(f"{path}: {error}") from None
        if own is not None:
            sources[name] = own
    for name, verifying in deferred_leads(config, path).items():
        where = f"{path}: sources.{name}"
        if config["sources"][name].get("kind") == "sale":
            raise ConfigurationError(f"{where}.lead_mode: a source of sales sends no leads")
        unknown = sorted(verifying - sources.keys())
        if unknown:
            raise ConfigurationError(f"{where}.verified_by: there is no source called {unknown[0]}")
    return sources


def _own_source(name: str, table: object) -> Source | None:
    """The source that `table` declares; None where it only says something of a built-in one."""
    if not isinstance(table, dict):
        raise ConfigurationError(f"sources.{name}: must be a table")
    if name not in SOURCES:
        return build(name, table)
    unknown = sorted(set(table) - LEAD_KEYS)
    if unknown:
        raise ConfigurationError(
            f"sources.{name}.{unknown[0]}: {name} is built in; it takes only {', '.join(sorted(LEAD_KEYS))}."
            " Give a source of your own another name"
        )
    return None


def source_called(name: str, config: Mapping[str, Any], path: object = "bridge.toml") -> Source:
    """The source of that name. Raises UnknownSource that lists those there are."""
    sources = all_sources(config, path)
    if name not in sources:
        raise UnknownSource(f"there is no source called {name}; there are {', '.join(sorted(sources))}", source=name)
    return sources[name]
