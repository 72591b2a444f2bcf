"""Reads the settings from the files again and checks them completely, before a running process applies them."""

import os
from collections.abc import MutableMapping
from dataclasses import dataclass

from app.bootstrap import check_configuration, check_has_destination
from app.config.settings import Settings, load_settings
from app.config.variables import NEEDS_RESTART
from app.reloading.comparison import compared_values


@dataclass(frozen=True, slots=True)
class Reloaded:
    """changed: the names of changed settings; kept: those of NEEDS_RESTART, whose new values wait for a restart."""

    settings: Settings
    changed: tuple[str, ...]
    kept: tuple[str, ...]


def reload_settings(current: Settings, environment: MutableMapping[str, str] | None = None) -> Reloaded:
    """Reads bridge.env, bridge.toml and the files of secrets again. Raises ConfigurationError if any of it is wrong.

    Variables of the environment itself stay as they were when the process started. Nothing of the process is changed.
    """
    variables = dict(os.environ if environment is None else environment)
    fresh = load_settings(variables)
    kept = [name for name in sorted(NEEDS_RESTART) if getattr(fresh, name) != getattr(current, name)]
    if kept:
        fresh = fresh.model_copy(update={name: getattr(current, name) for name in kept})
    check_configuration(fresh)
    check_has_destination(fresh)
    before, after = _values(current), _values(fresh)
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return Reloaded(fresh, tuple(changed), tuple(name.upper() for name in kept))


def _values(settings: Settings) -> dict[str, str]:
    values = compared_values(settings)
    return values | {"LOG_LEVEL": settings.log_level, "SANDBOX": str(settings.sandbox)}
