"""The environment variables that configure the bridge, with their types and defaults."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import SettingsConfigDict

from app.config.alert_settings import AlertSettings
from app.config.oidc import OidcVariables
from app.config.setting_types import (
    ApiToken,
    BaseUrl,
    BearerToken,
    DatabaseUrl,
    DestinationUrl,
    EncryptionKeys,
    FormatName,
    Host,
    InAnyCase,
    Networks,
    OwnToken,
    PhoneRegion,
    RedisUrl,
    SaleEvents,
    Schedule,
    StripeApiKey,
    WebUrl,
)


class Variables(OidcVariables, AlertSettings):
    """The environment variables of docs/settings.md; a test compares the two."""

    model_config = SettingsConfigDict(frozen=True, hide_input_in_errors=True, extra="ignore", env_ignore_empty=True)

    bridge_home: Path = Path("var")
    bridge_config: Path | None = None
    database_url: DatabaseUrl | None = None
    database_pool_size: int = Field(4, ge=1, le=200)
    database_pool_max: int = Field(20, ge=1, le=1000)
    redis_url: RedisUrl | None = None
    host: Host = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65535)
    public_url: BaseUrl | None = None
    trusted_proxies: Networks | None = None
    web_processes: int = Field(1, ge=1, le=64)
    web_threads: int = Field(32, ge=1, le=256)
    stripe_api_key: StripeApiKey | None = None
    stripe_api_base: WebUrl | None = None
    stripe_sale_events: SaleEvents = "checkout,invoice"
    stripe_allow_test_events: bool | None = None
    stripe_reference: Literal["customer", "ignore"] = "customer"
    stripe_hold: float = Field(20, ge=0, le=3600)
    stripe_lead_once: bool = False
    net_of_tax: bool = False
    phone_region: PhoneRegion | None = None
    require_click_id: bool = False
    destination_url: DestinationUrl | None = None
    destination_token: BearerToken | None = None
    destination_format: FormatName = "events"
    destination_amount_unit: Literal["major", "minor"] = "major"
    destination_concurrency: int = Field(32, ge=1, le=1000)
    destination_rate: float | None = Field(None, gt=0, le=1_000_000)
    destination_timeout: float = Field(10, gt=0, le=120)
    destination_allow_private: bool = False
    destination_traceparent: bool = False
    stop_seconds: float | None = Field(None, ge=0, le=60)
    outbound_proxy: SecretStr | None = None
    sandbox: bool = False
    retry_schedule: Schedule = "5,30,120,600,3600,10800,21600,43200,86400"
    hold_seconds: float = Field(900, ge=0, le=2_592_000)
    dashboard_password: SecretStr | None = Field(None, min_length=8)
    dashboard_viewer_password: SecretStr | None = Field(None, min_length=8)
    api_token: ApiToken | None = None
    secret_key: SecretStr | None = Field(None, min_length=16)
    encryption_key: EncryptionKeys | None = None
    metrics_token: OwnToken | None = None
    quarantine_rows: int = Field(1000, ge=0, le=100_000)
    quarantine_mb: int = Field(64, ge=0, le=100_000)
    log_level: Annotated[Literal["debug", "info", "warning", "error"], InAnyCase] = "info"
    log_format: Annotated[Literal["text", "json"] | None, InAnyCase] = None

    @model_validator(mode="after")
    def _has_token(self) -> "Variables":
        if self.destination_url and self.destination_token is None:
            raise ValueError("DESTINATION_URL is set: set DESTINATION_TOKEN too")
        return self
