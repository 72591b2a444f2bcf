"""The one setting that says whether outgoing connections use a proxy (OUTBOUND_PROXY)."""

from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import requests

FROM_ENVIRONMENT = "environment"


class Proxies:
    """Which proxy leads to a URL: none, the one of the setting, or what HTTP_PROXY, HTTPS_PROXY and NO_PROXY say.

    This machine itself is always reached directly. Raises ValueError, which names no password, where a proxy is not one that can
    be used.
    """

    def __init__(self, setting: str | None, environment: Mapping[str, str]) -> None:
        self._by_scheme: dict[str, str] = {}
        self._direct: tuple[str, ...] = ()
        if setting is None:
            return
        if setting != FROM_ENVIRONMENT:
            self._by_scheme = dict.fromkeys(("http", "https"), _checked(setting, "OUTBOUND_PROXY"))
            return
        variables = {name.lower(): value for name, value in environment.items() if value}
        for scheme in ("http", "https"):
            name = f"{scheme}_proxy" if f"{scheme}_proxy" in variables else "all_proxy"
            if name in variables:
                self._by_scheme[scheme] = _checked(variables[name], name.upper())
        self._direct = tuple(part.strip().lower() for part in variables.get("no_proxy", "").split(",") if part.strip())

    def of(self, url: str) -> str | None:
        """The proxy for `url`; None if it is reached directly."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if host == "localhost" or host.startswith("127.") or host == "::1" or self._is_direct(host, parts.port):
            return None
        return self._by_scheme.get(parts.scheme)

    def session(self, url: str) -> "requests.Session":
        """A session of requests to `url` that asks the environment for nothing: no proxy, password or list of certificates."""
        import requests  # 10 MB, which not every process needs

        session = requests.Session()
        session.trust_env = False
        if proxy := self.of(url):
            session.proxies = {urlsplit(url).scheme: proxy}
        return session

    def _is_direct(self, host: str, port: int | None) -> bool:
        for entry in self._direct:
            name, _, its_port = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
            name = name.lstrip("*").lstrip(".")
            if its_port and its_port != str(port):
                continue
            if entry == "*" or host == name or (name and host.endswith(f".{name}")):
                return True
            with suppress(ValueError):
                if ip_address(host) in ip_network(entry, strict=False):
                    return True
        return False


def _checked(url: str, where: str) -> str:
    text = url.strip() if "://" in url else f"http://{url.strip()}"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        raise ValueError(f"{where}: its host or port cannot be read") from None
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{where} must be an HTTP proxy, such as http://proxy.example:3128")
    return text
