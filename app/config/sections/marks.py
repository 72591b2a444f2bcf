"""What the reference says of a variable beside its meaning, in the variable's annotation."""

from dataclasses import dataclass

from pydantic_settings import BaseSettings, SettingsConfigDict


class Section(BaseSettings):
    """Variables with a docstring each."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True)
class Value:
    """What a value looks like, where its type does not say so."""

    text: str


@dataclass(frozen=True, slots=True)
class Unset:
    """What happens without the variable, where its default does not say so."""

    text: str


@dataclass(frozen=True, slots=True)
class _Restart:
    pass


RESTART = _Restart()
"""A process reads the variable once: a new value waits for its restart."""
SECONDS, MEGABYTES = Value("seconds"), Value("megabytes")
NAMES = Value("names, separated by commas")
