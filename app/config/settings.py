"""All configuration, read once from the environment (and bridge.toml), frozen, and checked before anything starts."""

import os
import re
from collections.abc import Mapping, MutableMapping
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pydantic import PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from app.config.bridge_toml import (
    AlertTable,
    AttributionTable,
    RetentionTable,
    deferred_leads,
    read_config,
    read_retention,
    read_table,
    read_test_events,
)
from app.config.destinations import DestinationTable, RouteTable, read_main, read_tables
from app.config.env_file import load_env_file
from app.config.generated_secrets import GENERATED, read_made_up_secrets
from app.config.proxies import Proxies
from app.config.secret_files import read_secret, read_secrets, source_secret_names
from app.config.setting_types import names, networks, web_url
from app.config.shapes import bearer_token
from app.config.variables import Variables
from app.config.wording import variable_problems
from app.errors import ConfigurationError
from app.model import Rules


class Settings(Variables):
    """The variables, and what follows from them and from bridge.toml."""

    _source_secrets: dict[str, str] = PrivateAttr(default_factory=dict)
    _environment: Mapping[str, str] = PrivateAttr(default_factory=dict)
    _generated: frozenset[str] = PrivateAttr(default_factory=frozenset)
    """Variables of sources whose value `bridge up` generated for sandbox mode."""

    @property
    def is_sandbox(self) -> bool:
        """No destination is configured: what is sent goes to the bridge's own."""
        return self.destination_url is None and not self.config.get("destinations")

    @cached_property
    def main_route(self) -> RouteTable:
        """[destinations.main] beside DESTINATION_URL. Raises ConfigurationError."""
        if self.destination_url is None:
            return RouteTable()
        return read_main(self.config, self.config_path, self.destination_format, self.attribution.click_names)

    @cached_property
    def destination_tables(self) -> Mapping[str, DestinationTable]:
        """The destinations of bridge.toml by name. Raises ConfigurationError."""
        has_main, clicks = self.destination_url is not None, self.attribution.click_names
        return read_tables(self.config, self.config_path, has_main=has_main, clicks=clicks)

    def token_of(self, name: str) -> str:
        """The bearer token of a destination of bridge.toml, out of the variable that it names; "" where it names none, as a
        template may. Raises ConfigurationError."""
        variable = self.destination_tables[name].token_env
        if variable is None:
            return ""
        try:
            return bearer_token(self.named_secret(variable, f"{name}.token_env"))
        except ValueError as error:
            where = f"{self.config_path}: destinations.{name}.token_env"
            raise ConfigurationError(f"{where}: the variable {variable} {error}") from None

    def named_secret(self, variable: str, key: str) -> str:
        """The secret of a variable that the table of a destination names with `key`. Raises ConfigurationError."""
        secret = self.secret(variable)
        if not secret:
            raise ConfigurationError(f"{self.config_path}: destinations.{key}: the variable {variable} is not set")
        return secret

    def secret_name_of(self, name: str) -> str:
        """The variable of the token, or of what stands for it, of a destination: for people."""
        table = self.destination_tables.get(name)
        return "DESTINATION_TOKEN" if table is None else next(iter(table.variables), f"destinations.{name}")

    @property
    def destination_variables(self) -> set[str]:
        """Every variable that a table of a destination names. Raises ConfigurationError."""
        tables = (*self.destination_tables.values(), self.main_route)
        return {variable for table in tables for variable in table.variables}

    @cached_property
    def proxies(self) -> Proxies:
        """Which outgoing connections use a proxy (OUTBOUND_PROXY). Raises ConfigurationError."""
        setting = None if self.outbound_proxy is None else self.outbound_proxy.get_secret_value().strip()
        try:
            return Proxies(setting, self._environment)
        except ValueError as error:
            raise ConfigurationError(str(error)) from None

    @property
    def ledger_url(self) -> str:
        if self.database_url:
            return self.database_url.get_secret_value()
        return f"sqlite:///{quote(str(self.bridge_home.resolve() / 'ledger.db'))}"

    @property
    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Whose X-Forwarded-For is believed (TRUSTED_PROXIES)."""
        return networks(self.trusted_proxies or "")

    @property
    def schedule_seconds(self) -> tuple[float, ...]:
        return tuple(float(part) for part in self.retry_schedule.split(","))

    @property
    def own_url(self) -> str:
        """Where this bridge's web answers on this machine."""
        host = self.own_host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def own_host(self) -> str:
        """The address under which this machine reaches what listens on HOST."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound

    @property
    def config_path(self) -> Path:
        return self.bridge_config or Path("bridge.toml")

    @cached_property
    def attribution(self) -> AttributionTable:
        """The table [attribution] of bridge.toml, with the contract's defaults. Raises ConfigurationError."""
        return read_table(AttributionTable, self.config, self.config_path, "attribution")

    @cached_property
    def alerts(self) -> AlertTable:
        """The table [alerts] of bridge.toml. Raises ConfigurationError."""
        return read_table(AlertTable, self.config, self.config_path, "alerts")

    @property
    def alert_url(self) -> str | None:
        """Where alerts are posted; None if no such URL is set. Raises ConfigurationError if it is none."""
        variable = self.alerts.url_env
        from_environment = self.alert_webhook_url.get_secret_value() if self.alert_webhook_url else ""
        url = from_environment if variable == "ALERT_WEBHOOK_URL" else self.secret(variable)
        try:
            return web_url(url) if url else None
        except ValueError as error:
            raise ConfigurationError(f"{variable}: {error}") from None

    @cached_property
    def retention(self) -> RetentionTable:
        """The table [retention] of bridge.toml, with its defaults. Raises ConfigurationError."""
        return read_retention(self.config, self.config_path)

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """bridge.toml as it is, or {}. Raises ConfigurationError if it cannot be read."""
        return read_config(self.config_path, is_named=self.bridge_config is not None)

    @cached_property
    def rules(self) -> Rules:
        """How bodies are read."""
        others = Rules(
            reference_names_customer=self.stripe_reference == "customer",
            sale_events=frozenset(names(self.stripe_sale_events)),
            net_of_tax=self.net_of_tax,
            accept_test_events=self.is_sandbox,
            test_events=read_test_events(self._environment, stripe=self.stripe_allow_test_events),
            looks_up_persons=self.stripe_api_key is not None,
            phone_region=self.phone_region,
        )
        return self.attribution.applied_to(others)

    @property
    def deferred(self) -> Mapping[str, frozenset[str]]:
        """Sources with lead_mode = "deferred" in bridge.toml, each with those whose conversions verify it (verified_by)."""
        return deferred_leads(self.config, self.config_path)

    def secret(self, variable: str) -> str:
        """The secret of a variable that bridge.toml names, or of its file; "" where neither is set. Raises ConfigurationError."""
        return read_secret(self._environment, variable).strip()

    @property
    def source_secrets(self) -> Mapping[str, str]:
        """The variables <SOURCE>_WEBHOOK_SECRET and <SOURCE>_PATH_TOKEN as they are set."""
        return self._source_secrets

    def secrets_of(self, source: str) -> tuple[str, ...]:
        """The signing secrets of a source (<SOURCE>_WEBHOOK_SECRET), several while rotating; () where none is configured."""
        return split_secrets(self._source_secrets.get(f"{variable_of(source)}_WEBHOOK_SECRET", ""))

    def opens(self, source: str) -> bool:
        """Whether a source has a secret or a token, so that its webhooks are taken."""
        return bool(self.secrets_of(source) or self.path_tokens_of(source))

    def is_generated(self, source: str) -> bool:
        """Whether `bridge up` generated the secret of this source for sandbox mode, so that no provider knows it."""
        return f"{variable_of(source)}_WEBHOOK_SECRET" in self._generated

    def path_tokens_of(self, source: str) -> tuple[str, ...]:
        """The URL tokens of a source that does not sign (<SOURCE>_PATH_TOKEN)."""
        tokens = split_secrets(self._source_secrets.get(f"{variable_of(source)}_PATH_TOKEN", ""))
        for token in tokens:
            if len(token) < 16 or not re.fullmatch(r"[A-Za-z0-9_-]+", token):
                raise ConfigurationError(
                    f"{variable_of(source)}_PATH_TOKEN must be 16 or more of A-Z, a-z, 0-9, - and _: it is the only guard"
                )
        return tokens


class _Given(Settings):
    """Settings of exactly the values that it is called with."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def load_settings(environment: MutableMapping[str, str] | None = None) -> Settings:
    """Reads bridge.env, the environment, the files of secrets, and for those that are not set what `bridge up` generated.

    environment: instead of that of this process. Raises ConfigurationError that names each wrong variable, never its value.
    """
    variables = os.environ if environment is None else environment
    load_env_file(variables)
    named = {name.lower(): value for name, value in variables.items() if value}
    values: dict[str, Any] = {name: named[name] for name in Settings.model_fields if name in named}
    generated = read_made_up_secrets(Path(variables.get("BRIDGE_HOME") or "var"))
    values = {name.lower(): value for name, value in generated.items() if name in GENERATED} | values
    secrets, problems = read_secrets(variables, SECRET_VARIABLES)
    values |= {name.lower(): value for name, value in secrets.items()}
    try:
        settings = _Given(**values)
    except ValidationError as error:
        raise ConfigurationError("; ".join(problems + variable_problems(error))) from None
    source_secrets, more = read_secrets(variables, source_secret_names(variables))
    if problems or more:
        raise ConfigurationError("; ".join(problems + more))
    settings._environment = dict(variables)
    if settings.is_sandbox:
        settings._source_secrets |= {name: generated[name] for name in source_secret_names(generated)}
    settings._generated = frozenset(settings._source_secrets) - frozenset(source_secrets)
    settings._source_secrets |= source_secrets
    return settings


SECRET_VARIABLES = tuple(
    name.upper() for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)
)
"""Those whose value may stand in a file, named by NAME_FILE."""


def variable_of(source: str) -> str:
    """STRIPE for stripe: how a source's name begins its variables."""
    return re.sub(r"[^A-Z0-9]", "_", source.upper())


def split_secrets(text: str) -> tuple[str, ...]:
    """Secrets between commas; \\, is a comma that belongs to one. Supabase writes "v1,whsec_…", several joined by |: that comma
    separates nothing."""
    if "v1,whsec_" in text:
        text = text.replace("v1,whsec_", "whsec_").replace("|", ",")
    parts = (part.replace("\\,", ",").strip() for part in re.split(r"(?<!\\),", text))
    return tuple(part for part in parts if part)
