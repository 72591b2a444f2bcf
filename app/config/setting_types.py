"""The types of settings: each checks its value when it is read and says in plain words what it has to be."""

import base64
import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from app.config.addresses.redis import check_redis_url
from app.config.sections.marks import Value
from app.config.shapes import bearer_token, own_token, stripe_api_key
from app.destinations.formats.registry import FORMATS

APPENDED = ("/track/sale", "/track/lead")
SALE_EVENTS = ("checkout", "invoice", "payment_intent", "charge")
ENCRYPTION_KEY_BYTES = 32
LONGEST_DELAY = 2_592_000
REGION_HINTS = {"UK": "GB", "EN": "GB", "EL": "GR"}


def web_url(value: str) -> str:
    """`value` without a slash at its end. Raises ValueError unless it is a URL that can be posted to; never shows it."""
    value = value.strip()
    if any(character.isspace() or not character.isprintable() for character in value):
        raise ValueError("has a space or line break inside")
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:  # its text shows what could not be read, which may be a password
        raise ValueError("its host or port cannot be read") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be a URL that begins with https:// (or http://), without quotes")
    if parts.username or parts.password:
        raise ValueError("must not hold a user name or password")
    return value.rstrip("/")


def base_url(value: str) -> str:
    """The same, of a URL that paths are appended to."""
    if "?" in value or "#" in value:
        raise ValueError("must hold no ? and no #: paths are appended to it")
    return web_url(value)


def destination_url(value: str) -> str:
    """`value`, a web_url. Raises ValueError if it ends in a path that is appended to every destination's URL."""
    path = urlsplit(value).path.rstrip("/").lower()
    ending = next((suffix for suffix in APPENDED if path.endswith(suffix)), None)
    if ending is not None:
        raise ValueError(f"must be the base URL: remove {ending} from its end, which is appended by itself")
    return value


def format_name(name: str) -> str:
    """`name`, of a destination's format. Raises PydanticCustomError, as pydantic does for a Literal."""
    if name not in FORMATS:
        *first, last = [repr(known_name) for known_name in FORMATS]
        raise PydanticCustomError("literal_error", "must be {expected}", {"expected": f"{', '.join(first)} or {last}"})
    return name


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Raises ValueError."""
    return tuple(ip_network(name, strict=False) for name in names(text))


def names(text: str) -> list[str]:
    """What stands between commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def variable_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        raise ValueError("must be the name of an environment variable, such as WAREHOUSE_TOKEN")
    return value


def _database_url(value: str) -> str:
    text = re.sub(r"^postgres(ql)?(\+\w+)?://", "postgresql://", value)
    if not text.startswith(("postgresql://", "sqlite:///")):
        raise ValueError("must begin with postgresql:// or sqlite:///")
    return text


def encryption_keys(text: str) -> tuple[bytes, ...]:
    """The keys of ENCRYPTION_KEY, the one that encrypts first. Raises ValueError."""
    keys = []
    for part in names(text):
        try:
            key = base64.b64decode(part.replace("-", "+").replace("_", "/"), validate=True)
        except ValueError:
            key = b""
        if len(key) != ENCRYPTION_KEY_BYTES:
            raise ValueError(
                "must be 32 random bytes in base64, as `openssl rand -base64 32` prints; several separated by commas"
            )
        keys.append(key)
    if len(set(keys)) != len(keys):
        raise ValueError("names a key twice")
    if not keys:
        raise ValueError("holds no key")
    return tuple(keys)


def _encryption_keys(value: str) -> str:
    encryption_keys(value)
    return value


def _networks(value: str) -> str:
    try:
        networks(value)
    except ValueError:
        raise ValueError("must be addresses or networks separated by commas, such as 10.0.0.0/8") from None
    return value


def _schedule(value: str) -> str:
    try:
        delays = [float(part) for part in value.split(",")]
    except ValueError:
        raise ValueError("must be seconds separated by commas, such as 5,30,120") from None
    if not delays or any(not 0 <= delay <= LONGEST_DELAY for delay in delays):
        raise ValueError(f"each delay must lie between 0 and {LONGEST_DELAY} seconds")
    return value


def _sale_events(value: str) -> str:
    if not names(value) or any(name not in SALE_EVENTS for name in names(value)):
        raise ValueError(f"knows only {', '.join(SALE_EVENTS)}")
    return value


def _phone_region(value: str) -> str:
    import phonenumbers

    region = value.strip().upper()
    if region not in phonenumbers.SUPPORTED_REGIONS:
        hint = REGION_HINTS.get(region, "DE")
        raise ValueError(f"must be a two-letter country code, such as {hint}")
    return region


def _host(value: str) -> str:
    """An address or name to listen on: [::1] as URLs write it is ::1."""
    host = value.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if re.search(r"[\s/*@\[\]]", host) or re.fullmatch(r"[^:]*:\d*", host) or not host:
        raise ValueError(
            "must be an address or host name alone, such as 127.0.0.1, 0.0.0.0 or :: (PORT is a setting of its own)"
        )
    return host


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def secret_type(check: Callable[[str], str]) -> AfterValidator:
    return AfterValidator(lambda value: SecretStr(check(value.get_secret_value())))


URL = Value("URL")
WebUrl = Annotated[str, AfterValidator(web_url), URL]
BaseUrl = Annotated[str, AfterValidator(base_url), URL]
FormatName = Annotated[str, AfterValidator(format_name), Value(", ".join(f"`{name}`" for name in FORMATS))]
DestinationUrl = Annotated[str, AfterValidator(base_url), AfterValidator(destination_url), URL]
SecretUrl = Annotated[SecretStr, secret_type(web_url), URL]
DatabaseUrl = Annotated[SecretStr, secret_type(_database_url), Value("`postgresql://…` or `sqlite:///path`")]
RedisUrl = Annotated[
    SecretStr, secret_type(check_redis_url), Value("`redis://…`, `rediss://…` (TLS), `unix://…` or `sentinel://…`")
]
BearerToken = Annotated[SecretStr, secret_type(bearer_token)]
OwnToken = Annotated[SecretStr, secret_type(own_token)]
EncryptionKeys = Annotated[
    SecretStr,
    secret_type(_encryption_keys),
    Value("keys of 32 bytes in base64 (`openssl rand -base64 32`), separated by commas"),
]
ApiToken = Annotated[SecretStr, Field(min_length=16), secret_type(own_token)]
StripeApiKey = Annotated[SecretStr, secret_type(stripe_api_key), Value("secret that begins with `sk_` or `rk_`")]
Networks = Annotated[
    str, AfterValidator(_networks), Value("addresses or networks, such as `10.0.0.0/8`, separated by commas")
]
Schedule = Annotated[
    str, AfterValidator(_schedule), Value(f"seconds, 0 to {LONGEST_DELAY:,} each, separated by commas")
]
SaleEvents = Annotated[
    str, AfterValidator(_sale_events), Value(f"{', '.join(f'`{name}`' for name in SALE_EVENTS)}, separated by commas")
]
PhoneRegion = Annotated[str, AfterValidator(_phone_region), Value("two-letter country code")]
Host = Annotated[str, AfterValidator(_host), Value("address or host name")]
VariableName = Annotated[str, AfterValidator(variable_name)]
InAnyCase = BeforeValidator(_lower)
