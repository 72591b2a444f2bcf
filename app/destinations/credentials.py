"""What the requests to a destination carry beside its token: secrets of a template or preset, and signatures."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import urlsplit

from app.config.destinations import SANDBOX, DestinationTable, RouteTable
from app.config.setting_types import web_url
from app.config.settings import Settings, split_secrets
from app.destinations.formats.base import HttpRequest, header_text
from app.destinations.formats.template.functions import MASK
from app.destinations.formats.template.shipped import preset, preset_names
from app.destinations.oauth import OAuth
from app.errors import ConfigurationError

SECRET_PREFIX = "whsec_"  # noqa: S105
SHORTEST_KEY, LONGEST_KEY = 24, 64
URL = "url"
"""A secret of this name is a whole URL, whose path is the secret."""

__all__ = ["MASK", "NO_CREDENTIALS", "Credentials", "credentials_of", "signed"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """secrets: by name. signing: keys by which requests are signed, all of them while one is changed. url: scheme and host of a
    URL that is a secret."""

    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    signing: tuple[bytes, ...] = field(default=(), repr=False)
    url: str | None = None
    oauth: OAuth | None = None
    """Where access tokens come from, which then stand for the token."""

    @property
    def values(self) -> tuple[str, ...]:
        """Every secret, as text."""
        access = (self.oauth.client_secret, self.oauth.refresh_token) if self.oauth else ()
        return (*(value for value in self.secrets.values() if value), *(key.hex() for key in self.signing), *access)


NO_CREDENTIALS = Credentials()


def credentials_of(settings: Settings, name: str, table: RouteTable, sandbox_token: str = "") -> Credentials:
    """Of the destination `name`; the sandbox's own are its token. Raises ConfigurationError."""
    if name == SANDBOX:
        named = settings.destination_format
        secrets = preset(named).secrets if named in preset_names() else ()
        return Credentials({name: f"/{sandbox_token}" if name == URL else sandbox_token for name in secrets})
    variables = table.template.variables
    access: OAuth | None = None
    values = {key: settings.named_secret(value, f"{name}.{key}_env") for key, value in variables.items()}
    base = None
    if table.template.oauth is not None:
        access = _access(settings, table, values)
        del values["client_secret"], values["refresh_token"]
    if URL in values:
        base, values[URL] = _parts(
            values[URL], f"{settings.config_path}: destinations.{name}.url_env: {variables[URL]}"
        )
    signing: tuple[bytes, ...] = ()
    if table.signature is not None:
        variable = table.signature.secret_env
        where = f"{name}.signature.secret_env"
        text = settings.named_secret(variable, where)
        location = f"{settings.config_path}: destinations.{where}: the variable {variable}"
        signing = tuple(_key(key, location) for key in split_secrets(text))
    return Credentials(values, signing, base, access)


def _access(settings: Settings, table: RouteTable, secrets: Mapping[str, str]) -> OAuth:
    assert table.template.oauth is not None
    url = table.template.oauth["token_url"]
    allow_private = table.allow_private if isinstance(table, DestinationTable) else settings.destination_allow_private
    return OAuth(
        url,
        table.template.oauth["client_id"],
        secrets["client_secret"],
        secrets["refresh_token"],
        settings.proxies.of(url),
        allow_private,
    )


def _parts(url: str, where: str) -> tuple[str, str]:
    """Scheme and host of a URL, and its path with the query."""
    try:
        parts = urlsplit(web_url(url))
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    return f"{parts.scheme}://{parts.netloc}", parts.path + (f"?{parts.query}" if parts.query else "")


def _key(secret: str, where: str) -> bytes:
    """The key of a secret as Standard Webhooks write it: base64 after whsec_. Raises ConfigurationError."""
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not secret.startswith(SECRET_PREFIX) or not SHORTEST_KEY <= len(key) <= LONGEST_KEY:
        raise ConfigurationError(
            f"{where}: must be whsec_ and then {SHORTEST_KEY} to {LONGEST_KEY} random bytes in base64;"
            " `openssl rand -base64 32` makes some"
        )
    return key


def signed(asked: HttpRequest, key: str, keys: Sequence[bytes], now: datetime) -> HttpRequest:
    """The request with the headers of Standard Webhooks, one signature for each of `keys`; as it is where there is none.

    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. The id is the delivery's key, the
    same at every attempt; the time is that of the attempt.
    """
    if not keys:
        return asked
    identity, timestamp = header_text(key), str(int(now.timestamp()))
    content = f"{identity}.{timestamp}.".encode() + asked.body
    signatures = (base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys)
    headers = {
        "webhook-id": identity,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
    return replace(asked, headers={**asked.headers, **headers})
