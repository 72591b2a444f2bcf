"""What REDIS_URL means: a server, or the master that Sentinels name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

PLAIN = ("redis://", "rediss://", "unix://")
SENTINEL = ("sentinel://", "redis+sentinel://", "rediss+sentinel://")
SENTINEL_PORT = 26379
FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS = (*FILES, "ssl_keyfile_password", "ssl_cert_reqs", "ssl_check_hostname")
OF_SENTINELS = ("sentinel_username", "sentinel_password")
KNOWN = frozenset({"db", "username", "password", "client_name", "protocol", *TLS})


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The Sentinels of a URL, and the master that they watch. options: for connections to it; own: for those to them."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    options: Mapping[str, object] = field(repr=False)
    own: Mapping[str, object] = field(repr=False)


def check_redis_url(url: str) -> str:
    """`url`. Raises ValueError in words that show none of it."""
    if url.startswith(SENTINEL):
        read_sentinels(url)
        return url
    if not url.startswith(PLAIN):
        raise ValueError(f"must begin with {', '.join((*PLAIN, *SENTINEL[1:]))} or {SENTINEL[0]}")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("its host or port cannot be read") from None
    _options(parts.query, is_tls=url.startswith("rediss:"), known=KNOWN)
    return url


def read_sentinels(url: str) -> Sentinels:
    """The parts of sentinel://[user:password@]host:port,host:port/master/db?option=value. Raises ValueError."""
    scheme, _, rest = url.partition("://")
    is_tls = scheme.startswith("rediss")
    address, _, query = rest.partition("?")
    address, _, path = address.partition("/")
    login, _, hosts = address.rpartition("@")
    username, _, password = login.partition(":")
    service, _, database = path.strip("/").partition("/")
    if not service:
        raise ValueError("must name the master that the Sentinels watch: sentinel://host1,host2/mymaster/0")
    if database and not database.isdigit():
        raise ValueError("must end in the number of a database, such as /mymaster/0")
    options = _options(query, is_tls=is_tls, known=KNOWN | set(OF_SENTINELS))
    own: dict[str, object] = {name: options[name] for name in TLS if name in options}
    for name in OF_SENTINELS:
        if name in options:
            own[name.removeprefix("sentinel_")] = options.pop(name)
    if is_tls:
        own["ssl"] = options["ssl"] = True
    options |= {name: unquote(value) for name, value in (("username", username), ("password", password)) if value}
    options["db"] = int(database or str(options.get("db", "0")))
    return Sentinels(tuple(_host(host) for host in hosts.split(",")), unquote(service), options, own)


def _host(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text.strip()}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host:
        raise ValueError(
            "the host or port of a Sentinel cannot be read: separate them by commas, as in host1:26379,host2:26379"
        )
    return host, port or SENTINEL_PORT


def _options(query: str, *, is_tls: bool, known: frozenset[str] | set[str]) -> dict[str, object]:
    options: dict[str, object] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            continue
        if name in TLS and not is_tls:
            raise ValueError(f"has {name}, and that is for TLS: begin it with rediss:// or rediss+sentinel://")
        if name in FILES and not Path(value).is_file():
            raise ValueError(f"{name}: there is no file {value}")
        options[name] = value.lower() in ("1", "true", "yes") if name == "ssl_check_hostname" else value
    return options
