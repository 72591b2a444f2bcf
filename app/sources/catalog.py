"""All sources that are known here: the folders beside this file, those of other packages, and those of bridge.toml.

A folder is one that holds a module `source` with a SOURCE, or a source.toml, which says what a table of bridge.toml says.
Another package brings a source by an entry point of the group conversion_bridge.sources, which names such a folder or its SOURCE.
The folder may also hold an example body (example.json, example.form.txt or example.multipart.txt).
"""

import pkgutil
import secrets
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from typing import Any

import app.sources
from app.config.bridge_toml import LEAD_KEYS, deferred_leads
from app.config.spelling import unknown_source
from app.errors import ConfigurationError, UnknownSource
from app.sources.base import Source
from app.sources.custom import build, build_shipped
from app.sources.forms.labels import words

GROUP = "conversion_bridge.sources"
RESERVED = words(
    "stripe typeform tally jotform calendly calcom hubspot webflow wpforms gravityforms elementor formbricks clerk "
    "supabase netlify framer basin opnform formspree fillout paperform wufoo formstack cognitoforms googleforms"
)
"""Names that a table of bridge.toml could never take. With any other name, a table that describes a source goes before the one
that is built in: it was written when there was none."""
DESCRIBES = frozenset({"kind", "fields", "events", "signature"})
FORM = "application/x-www-form-urlencoded"
TABLE = "source.toml"
ENDINGS = (".json", ".form.txt", ".multipart.txt")


def _built_in() -> Iterator[tuple[Source, str]]:
    """Each source of this package, and the package that holds its files."""
    for module in pkgutil.iter_modules(app.sources.__path__, "app.sources."):
        if not module.ispkg:
            continue
        if find_spec(f"{module.name}.source"):
            yield import_module(f"{module.name}.source").SOURCE, module.name
        elif (table := files(module.name) / TABLE).is_file():
            yield build_shipped(module.name.rpartition(".")[2], table.read_text(encoding="utf-8")), module.name


BUILT_IN: Mapping[str, tuple[Source, str]] = {source.name: (source, package) for source, package in _built_in()}
SOURCES: Mapping[str, Source] = {name: source for name, (source, _) in BUILT_IN.items()}


@cache
def installed() -> Mapping[str, tuple[Source, str]]:
    """The sources of this package and of others, by name. Raises ConfigurationError if another package's cannot be loaded."""
    catalog = dict(BUILT_IN)
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        source, package = _load(point)
        if source.name in catalog:
            raise ConfigurationError(f"{_named(point)}: there is a source called {source.name} already")
        catalog[source.name] = (source, package)
    return catalog


def _load(point: EntryPoint) -> tuple[Source, str]:
    try:
        loaded = point.load()
        if not hasattr(loaded, "map") and hasattr(loaded, "__path__"):
            loaded = import_module(f"{point.module}.source")
    except Exception as error:
        raise ConfigurationError(f"{_named(point)} cannot be loaded: {type(error).__name__}: {error}") from error
    source = getattr(loaded, "SOURCE", loaded)
    lacking = [name for name in ("name", "title", "signed", "verify", "sign", "map") if not hasattr(source, name)]
    if lacking:
        raise ConfigurationError(f"{_named(point)} is not a source: it has no {lacking[0]}")
    module = import_module(point.module)
    return source, module.__name__ if hasattr(module, "__path__") else module.__name__.rpartition(".")[0]


def _named(point: EntryPoint) -> str:
    return f"the source {point.name} of the package {point.dist.name if point.dist else point.module}"


def all_sources(config: Mapping[str, Any], path: object = "bridge.toml") -> dict[str, Source]:
    """Sources by name. Raises ConfigurationError, naming the file (`path`) and the key, where it declares one wrongly."""
    sources = {name: source for name, (source, _) in installed().items()}
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
            raise ConfigurationError(f"{where}.verified_by: {unknown_source(unknown[0], sources)}")
    return sources


def _own_source(name: str, table: object) -> Source | None:
    """The source that `table` declares; None if it only says something of an installed one."""
    if not isinstance(table, dict):
        raise ConfigurationError(f"sources.{name}: must be a table")
    if name not in installed() or (name not in RESERVED and table.keys() & DESCRIBES):
        return build(name, table)
    unknown = sorted(set(table) - LEAD_KEYS)
    if unknown:
        raise ConfigurationError(
            f"sources.{name}.{unknown[0]}: {name} is built in; it takes only {', '.join(sorted(LEAD_KEYS))}."
            " Give a source of your own another name"
        )
    return None


def source_called(name: str, config: Mapping[str, Any], path: object = "bridge.toml") -> Source:
    """The source of that name. Raises UnknownSource that names the one that was probably meant, or lists them all."""
    sources = all_sources(config, path)
    if name not in sources:
        raise UnknownSource(unknown_source(name, sources), source=name)
    return sources[name]


# --- examples --------------------------------------------------------------------------------------------------------


def has_example(source: str) -> bool:
    return _example_of(source) is not None


def example(source: str) -> tuple[bytes, str]:
    """A body of `source` with fresh ids and the present time, and its content type.

    Raises ConfigurationError if there is none.
    """
    file = _example_of(source)
    if file is None:
        raise ConfigurationError(f"there is no built-in example for {source}: name a FILE with one of its bodies")
    return refreshed(file.read_bytes()), content_type_of(file.name, file.read_bytes())


def refreshed(body: bytes) -> bytes:
    """An example with fresh ids and the present time."""
    marks = {
        "@ID@": secrets.token_hex(8),
        "@SECONDS@": str(int(time.time())),
        "@ISO@": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    for mark, value in marks.items():
        body = body.replace(mark.encode(), value.encode())
    return body


def content_type_of(name: str, body: bytes) -> str:
    """.form.txt is form-encoded, .multipart.txt multipart with the boundary of its first line, all else JSON."""
    if name.endswith(".form.txt"):
        return FORM
    if name.endswith(".multipart.txt"):
        boundary = body.split(b"\n", 1)[0].strip().removeprefix(b"--").decode("latin-1")
        return f"multipart/form-data; boundary={boundary}"
    return "application/json"


def _example_of(source: str) -> Traversable | None:
    if source not in installed():
        return None
    folder = files(installed()[source][1])
    return next((file for ending in ENDINGS if (file := folder / f"example{ending}").is_file()), None)
