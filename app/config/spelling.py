"""Variables that nobody reads because their names are misspelled, and names that are close to one that was meant."""

import difflib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from app.config.env_file import ENV_FILE_VARIABLE
from app.config.secret_files import SOURCE_SECRETS, SUFFIX
from app.config.sections.sources import ALLOW_TEST_EVENTS
from app.config.settings import SECRET_VARIABLES, Settings, variable_of

CLOSE = 0.86
CLOSE_SOURCE = 0.8
SHORTEST = 6
"""Shorter names are close to too many others."""
OF_SOURCES = (*SOURCE_SECRETS, ALLOW_TEST_EVENTS)
OURS = ("DESTINATION_", "DASHBOARD_")
"""Names that begin so are meant for the bridge."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A variable that is set and not read.

    meant: the name that was probably meant; is_missed: that one is not set, so that something does not work.
    """

    name: str
    meant: str | None
    is_missed: bool

    def __str__(self) -> str:
        predicate = "names no source" if self.name.removesuffix(SUFFIX).endswith(OF_SOURCES) else "is not a setting"
        return f"{self.name} {predicate}" + (f"; did you mean {self.meant}?" if self.meant else "")


def closest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The one of `known` that `name` probably stands for."""
    matches = difflib.get_close_matches(name, list(known), 1, cutoff)
    return matches[0] if matches else None


def unknown_source(name: str, known: Iterable[str]) -> str:
    """What to say of a source that does not exist."""
    names = sorted(known)
    meant = closest(name.lower(), names)
    return f"there is no source called {name}" + (
        f"; did you mean {meant}?" if meant else f"; choose from {', '.join(names)}"
    )


def known_variables(settings: Settings, sources: Iterable[str]) -> set[str]:
    """Every variable that the bridge reads."""
    names = {name.upper() for name in Settings.model_fields} | {ENV_FILE_VARIABLE, "BRIDGE_PARENT"}
    secrets = {variable_of(source) + ending for source in sources for ending in SOURCE_SECRETS}
    secrets |= settings.destination_variables | {settings.alerts.url_env}
    names |= secrets | {name + SUFFIX for name in (*secrets, *SECRET_VARIABLES)}
    return names | {variable_of(source) + ALLOW_TEST_EVENTS for source in sources}


def unknown_variables(
    settings: Settings, sources: Collection[str], environment: Mapping[str, str], of_file: Iterable[str] = ()
) -> Iterator[Unknown]:
    """Those of `environment` that are certainly or probably meant for the bridge. of_file: the names in bridge.env."""
    titles = [variable_of(source) for source in sources]
    known = known_variables(settings, sources)
    listed = set(of_file)
    for name in sorted(environment):
        upper = name.upper()
        if not environment[name] or upper in known or upper.startswith("BRIDGE_"):
            continue
        of_source = upper.removesuffix(SUFFIX).endswith(OF_SOURCES)
        meant = (
            _of_source(upper, titles) if of_source else closest(upper, known, CLOSE) if len(upper) >= SHORTEST else None
        )
        if meant or of_source or name in listed or upper.startswith(OURS):
            yield Unknown(name, meant, meant is not None and not environment.get(meant))


def _of_source(name: str, titles: Iterable[str]) -> str | None:
    """The variable of a source that `name` probably stands for. Only the source is compared: what all of them end with would make
    any two alike."""
    ending = next(ending for ending in OF_SOURCES if name.removesuffix(SUFFIX).endswith(ending))
    title = name.removesuffix(SUFFIX).removesuffix(ending)
    meant = closest(title, titles, CLOSE_SOURCE)
    return meant + name[len(title) :] if meant else None
