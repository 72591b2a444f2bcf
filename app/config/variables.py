"""The environment variables that configure the bridge, with their types and defaults, section by section."""

from pydantic_settings import SettingsConfigDict

from app.config.alert_settings import AlertSettings
from app.config.oidc import OidcVariables
from app.config.sections.login import LoginVariables
from app.config.sections.marks import RESTART
from app.config.sections.sending import DestinationVariables
from app.config.sections.sources import SourceVariables
from app.config.sections.state import MonitoringVariables, StateVariables, WebVariables


class Variables(
    StateVariables,
    WebVariables,
    SourceVariables,
    DestinationVariables,
    LoginVariables,
    OidcVariables,
    AlertSettings,
    MonitoringVariables,
):
    """All of them. docs/settings.md has the sections in this order."""

    model_config = SettingsConfigDict(
        frozen=True, hide_input_in_errors=True, extra="ignore", env_ignore_empty=True, use_attribute_docstrings=False
    )


SECTIONS = Variables.__bases__
NEEDS_RESTART = frozenset(name for name, field in Variables.model_fields.items() if RESTART in field.metadata)
"""Settings that a process reads once. A new value waits for its restart, and the rest is taken over."""
