"""Destinations of bridge.toml whose format is `template` or a preset: their keys beside those of every destination, checked.

Every mistake is named with its line and column, since these tables are code more than they are settings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from app.config.setting_types import variable_name, web_url
from app.destinations.formats.base import CLICKS, Options
from app.destinations.formats.template.definition import OF_ALL, define
from app.destinations.formats.template.nodes import Mistake, Where
from app.destinations.formats.template.places import line_and_column
from app.destinations.formats.template.shipped import Parameter, Preset, define_preset, preset, preset_names
from app.errors import ConfigurationError

TEMPLATE = "template"
SECRETS = "secrets"
OAUTH = "oauth"
OAUTH_KEYS = ("token_url", "client_id", "client_secret_env", "refresh_token_env")
TOKEN = "token"  # noqa: S105


@dataclass(frozen=True, slots=True)
class TemplateOptions:
    """What such a table says, beside what every destination's says."""

    tables: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    """The variable of each secret, by the secret's name; the token's is not among them."""
    oauth: Mapping[str, str] | None = None
    """{token_url, client_id} where access tokens are got with the secrets client_secret and refresh_token."""
    has_url: bool = False
    """The table has a url of its own."""

    def options(self, options: Options, *, has_token: bool) -> Options:
        """`options` of the format, completed."""
        secrets = (*self.variables, TOKEN) if has_token or self.oauth else tuple(self.variables)
        return replace(options, template=self.tables, parameters=self.parameters, secrets=secrets)


NONE = TemplateOptions()


def is_template(format_name: object) -> bool:
    return isinstance(format_name, str) and (format_name == TEMPLATE or format_name in preset_names())


def url_of(format_name: str) -> str | None:
    """Where a preset's requests go; None for one whose URL is a secret, and for a template."""
    return None if format_name == TEMPLATE else preset(format_name).url or None


def known_keys(format_name: str) -> tuple[str, ...]:
    """What a table of this format may have beside the keys of every destination."""
    own = (SECRETS, OAUTH) if format_name == TEMPLATE else tuple(preset(format_name).parameters)
    return (*OF_ALL, *own)


def take(
    format_name: str,
    table: Mapping[str, Any],
    path: object,
    name: str,
    *,
    has_token: bool,
    clicks: tuple[str, ...] = CLICKS,
) -> TemplateOptions:
    """What `table` says of the template. has_token: DESTINATION_TOKEN is its token. Raises ConfigurationError."""
    tables = {key: table[key] for key in OF_ALL if key in table}
    mistakes: list[Mistake] = []
    if format_name == TEMPLATE:
        variables = _variables(table.get(SECRETS, {}), mistakes)
        oauth = _oauth(table[OAUTH], variables, mistakes) if OAUTH in table else None
        has_token = has_token or "token_env" in table or OAUTH in table
        secrets = (*variables, TOKEN) if has_token else tuple(variables)
        mistakes += define(tables, secrets=secrets, clicks=clicks)[1]
        options = TemplateOptions(tables, {}, variables, oauth, has_url=True)
    else:
        chosen = preset(format_name)
        options = _of_preset(chosen, table, tables, mistakes, has_token=has_token)
        mistakes += define_preset(chosen, tables, options.parameters, clicks)[1]
    if mistakes:
        raise ConfigurationError("; ".join(said(mistake, path, name) for mistake in mistakes))
    return options


def _variables(raw: object, mistakes: list[Mistake]) -> dict[str, str]:
    if not isinstance(raw, Mapping):
        mistakes.append(Mistake((SECRETS,), 'must be a table, such as {api_key = "CRM_API_KEY"}'))
        return {}
    variables = {}
    for name, value in raw.items():
        if (problem := _variable_problem(value)) is not None:
            mistakes.append(Mistake((SECRETS, name), problem))
        elif name == TOKEN:
            mistakes.append(Mistake((SECRETS, name), "is the token's name: write token_env instead"))
        elif name == "url":
            mistakes.append(Mistake((SECRETS, name), "is a name of the bridge's own: choose another"))
        else:
            variables[name] = value
    return variables


def _oauth(raw: object, variables: dict[str, str], mistakes: list[Mistake]) -> dict[str, str]:
    """[destinations.<name>.oauth]; its secrets go to `variables`."""
    table = raw if isinstance(raw, Mapping) else {}
    for key in (*OAUTH_KEYS, *table):
        if key not in OAUTH_KEYS:
            mistakes.append(Mistake((OAUTH, key), f"is not known; known are {', '.join(OAUTH_KEYS)}"))
        elif key not in table:
            mistakes.append(Mistake((OAUTH, key), "is missing"))
        elif key.endswith("_env") and (problem := _variable_problem(table[key])):
            mistakes.append(Mistake((OAUTH, key), problem))
        elif key.endswith("_env"):
            variables[key.removesuffix("_env")] = table[key]
        elif not isinstance(table[key], str) or not table[key]:
            mistakes.append(Mistake((OAUTH, key), "must be text in quotes"))
    if isinstance(url := table.get("token_url"), str):
        try:
            web_url(url)
        except ValueError as error:
            mistakes.append(Mistake((OAUTH, "token_url"), str(error)))
    return {key: str(table[key]) for key in ("token_url", "client_id") if key in table}


def _of_preset(
    chosen: Preset, table: Mapping[str, Any], tables: Mapping[str, Any], mistakes: list[Mistake], *, has_token: bool
) -> TemplateOptions:
    parameters, variables = {}, {}
    for parameter in chosen.parameters.values():
        value = table.get(parameter.name)
        if value is None:
            is_given = (parameter.secret == TOKEN and has_token) or (parameter.unless or "") in table
            if parameter.is_required and not is_given:
                mistakes.append(Mistake((parameter.name,), "is missing"))
        elif (problem := _problem(parameter, value)) is not None:
            mistakes.append(Mistake((parameter.name,), problem))
        elif parameter.secret is None:
            parameters[parameter.name] = str(value)
        elif parameter.secret != TOKEN:
            variables[parameter.secret] = value
    oauth = None
    if chosen.has_oauth and "token_env" not in table:
        named = {"token_url": chosen.parameters["token_url"].value, **parameters}
        oauth = {key: named.get(key, "") for key in ("token_url", "client_id")}
    return TemplateOptions(tables, parameters, variables, oauth, has_url="url" in table)


def _problem(parameter: Parameter, value: object) -> str | None:
    if parameter.secret is not None:
        return _variable_problem(value)
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value):
        return "must be text in quotes"
    return parameter.problem(str(value))


def _variable_problem(value: object) -> str | None:
    try:
        variable_name(value if isinstance(value, str) else "")
    except ValueError as error:
        return str(error)
    return None


def said(mistake: Mistake, path: object, name: str) -> str:
    """A mistake in the table of the destination `name`, with its place."""
    where: Where = ("destinations", name, *mistake.where)
    key = ".".join(str(part) for part in where)
    message = f"{path}: {key}: {mistake.text}"
    try:
        place = line_and_column(Path(str(path)).read_text("utf-8"), where, mistake.offset)
    except (OSError, ValueError):
        place = None
    return message if place is None else f"{message} (at line {place[0]}, column {place[1]})"
