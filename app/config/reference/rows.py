"""One row for each variable: all that the reference says comes from the field itself."""

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.config.secret_files import SUFFIX
from app.config.sections.marks import RESTART, Section, Unset, Value
from app.config.sections.sources import OF_SOURCE, SourceVariables
from app.config.settings import SECRET_VARIABLES
from app.config.variables import SECTIONS

HEAD = f"| variable | meaning | value | default | `{SUFFIX}` | takes effect |\n|---|---|---|---|---|---|\n"
PLAIN_TYPES = {bool: "`0` or `1`", int: "whole number", float: "number", Path: "path", SecretStr: "secret", str: "text"}
BOUNDS = ("ge", "gt", "le", "lt", "min_length", "max_length")
_Mark = TypeVar("_Mark")


def tables() -> str:
    """Every section with its table."""
    parts = []
    for section in SECTIONS:
        assert issubclass(section, Section)
        rows = [
            _row(name, section.model_fields[name]) for name in section.__annotations__ if name in section.model_fields
        ]
        if section is SourceVariables:
            rows = [*_rows_of_sources(), *rows]
        parts.append(f"### {section.__doc__}\n\n{HEAD}{''.join(rows)}")
    return "\n".join(parts)


def _rows_of_sources() -> Iterator[str]:
    for variable in OF_SOURCE:
        yield _line(
            f"`<SOURCE>{variable.ending}`",
            variable.meaning,
            variable.value,
            variable.unset,
            is_secret=variable.is_secret,
        )


def _row(name: str, field: FieldInfo) -> str:
    variable = name.upper()
    meaning = " ".join((field.description or "").split())
    return _line(
        variable,
        meaning,
        _value(field),
        _default(field),
        is_secret=variable in SECRET_VARIABLES,
        restarts=RESTART in field.metadata,
    )


def _line(variable: str, meaning: str, value: str, default: str, *, is_secret: bool, restarts: bool = False) -> str:
    cells = (variable, meaning, value, default, "yes" if is_secret else "", "restart" if restarts else "reload")
    return f"| {' | '.join(cells)} |\n".replace("|  |", "| |").replace("|  |", "| |")


def _value(field: FieldInfo) -> str:
    kinds = [kind for kind in _alternatives(field.annotation) if kind is not type(None)]
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if choices:
        *first, last = [f"`{choice}`" for choice in choices]
        return f"{', '.join(first)} or {last}"
    meaning = _mark(field, Value)
    text = meaning.text if meaning else PLAIN_TYPES[_plain(kinds[0])]
    return ", ".join(filter(None, (text, _bounds(field))))


def _bounds(field: FieldInfo) -> str:
    limits = {name: getattr(mark, name) for mark in _marks(field) for name in BOUNDS if hasattr(mark, name)}
    match limits:
        case {"min_length": least}:
            return f"{least} or more characters" if least > 1 else ""
        case {"ge": low, "le": high}:
            return f"{low:,} to {high:,}"
        case {"gt": low, "le": high}:
            return f"more than {low:,}, at most {high:,}"
    assert not limits, f"a bound that the reference cannot write: {limits}"
    return ""


def _default(field: FieldInfo) -> str:
    unset = _mark(field, Unset)
    if unset:
        return unset.text
    default = field.default
    if default is None:
        return ""
    if isinstance(default, bool):
        return f"`{int(default)}`"
    return f"`./{default}`" if isinstance(default, Path) else f"`{default}`"


def _mark(field: FieldInfo, kind: type[_Mark]) -> _Mark | None:
    return next((candidate for candidate in _marks(field) if isinstance(candidate, kind)), None)


def _marks(field: FieldInfo) -> Iterator[Any]:
    """The metadata anywhere in the annotation of a field, including that of nested Fields."""
    marks = [*field.metadata]
    for kind in _alternatives(field.annotation):
        marks += getattr(kind, "__metadata__", ())
    for mark in marks:
        if isinstance(mark, FieldInfo):
            yield from mark.metadata
        else:
            yield mark


def _alternatives(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, types.UnionType) else (annotation,)


def _plain(kind: Any) -> Any:
    return getattr(kind, "__origin__", kind)
