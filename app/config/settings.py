"""All configuration, read once from the environment (and bridge.toml), frozen, and checked before anything starts."""

import os
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from pydantic import (
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.config.bridge_toml import AlertTable, AttributionTable, RetentionTable, deferred_leads, read_config, read_table
from app.config.destinations import DestinationTable, read_tables, web_url
from app.config.generated_secrets import GENERATED, read_made_up_secrets
from app.errors import ConfigurationError
from app.model import Rules

SALE_EVENTS = ("checkout", "invoice", "payment_intent", "charge")


class Settings(BaseSettings):
    """The environment variables of the README's table; a test holds the two together."""

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True, extra="ignore", env_ignore_empty=True)

    bridge_home: Path = Path("var")
    bridge_config: Path | None = None
    database_url: SecretStr | None = None
    redis_url: SecretStr | None = None
    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    public_url: str | None = None
    trusted_proxies: str | None = None
    web_processes: int = Field(1, ge=1, le=64)
    web_threads: int = Field(32, ge=1, le=256)
    stripe_api_key: SecretStr | None = None
    stripe_api_base: str | None = None
    stripe_sale_events: str = "checkout,invoice"
    stripe_allow_test_events: bool | None = None
    stripe_hold: float = Field(20, ge=0, le=3600)
    stripe_lead_once: bool = False
    net_of_tax: bool = False
    phone_region: str | None = Field(None, pattern="^[A-Z]{2}$")
    require_click_id: bool = False
    destination_url: str | None = None
    destination_token: SecretStr | None = None
    destination_format: Literal["events", "track", "dub"] = "events"
    destination_amount_unit: Literal["major", "minor"] = "major"
    destination_concurrency: int = Field(32, ge=1, le=512)
    destination_rate: float | None = Field(None, gt=0, le=1_000_000)
    destination_timeout: float = Field(10, gt=0, le=120)
    destination_allow_private: bool = False
    retry_schedule: str = "5,30,120,600,3600,10800,21600,43200,86400"
    hold_seconds: float = Field(900, ge=0, le=2_592_000)
    dashboard_password: SecretStr | None = Field(None, min_length=8)
    dashboard_viewer_password: SecretStr | None = Field(None, min_length=8)
    api_token: SecretStr | None = Field(None, min_length=16)
    secret_key: SecretStr | None = Field(None, min_length=16)
    metrics_token: SecretStr | None = None
    alert_webhook_url: SecretStr | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    _source_secrets: dict[str, str] = PrivateAttr(default_factory=dict)
    _environment: Mapping[str, str] = PrivateAttr(default_factory=dict)

    @field_validator("destination_url", "public_url", "stripe_api_base")
    @classmethod
    def _is_web_url(cls, value: str | None) -> str | None:
        return None if value is None else web_url(value)

    @field_validator("alert_webhook_url")
    @classmethod
    def _is_secret_url(cls, value: SecretStr | None) -> SecretStr | None:
        return None if value is None else SecretStr(web_url(value.get_secret_value().strip()))

    @field_validator("destination_url", "public_url")
    @classmethod
    def _is_base(cls, value: str | None) -> str | None:
        if value is not None and ("?" in value or "#" in value):
            raise ValueError("must hold no ? and no #: paths are appended to it")
        return value

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _is_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        text = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", value.get_secret_value())
        if not text.startswith(("postgresql://", "sqlite:///")):
            raise ValueError("must begin with postgresql:// or sqlite:///")
        return SecretStr(text)

    @field_validator("redis_url")
    @classmethod
    def _is_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        if value is not None and not _is_readable_url(value.get_secret_value()):
            raise ValueError("its host or port cannot be read")
        return value

    @field_validator("destination_token")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        """A line break from the file it was kept in would fail every request, with the token in the error's text."""
        if value is None:
            return None
        text = value.get_secret_value().strip()
        if not text or not (text.isascii() and text.isprintable()):
            raise ValueError("must be ASCII characters that a header can carry")
        return SecretStr(text)

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: str | None) -> str | None:
        try:
            _networks(value or "")
        except ValueError:
            raise ValueError("must be addresses or networks separated by commas, such as 10.0.0.0/8") from None
        return value

    @field_validator("retry_schedule")
    @classmethod
    def _is_schedule(cls, value: str) -> str:
        try:
            delays = [float(part) for part in value.split(",")]
        except ValueError:
            raise ValueError("must be seconds separated by commas, such as 5,30,120") from None
        if not delays or any(not 0 <= delay <= 2_592_000 for delay in delays):
            raise ValueError("each delay must lie between 0 and 2592000 seconds")
        return value

    @field_validator("stripe_sale_events")
    @classmethod
    def _are_sale_events(cls, value: str) -> str:
        names = _names(value)
        if not names or any(name not in SALE_EVENTS for name in names):
            raise ValueError(f"knows only {', '.join(SALE_EVENTS)}")
        return value

    @model_validator(mode="after")
    def _has_token(self) -> "Settings":
        if self.destination_url and self.destination_token is None:
            raise ValueError("DESTINATION_URL is set: set DESTINATION_TOKEN too")
        return self

    @property
    def is_sandbox(self) -> bool:
        """No destination is configured: what is sent goes to the bridge's own."""
        return self.destination_url is None and not self.config.get("destinations")

    @cached_property
    def destination_tables(self) -> Mapping[str, DestinationTable]:
        """The destinations of bridge.toml by name. Raises ConfigurationError."""
        return read_tables(self.config, self.config_path, has_main=self.destination_url is not None)

    def token_of(self, name: str) -> str:
        """The bearer token of a destination of bridge.toml, out of the variable that it names. Raises ConfigurationError."""
        variable = self.destination_tables[name].token_env
        where = f"{self.config_path}: destinations.{name}.token_env: the variable {variable}"
        token = self._environment.get(variable, "").strip()
        if not token:
            raise ConfigurationError(f"{where} is not set")
        if not (token.isascii() and token.isprintable()):
            raise ConfigurationError(f"{where} must hold ASCII characters that a header can carry")
        return token

    @property
    def ledger_url(self) -> str:
        if self.database_url:
            return self.database_url.get_secret_value()
        return f"sqlite:///{quote(str(self.bridge_home.resolve() / 'ledger.db'))}"

    @property
    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Whose X-Forwarded-For is believed (TRUSTED_PROXIES)."""
        return _networks(self.trusted_proxies or "")

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
        return "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host  # noqa: S104 - compared, not bound

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
        """Where alerts are posted; None where no such URL is set. Raises ConfigurationError where it is none."""
        variable = self.alerts.url_env
        given = self.alert_webhook_url.get_secret_value() if self.alert_webhook_url else ""
        url = (given if variable == "ALERT_WEBHOOK_URL" else self._environment.get(variable, "")).strip()
        try:
            return web_url(url) if url else None
        except ValueError as error:
            raise ConfigurationError(f"{variable}: {error}") from None

    @cached_property
    def retention(self) -> RetentionTable:
        """The table [retention] of bridge.toml. Raises ConfigurationError."""
        return read_table(RetentionTable, self.config, self.config_path, "retention")

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """bridge.toml as it is, or {}. Raises ConfigurationError where it cannot be read."""
        return read_config(self.config_path, is_named=self.bridge_config is not None)

    @cached_property
    def rules(self) -> Rules:
        """How bodies are read."""
        found = self.attribution
        prefixes = [(prefix, True) for prefix in found.reference_prefixes]
        prefixes += [(prefix, False) for prefix in found.reference_prefixes_cut]
        test_events = self.stripe_allow_test_events
        return Rules(
            click_id_names=found.click_id,
            customer_id_names=found.customer_id,
            reference_click_prefixes=tuple(prefixes),
            sale_events=frozenset(_names(self.stripe_sale_events)),
            net_of_tax=self.net_of_tax,
            accept_test_events=self.is_sandbox if test_events is None else test_events,
            looks_up_persons=self.stripe_api_key is not None,
            phone_region=self.phone_region,
        )

    @property
    def deferred(self) -> Mapping[str, frozenset[str]]:
        """Sources with lead_mode = "deferred" in bridge.toml, each with those whose conversions verify it (verified_by)."""
        return deferred_leads(self.config, self.config_path)

    def _keep_source_secrets(self, environment: Mapping[str, str]) -> None:
        for name, value in environment.items():
            if name.endswith(("_WEBHOOK_SECRET", "_PATH_TOKEN")) and value:
                self._source_secrets[name] = value

    def secrets_of(self, source: str) -> tuple[str, ...]:
        """The signing secrets of a source (<SOURCE>_WEBHOOK_SECRET), several while rotating; () where none is configured."""
        return split_secrets(self._source_secrets.get(f"{variable_of(source)}_WEBHOOK_SECRET", ""))

    def opens(self, source: str) -> bool:
        """Whether a source has a secret or a token, so that its webhooks are taken."""
        return bool(self.secrets_of(source) or self.path_tokens_of(source))

    def path_tokens_of(self, source: str) -> tuple[str, ...]:
        """The URL tokens of a source that does not sign (<SOURCE>_PATH_TOKEN)."""
        tokens = split_secrets(self._source_secrets.get(f"{variable_of(source)}_PATH_TOKEN", ""))
        for token in tokens:
            if len(token) < 16 or not re.fullmatch(r"[A-Za-z0-9_-]+", token):
                raise ConfigurationError(
                    f"{variable_of(source)}_PATH_TOKEN must be 16 or more of A-Z, a-z, 0-9, - and _: it is the only guard"
                )
        return tokens


def load_settings() -> Settings:
    """Reads the environment, and for secrets that are not there the file that `bridge up` made.

    Raises ConfigurationError that names each wrong variable, never its value.
    """
    made_up = read_made_up_secrets(Path(os.environ.get("BRIDGE_HOME") or "var"))
    defaults = {
        name.lower(): value for name, value in made_up.items() if name in GENERATED and not os.environ.get(name)
    }
    try:
        settings = Settings(**defaults)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = []
        for problem in error.errors(include_input=False, include_url=False):
            name = str(problem["loc"][0]).upper() + ": " if problem["loc"] else ""
            if problem["type"] == "too_short":
                problems.append(f"{name}must be {problem['ctx']['min_length']} characters or more")
            else:
                problems.append(name + problem["msg"].removeprefix("Value error, "))
        raise ConfigurationError("; ".join(problems)) from None
    settings._environment = dict(os.environ)
    if settings.is_sandbox:
        settings._keep_source_secrets(made_up)
    settings._keep_source_secrets(os.environ)
    return settings


def variable_of(source: str) -> str:
    """STRIPE for stripe: how a source's name begins its variables."""
    return re.sub(r"[^A-Z0-9]", "_", source.upper())


def split_secrets(text: str) -> tuple[str, ...]:
    """Secrets between commas. Supabase writes "v1,whsec_…", several joined by |: that comma separates nothing."""
    if "v1,whsec_" in text:
        text = text.replace("v1,whsec_", "whsec_").replace("|", ",")
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _is_readable_url(text: str) -> bool:
    """Whether host and port can be told. The errors of urlsplit show what they could not read, which may be a password."""
    try:
        _ = urlsplit(text).port
    except ValueError:
        return False
    return True


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Raises ValueError."""
    return tuple(ip_network(name, strict=False) for name in _names(text))


def _names(text: str) -> Iterable[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
