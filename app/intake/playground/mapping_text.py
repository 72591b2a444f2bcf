"""A mapping as people edit it: [sources.NAME] and [attribution] as they stand in bridge.toml."""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

from app.config.bridge_toml import AttributionTable, read_table
from app.config.settings import Settings
from app.errors import ConfigurationError
from app.model import Rules
from app.sources.base import Source
from app.sources.catalog import all_sources

LONGEST_TEXT = 64 * 1024
NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
TABLES = ("sources", "attribution")
PLACE = "the mapping"
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Edited:
    """A mapping that is tried: the tables of its text, checked. `config` is bridge.toml with them."""

    name: str
    config: Mapping[str, Any]
    rules: Rules

    def source(self) -> Source:
        return all_sources(self.config, PLACE)[self.name]

    @property
    def own_table(self) -> Mapping[str, Any]:
        table: Mapping[str, Any] = self.config.get("sources", {}).get(self.name, {})
        return table


def read_mapping(settings: Settings, name: str, text: str) -> Edited:
    """The mapping in `text`, of the source `name`, or of the one that it names where `name` is "". Raises ConfigurationError
    that names the key that is wrong."""
    if len(text) > LONGEST_TEXT:
        raise ConfigurationError(f"{PLACE} is longer than {LONGEST_TEXT // 1024} KiB")
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{PLACE} is not TOML: {error}") from None
    unknown = next((key for key in tables if key not in TABLES), None)
    if unknown is not None:
        raise ConfigurationError(f"{PLACE}: {unknown}: only [sources.NAME] and [attribution] can be tried here")
    if not tables:
        raise ConfigurationError(f"{PLACE} is empty: it needs [sources.{name or 'NAME'}] or [attribution]")
    named = tables.get("sources", {})
    if not isinstance(named, dict) or not all(isinstance(table, dict) for table in named.values()):
        raise ConfigurationError(f"{PLACE}: sources: must be tables, each [sources.NAME]")
    name = name or next(iter(named), "")
    if not NAME.fullmatch(name):
        raise ConfigurationError(f"{PLACE}: name the source as [sources.NAME]: a-z, 0-9 and _, and a letter first")
    other = next((named_source for named_source in named if named_source != name), None)
    if other is not None:
        raise ConfigurationError(f"{PLACE}: sources.{other}: the source that is tried is {name}")
    config = {**settings.config, "sources": {**settings.config.get("sources", {}), **named}}
    if "attribution" in tables:
        config["attribution"] = tables["attribution"]
    if name not in all_sources(config, PLACE):
        raise ConfigurationError(f"{PLACE}: has no [sources.{name}]")
    rules = read_table(AttributionTable, config, PLACE, "attribution").applied_to(settings.rules)
    return Edited(name, config, rules)


def mapping_of(settings: Settings, name: str) -> str:
    """The current mapping of a source as TOML, to start from: its table, and [attribution] where the file has one; for a source
    that is built in, the names that ids are looked for under."""
    table = settings.config.get("sources", {}).get(name, {})
    tables: dict[str, Any] = {"sources": {name: table}} if table else {}
    attribution = settings.config.get("attribution")
    if attribution:
        tables["attribution"] = attribution
    elif not table:
        tables["attribution"] = {
            "click_id": list(settings.rules.click_id_names),
            "customer_id": list(settings.rules.customer_id_names),
        }
    return to_toml(tables)


def to_toml(tables: Mapping[str, Any]) -> str:
    """TOML of what tomllib read: plain values first, then each table under its header."""
    return "\n".join(_table(tables, ())).strip() + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in plain.items()]
    if path and (lines or not table):
        lines = ["", f"[{'.'.join(map(_key, path))}]", *lines]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += _table(value, (*path, key))
    return lines


def _key(key: str) -> str:
    return key if BARE_KEY.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_value(below)}" for key, below in value.items()) + "}"
    if isinstance(value, date | time | datetime):
        return value.isoformat()
    return repr(value)


def _text(text: str) -> str:
    """JSON's escapes are TOML's, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
