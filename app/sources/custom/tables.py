"""Checked reading of a source's table in bridge.toml: every wrong value is a ConfigurationError that names its key."""

import re
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

from app.errors import ConfigurationError
from app.sources.signatures import HmacScheme, StaticSecret

OF_THE_SIGNATURE = (
    "header",
    "prefix",
    "encoding",
    "digest",
    "template",
    "pairs",
    "separator",
    "versions",
    "timestamp_header",
    "timestamp_unit",
    "tolerance_seconds",
    "id_header",
    "secret_encoding",
    "static",
)


def only(table: Mapping[str, Any], known: tuple[str, ...], at: str) -> None:
    """Refuses a key that is not known, since a misspelt one would otherwise be left out in silence."""
    for key in table:
        if key not in known:
            raise ConfigurationError(f"{at}.{key}: is not known; known are {', '.join(known)}")


def table_in(table: Mapping[str, Any], key: str, at: str) -> Mapping[str, Any]:
    value = table.get(key, {})
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"{at}.{key}: must be a table")
    return value


def text_in(table: Mapping[str, Any], key: str, at: str) -> str | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, str) or not value.strip() or len(value) > 255):
        raise ConfigurationError(f"{at}.{key}: must be a text of 1 to 255 characters")
    return value


def choice_in(table: Mapping[str, Any], key: str, choices: tuple[str, ...], at: str, *, default: str) -> str:
    value = table.get(key, default)
    if value not in choices:
        raise ConfigurationError(f"{at}.{key}: must be one of {', '.join(choices)}")
    return str(value)


def zone_in(fields: Mapping[str, Any], at: str) -> ZoneInfo | None:
    name = text_in(fields, "occurred_at_zone", f"{at}.fields")
    if name is None:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ConfigurationError(
            f"{at}.fields.occurred_at_zone: no time zone is called that; UTC and Europe/Berlin are"
        ) from None


def scheme_in(table: Mapping[str, Any], at: str) -> HmacScheme | StaticSecret | None:
    """How the sender signs, or None where it cannot."""
    options = table.get("signature")
    if options is None or options == "none":
        return None
    at = f"{at}.signature"
    if not isinstance(options, Mapping):
        raise ConfigurationError(f'{at}: must be a table, or "none" for a sender that cannot sign')
    if "static" in options:
        return _static(options, at)
    only(options, OF_THE_SIGNATURE, at)
    for key in ("header", "timestamp_header", "id_header", "prefix", "separator", "template"):
        text_in(options, key, at)
    if "header" not in options:
        raise ConfigurationError(f"{at}.header: must name the header that holds the signature")
    for key in ("header", "timestamp_header", "id_header"):
        if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", options.get(key, "X")):
            raise ConfigurationError(f"{at}.{key}: must be a header's name alone, such as X-Signature")
    for key, choices in (
        ("encoding", ("hex", "base64")),
        ("digest", ("sha256", "sha1")),
        ("timestamp_unit", ("s", "ms")),
        ("secret_encoding", ("text", "whsec", "either", "html")),
    ):
        choice_in(options, key, choices, at, default=choices[0])
    pairs, tolerance = options.get("pairs"), options.get("tolerance_seconds", 300)
    if pairs is not None and not (
        isinstance(pairs, list) and len(pairs) == 2 and all(isinstance(one, str) and one for one in pairs)
    ):
        raise ConfigurationError(f'{at}.pairs: must be the names of time and signature, such as ["t", "v1"]')
    if isinstance(tolerance, bool) or not isinstance(tolerance, int) or not 1 <= tolerance <= 86400:
        raise ConfigurationError(f"{at}.tolerance_seconds: must be a whole number from 1 to 86400")
    if not isinstance(options.get("versions", False), bool):
        raise ConfigurationError(f"{at}.versions: must be true or false")
    ways = [key for key in ("prefix", "pairs", "versions") if options.get(key)]
    if len(ways) > 1:
        raise ConfigurationError(f"{at}.{ways[1]}: cannot go with {ways[0]}: each says how the header is written")
    _check_template(options, at)
    return HmacScheme(**{**options, "pairs": tuple(pairs) if pairs else None})


def _static(options: Mapping[str, Any], at: str) -> StaticSecret:
    """A header that repeats the secret."""
    only(options, ("header", "static"), at)
    header = text_in(options, "header", at) or "Authorization"
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", header):
        raise ConfigurationError(f"{at}.header: must be a header's name alone, such as X-Signature")
    form = choice_in(options, "static", ("whole", "bearer", "basic"), at, default="whole")
    return StaticSecret(header=header, form=form)  # type: ignore[arg-type]


def _check_template(options: Mapping[str, Any], at: str) -> None:
    template = options.get("template", "{body}")
    if template.count("{body}") != 1:
        raise ConfigurationError(f"{at}.template: must hold {{body}} once")
    rest = template.replace("{body}", "")
    for name in ("t", "id", "method", "url"):
        rest = rest.replace(f"{{{name}}}", "")
    if "{" in rest or "}" in rest:
        raise ConfigurationError(f"{at}.template: knows {{body}}, {{t}}, {{id}}, {{method}} and {{url}} only")
    if "{t}" in template and not (options.get("timestamp_header") or options.get("pairs")):
        raise ConfigurationError(f"{at}.template: has {{t}}, so timestamp_header or pairs must say where the time is")
    if "{id}" in template and not options.get("id_header"):
        raise ConfigurationError(f"{at}.template: has {{id}}, so id_header must say where it is")
    if "{t}" not in template and (options.get("timestamp_header") or options.get("pairs")):
        raise ConfigurationError(
            f"{at}.template: leaves {{t}} out, so the time would be taken unsigned from whoever sends it"
        )
