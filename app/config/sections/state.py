"""Where the ledger and the queue are, how the web listens, and what a process logs."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from app.config.sections.marks import MEGABYTES, RESTART, Section, Unset
from app.config.setting_types import BaseUrl, DatabaseUrl, EncryptionKeys, Host, InAnyCase, Networks, OwnToken, RedisUrl


class StateVariables(Section):
    """Ledger and queue"""

    bridge_home: Annotated[Path, RESTART] = Path("var")
    """The folder of the embedded state: ledger, Valkey's append-only file, generated secrets."""
    bridge_config: Annotated[Path | None, Unset("`./bridge.toml` if it exists")] = None
    """The TOML file for your own sources, field names, destinations, alerts and retention."""
    database_url: Annotated[DatabaseUrl | None, Unset("SQLite in BRIDGE_HOME"), RESTART] = None
    """The ledger. `postgres://` works too ([poolers and options](operations.md#postgresql))."""
    database_pool_size: Annotated[int, RESTART] = Field(4, ge=1, le=200)
    """Connections to the database that each process keeps open."""
    database_pool_max: Annotated[int, RESTART] = Field(20, ge=1, le=1000)
    """Connections that each process may have at once, for PostgreSQL. `bridge doctor` compares the sum with `max_connections`."""
    redis_url: Annotated[RedisUrl | None, Unset("embedded in `bridge up`"), RESTART] = None
    """Redis or Valkey for RQ ([Sentinel and TLS](operations.md#redis))."""
    encryption_key: Annotated[EncryptionKeys | None, Unset("off"), RESTART] = None
    """Encrypts bodies, payloads, answers and what names a person in the ledger ([encryption](operations.md#encryption-at-rest)).
    The first key encrypts; further ones only decrypt."""
    quarantine_rows: int = Field(1000, ge=0, le=100_000)
    """Refused requests that are kept for each source ([quarantine](operations.md#the-quarantine)); 0 keeps none."""
    quarantine_mb: Annotated[int, MEGABYTES] = Field(64, ge=0, le=100_000)
    """What the quarantine may hold, over all sources; 0 keeps none."""


class WebVariables(Section):
    """Web"""

    host: Annotated[Host, RESTART] = "127.0.0.1"
    """Where the web process listens."""
    port: Annotated[int, RESTART] = Field(8000, ge=0, le=65535)
    """The port that the web process listens on; 0 takes any free one."""
    public_url: BaseUrl | None = None
    """The bridge's public address; needed for signatures over URLs, secure cookies and links in alerts."""
    trusted_proxies: Networks | None = None
    """Your proxies. The bridge trusts `X-Forwarded-For` only from these, and uses it to rate-limit failed logins per client."""
    web_processes: Annotated[int, RESTART] = Field(1, ge=1, le=64)
    """Web processes; leave 1 on SQLite, use 2 or more on PostgreSQL."""
    web_threads: Annotated[int, RESTART] = Field(32, ge=1, le=256)
    """Threads of each web process for pages and API."""


class MonitoringVariables(Section):
    """Metrics and logs"""

    metrics_token: Annotated[OwnToken | None, Unset("open")] = None
    """Closes `/metrics`."""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], InAnyCase] = "info"
    """The least severe lines that are written."""
    log_format: Annotated[
        Literal["text", "json"] | None, InAnyCase, Unset("`text` on a terminal, else `json`"), RESTART
    ] = None
    """`text` for people or `json` for a log collector: one object on each line, tracebacks included."""
