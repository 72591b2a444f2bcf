"""The formats by name: every module of this folder that has a function `make`, and every preset."""

import pkgutil
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from types import MappingProxyType

from app.destinations import formats
from app.destinations.formats.base import Format, Options
from app.destinations.formats.template.shipped import make_preset, preset_names

DEFAULT = "events"


def find() -> Mapping[str, Callable[[Options], Format]]:
    """How each format is made, by its name; the default first."""
    makers: dict[str, Callable[[Options], Format]] = {name: partial(make_preset, name) for name in preset_names()}
    for module in pkgutil.iter_modules(formats.__path__):
        make = (
            getattr(import_module(f"{formats.__name__}.{module.name}"), "make", None)
            if module.name != "registry"
            else None
        )
        if make is not None:
            makers[make(Options()).name] = make
    return MappingProxyType(dict(sorted(makers.items(), key=lambda item: (item[0] != DEFAULT, item[0]))))


FORMATS = find()


def format_of(name: str, options: Options | None = None) -> Format:
    """The format called `name`. Raises KeyError for any other."""
    return FORMATS[name](options or Options())
