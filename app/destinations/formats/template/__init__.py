"""Format `template`: requests that bridge.toml or a preset describes with jmespath expressions over the facts of a conversion."""

from app.destinations.formats.base import Format, Options
from app.destinations.formats.template.definition import define
from app.destinations.formats.template.format import Template

EVERYTHING = {"sale": {"path": "/sale"}, "lead": {"path": "/lead"}}
"""What the sandbox is sent, where there is no bridge.toml that says more: all facts."""


def make(options: Options) -> Format:
    """Raises ValueError if the template has a mistake."""
    definition, mistakes = define(options.template or EVERYTHING, secrets=options.secrets, clicks=options.clicks)
    if mistakes:
        raise ValueError(mistakes[0].text)
    return Template(definition, options.event_names)
