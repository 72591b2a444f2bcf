"""NAME_FILE: the file that holds the secret NAME, as Docker, Kubernetes and systemd hand secrets over."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from app.config.env_file import read_small_text, reason_of
from app.errors import ConfigurationError

SUFFIX = "_FILE"
WEBHOOK_SECRET, PATH_TOKEN = "_WEBHOOK_SECRET", "_PATH_TOKEN"
SOURCE_SECRETS = (WEBHOOK_SECRET, PATH_TOKEN)


def read_secret(environment: Mapping[str, str], name: str) -> str:
    """The secret called `name`, out of its variable or the file that NAME_FILE names; "" where neither is set.

    One line break at the end of the file is cut. Raises ConfigurationError.
    """
    value, file = environment.get(name, ""), environment.get(name + SUFFIX, "")
    if not file:
        return value
    if value:
        raise ConfigurationError(f"{name} and {name}{SUFFIX} are both set: remove one of them")
    try:
        text = read_small_text(Path(file))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{name}{SUFFIX}: {file} cannot be read: {reason_of(error)}") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise ConfigurationError(f"{name}{SUFFIX}: {file} is empty")
    if "\n" in text or "\0" in text:
        raise ConfigurationError(f"{name}{SUFFIX}: {file} must hold the secret alone, in one line")
    return text


def read_secrets(environment: Mapping[str, str], names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Those of `names` that are set, and what is wrong with others."""
    values, problems = {}, []
    for name in names:
        try:
            value = read_secret(environment, name)
        except ConfigurationError as error:
            problems.append(str(error))
        else:
            if value:
                values[name] = value
    return values, problems


def source_secret_names(environment: Mapping[str, str]) -> list[str]:
    """The variables of sources (<SOURCE>_WEBHOOK_SECRET, <SOURCE>_PATH_TOKEN) that are set themselves or by their files."""
    names = (name.removesuffix(SUFFIX) for name in environment)
    return sorted({name for name in names if name.endswith(SOURCE_SECRETS)})
