"""bridge.env: NAME=value lines that every command reads. What the environment already has wins."""

import os
import re
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from app.errors import ConfigurationError

ENV_FILE = "bridge.env"
ENV_FILE_VARIABLE = "BRIDGE_ENV_FILE"
"""Names another file. `bridge --env-file` sets it, so that the processes that a command starts read the same one."""
NAMES_VARIABLE = "BRIDGE_ENV_NAMES"
"""The names in the environment that came out of the file, for this process and those that it starts: they are read again."""
LARGEST_FILE = 1024 * 1024
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ESCAPED_IN_QUOTES = '"\\$`'


def env_file(environment: MutableMapping[str, str] = os.environ) -> tuple[Path, bool]:
    """The file to read, and whether it was asked for by name, so that it has to exist."""
    named = environment.get(ENV_FILE_VARIABLE)
    return Path(named or ENV_FILE), bool(named)


def load_env_file(environment: MutableMapping[str, str] = os.environ) -> Path | None:
    """Adds to `environment` what the file sets and the environment does not; returns the file, None if there is none.

    What an earlier call added, here or in the process that started this one, is read again. Idempotent. Raises
    ConfigurationError that names file and line, and never shows a value.
    """
    for name in _names_of_file(environment):
        environment.pop(name, None)
    environment.pop(NAMES_VARIABLE, None)
    path, is_named = env_file(environment)
    try:
        text = read_small_text(path)
    except FileNotFoundError:
        if is_named:
            raise ConfigurationError(f"{path} does not exist (--env-file, {ENV_FILE_VARIABLE})") from None
        return None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {reason_of(error)}") from None
    present = {name.upper() for name in environment}
    added = []
    for name, value in read_lines(text, path):
        other = name.removesuffix("_FILE") if name.endswith("_FILE") else f"{name}_FILE"
        if name.upper() not in present and other.upper() not in present:
            environment[name] = value
            added.append(name)
    environment[NAMES_VARIABLE] = ",".join(added)
    return path


def override(environment: MutableMapping[str, str], name: str, value: str) -> None:
    """Sets a variable over what the file says, as an option of a command does."""
    environment[name] = value
    if NAMES_VARIABLE in environment:
        environment[NAMES_VARIABLE] = ",".join(other for other in _names_of_file(environment) if other != name)


def _names_of_file(environment: MutableMapping[str, str]) -> list[str]:
    return [name for name in environment.get(NAMES_VARIABLE, "").split(",") if name]


def read_lines(text: str, path: object = ENV_FILE) -> Iterator[tuple[str, str]]:
    """The names and values of `text`. Of a name that is set twice the last value counts, as in a shell."""
    values = {}
    for number, line in enumerate(text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n"), 1):
        where = f"{path}, line {number}"
        statement = line.strip().removeprefix("export ").lstrip()
        if not statement or statement.startswith("#"):
            continue
        name, equals, rest = statement.partition("=")
        if not equals or not NAME.fullmatch(name):
            hint = ", without spaces around =" if name.rstrip() != name else ""
            raise ConfigurationError(f"{where}: write NAME=value{hint}")
        try:
            values[name] = read_value(rest)
        except ValueError as error:
            raise ConfigurationError(f"{where}: {name}: {error}") from None
    yield from values.items()


def read_value(text: str) -> str:
    """A value as a shell reads it, except that nothing is expanded. Raises ValueError."""
    value, quote, position = "", "", 0
    while position < len(text):
        character = text[position]
        following = text[position + 1 : position + 2]
        if quote:
            if character == quote:
                quote = ""
            elif character == "\\" and quote == '"' and following and following in ESCAPED_IN_QUOTES:
                value, position = value + following, position + 1
            else:
                value += character
        elif character in "\"'":
            quote = character
        elif character == "\\":
            if not following:
                raise ValueError("ends in a backslash: a value ends with its line")
            value, position = value + following, position + 1
        elif character.isspace():
            rest = text[position:].strip()
            if rest and not rest.startswith("#"):
                raise ValueError("has a space: put the value in single quotes")
            return value
        else:
            value += character
        position += 1
    if quote:
        raise ValueError(f"the quote {quote} is not closed on the same line")
    if "\0" in value:
        raise ValueError("has a null character")
    return value


def read_small_text(path: Path) -> str:
    """The text of a file that people write. Raises OSError, or ValueError if it is not UTF-8 or too large."""
    with path.open("rb") as opened:
        content = opened.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError("it is larger than 1 MiB")
    return content.decode()


def reason_of(error: OSError | ValueError) -> str:
    """Without the content, which a UnicodeDecodeError shows."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
