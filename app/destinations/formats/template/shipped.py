"""The presets: templates that come with the bridge, one TOML file each in the folder `presets`.

A file has the keys of a template, and beside them:
  title, url    for people; where its requests go unless the destination's table says otherwise
  parameters    what the destination's table must or may say: {example, default, optional, wanted, unless, pattern, says}; one that
                has no default and is not optional is required, and one that ends with _env names the variable of a secret
  event_names   what events are called, unless the destination's table says otherwise
  rate          requests a second that the service takes, for `bridge doctor`
  net_of_tax    true where it counts amounts before taxes, for `bridge doctor`
  moment        an expression over a body: when the conversion happened, as a Unix time in any unit, for the sandbox
  clicks        names of click ids that it reads, which [attribution.clicks] has to have
  oauth         true where client_id, client_secret_env, refresh_token_env and token_url are the parameters of access tokens
  sandbox       {status, body}: how the bridge's own sandbox answers
"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from app.destinations.formats.base import Format, Options, is_host_of
from app.destinations.formats.template.definition import OF_ALL, Definition, define
from app.destinations.formats.template.document import BY_KIND
from app.destinations.formats.template.expression import UNKNOWN, Names, compiled
from app.destinations.formats.template.format import Template
from app.destinations.formats.template.functions import Context
from app.destinations.formats.template.nodes import Mistake
from app.model import DeliveryKind

FOLDER = Path(__file__).parent / "presets"
SUFFIX = "_env"


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    example: str
    default: str | None = None
    is_required: bool = True
    pattern: str | None = None
    says: str = "is not valid"
    """What it must be."""
    unless: str | None = None
    """It is not required where this other parameter is given."""
    is_wanted: bool = False
    """The service works better or only with it."""

    @property
    def secret(self) -> str | None:
        """The name of the secret whose variable it names; None for one that is not secret."""
        return self.name.removesuffix(SUFFIX) if self.name.endswith(SUFFIX) else None

    @property
    def value(self) -> str:
        """What it is unless it is given: the example of one that must be."""
        return self.default if self.default is not None else self.example if self.is_required else ""

    def problem(self, value: str) -> str | None:
        """What is wrong with a value; None if nothing is."""
        return self.says if self.pattern and not re.fullmatch(self.pattern, value) else None


@dataclass(frozen=True, slots=True)
class Preset:
    name: str
    title: str
    url: str
    parameters: Mapping[str, Parameter]
    template: Mapping[str, Any]
    event_names: Mapping[str, str]
    clicks: tuple[str, ...]
    moment: str | None
    has_oauth: bool
    rate: float | None
    is_net: bool
    answer: tuple[int, str]

    @property
    def secrets(self) -> tuple[str, ...]:
        return tuple(parameter.secret for parameter in self.parameters.values() if parameter.secret)

    def with_tables(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """Its template with what a destination's table says instead: of a kind's table, key by key."""
        merged = {**self.template, **own}
        for kind in BY_KIND:
            if isinstance(own.get(kind), Mapping) and kind in self.template:
                merged[kind] = {**self.template[kind], **own[kind]}
        return merged


@dataclass(frozen=True, slots=True)
class Shipped(Template):
    """A preset at work."""

    answer: tuple[int, str] = (200, "{}")

    def advice(
        self, host: str, *, rate: float | None, sources: Collection[str], net_of_tax: bool | None = None
    ) -> Iterator[str]:
        shipped = preset(self.name)
        if not is_host_of(host, urlsplit(shipped.url).hostname or ""):
            return
        if rate is None and shipped.rate:
            yield f"{shipped.title} limits requests: set rate = {shipped.rate:g}, requests a second"
        if shipped.is_net and net_of_tax is False:
            yield f"{shipped.title} counts amounts without tax: set net_of_tax = true"
        for parameter in shipped.parameters.values():
            if parameter.is_wanted and not self.definition.parameters.get(parameter.name):
                yield f"{shipped.title} wants {parameter.name}: set it in the destination's table"

    def age_problem(self, fields: Mapping[str, Any], now: datetime) -> str | None:
        moment = preset(self.name).moment
        if moment is None or self.max_age is None:
            return None
        event_time = compiled(moment, UNKNOWN, Names()).search(fields, Context())
        if not isinstance(event_time, int):
            return None
        seconds = event_time // 1000 ** (
            max(len(str(event_time)) - 10, 0) // 3
        )  # ten digits are seconds, 13 milliseconds, 16 microseconds
        return f"older than {self.max_age.text}" if int(now.timestamp()) - seconds > self.max_age.seconds else None

    def sandbox_answer(
        self, kind: DeliveryKind, fields: Mapping[str, Any], is_known: Callable[[str], bool] = lambda _: True
    ) -> tuple[int, str]:
        return self.answer


def preset_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


@cache
def preset(name: str) -> Preset:
    """Raises KeyError if there is none of that name."""
    if name not in preset_names():
        raise KeyError(name)
    raw = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
    parameters = {key: _parameter(key, table) for key, table in raw.get("parameters", {}).items()}
    answer = raw.get("sandbox", {})
    return Preset(
        name,
        raw["title"],
        raw["url"],
        parameters,
        {key: raw[key] for key in OF_ALL if key in raw},
        raw.get("event_names", {}),
        tuple(raw.get("clicks", ())),
        raw.get("moment"),
        raw.get("oauth", False),
        raw.get("rate"),
        raw.get("net_of_tax", False),
        (answer.get("status", 200), answer.get("body", '{"success":true}')),
    )


def _parameter(name: str, table: Mapping[str, Any]) -> Parameter:
    default = table.get("default")
    is_required = default is None and not table.get("optional", False)
    says, unless = table.get("says", "is not valid"), table.get("unless")
    return Parameter(
        name, table["example"], default, is_required, table.get("pattern"), says, unless, table.get("wanted", False)
    )


def define_preset(
    chosen: Preset, tables: Mapping[str, Any], parameters: Mapping[str, str], clicks: Collection[str]
) -> tuple[Definition, list[Mistake]]:
    """The template with what a destination's table says of it. Parameters that are not given are examples."""
    values = {p.name: p.value for p in chosen.parameters.values() if not p.secret}
    return define(
        chosen.with_tables(tables),
        name=chosen.name,
        parameters=values | dict(parameters),
        secrets=chosen.secrets,
        clicks=(*clicks, *chosen.clicks),
        event_names=chosen.event_names,
    )


def make_preset(name: str, options: Options) -> Format:
    """Raises ValueError if the destination's own tables have a mistake."""
    chosen = preset(name)
    definition, mistakes = define_preset(chosen, options.template, options.parameters, options.clicks)
    if mistakes:
        raise ValueError(mistakes[0].text)
    return Shipped(definition, options.event_names, answer=chosen.answer)
