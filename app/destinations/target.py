"""The destinations that the settings name, and sending conversions to one of them."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from app.config.destinations import MAIN, SANDBOX, RouteTable
from app.config.settings import Settings
from app.destinations.connect import Endpoint, Resolver, is_private, tls_context
from app.destinations.credentials import MASK, NO_CREDENTIALS, Credentials, credentials_of, signed
from app.destinations.formats.base import Format, HttpRequest, Options, Sent, Verdict
from app.destinations.formats.registry import format_of
from app.destinations.http import Answer, Client
from app.destinations.oauth import AccessTokens, Refused
from app.errors import ConfigurationError
from app.model import DeliveryKind

USER_AGENT = "conversion-bridge/0.1"
UNAUTHORIZED, GONE = 401, 410
STOP_MARGIN_SECONDS = 2.0
LONGEST_STOP_SECONDS = 60.0
LEAVE = "set DESTINATION_ALLOW_PRIVATE=1 if that is meant"


@dataclass(frozen=True, slots=True)
class Destination:
    """Who we send to. `url` is the base to which the format appends its path; timeout_seconds bounds a whole request."""

    name: str
    url: str
    token: str
    format: Format
    timeout_seconds: float = 10
    concurrency: int = 32
    rate: float | None = None
    allow_private: bool = False
    leave: str = LEAVE
    """What to set where a private address is meant."""
    proxy: str | None = None
    """The URL of the HTTP proxy that leads to it."""
    credentials: Credentials = NO_CREDENTIALS
    """What its requests carry beside the token."""

    net_of_tax: bool = False
    """It is sent amounts without tax."""
    is_shadow: bool = False
    """What would be sent is recorded, and nothing is."""

    @property
    def token_print(self) -> str:
        """A fingerprint of URL, token and other secrets: says whether any of them changed, and nothing else."""
        whole = "\n".join((self.url, self.token, *self.credentials.values))
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def request(
        self,
        kind: DeliveryKind,
        payload: str,
        key: str,
        now: datetime,
        remembered: str | None = None,
        *,
        access_token: str = "",
    ) -> HttpRequest:
        """The request of one attempt at `now`. remembered: as for Format.next_request. access_token: instead of the token."""
        wire = self.format.with_secrets(self.credentials.secrets)
        asked = wire.next_request(kind, payload, key, access_token or self.token, now, remembered)
        return signed(asked, key, self.credentials.signing, now)

    def shown_request(
        self, kind: DeliveryKind, payload: str, key: str, now: datetime, token: str = MASK
    ) -> HttpRequest:
        """The same for people: with masks instead of secrets."""
        masks = dict.fromkeys(self.credentials.secrets, MASK)
        wire = self.format.with_secrets(masks, is_masked=True)
        has_token = bool(self.token or self.credentials.oauth)
        asked = wire.request(kind, payload, key, token if has_token else "", now)
        return (
            replace(asked, headers={**asked.headers, "webhook-signature": MASK}) if self.credentials.signing else asked
        )

    @property
    def path(self) -> str:
        """The path of `url`, as a request line can carry it, without a slash at its end."""
        return quote(urlsplit(self.url).path.rstrip("/"), safe="/%:@!$&'()*+,;=~")

    def verdict(self, answer: Answer, sent: Sent) -> Verdict:
        """What an answer means. By Standard Webhooks, 410 says that an endpoint is gone for good."""
        if answer.status == GONE and self.credentials.signing:
            return Verdict("unauthorized", "answered 410: this endpoint is gone")
        return self.format.verdict(answer, sent)

    def url_of(self, kind: DeliveryKind) -> str:
        """Where a conversion of this kind is sent."""
        return self.url + self.shown_request(kind, "{}", "", datetime.now(UTC)).path

    def endpoint(self) -> Endpoint:
        """Where to connect. Loads the list of certificates where it is https."""
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        host = parts.hostname
        with suppress(
            UnicodeError
        ):  # a name that cannot be encoded cannot be resolved either, which says what is wrong
            host = host if host.isascii() else host.encode("idna").decode()
        is_tls = parts.scheme == "https"
        port = parts.port or (443 if is_tls else 80)
        return Endpoint(host, port, tls_context() if is_tls else None, self.allow_private, self.leave, self.proxy)


class DestinationClient:
    """Sends payloads to one destination over kept-alive connections. For one event loop; `resolver` may be shared."""

    def __init__(self, destination: Destination, resolver: Resolver | None = None) -> None:
        self._destination = destination
        self._path = destination.path
        self._client = Client(destination.endpoint(), destination.timeout_seconds, resolver)
        oauth = destination.credentials.oauth
        self._tokens = AccessTokens(oauth, destination.timeout_seconds, resolver) if oauth else None

    async def send(
        self,
        kind: DeliveryKind,
        payload: str,
        key: str,
        now: datetime,
        remembered: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends `payload`, to the byte, in the next request of the destination's format. Any status is an Answer. headers: beside
        those of the format.

        Raises AnswerLost if the destination may have taken it, TransientDeliveryError where it certainly has not.
        """
        if self._tokens is None:
            return await self._send(self._destination.request(kind, payload, key, now, remembered), headers)
        token = ""
        try:
            for _ in range(2):  # one that is not accepted may have been taken back before its time
                token = await self._tokens.token(instead_of=token)
                asked = self._destination.request(kind, payload, key, now, remembered, access_token=token)
                answer = await self._send(asked, headers)
                answer = replace(answer, body=answer.body.replace(token.encode(), MASK.encode()))
                if answer.status != UNAUTHORIZED:
                    break
        except Refused as refused:
            return refused.answer
        return answer

    async def _send(self, asked: HttpRequest, more: Mapping[str, str] | None) -> Answer:
        headers = {"User-Agent": USER_AGENT, **(more or {}), **asked.headers}
        return await self._client.request(asked.method, self._path + asked.path, headers, asked.body)

    def close(self) -> None:
        """Closes idle connections. Idempotent."""
        self._client.close()
        if self._tokens is not None:
            self._tokens.close()


def destinations_of(settings: Settings) -> list[Destination]:
    """Who receives conversions: the one of DESTINATION_URL and those of bridge.toml; with none of either, the bridge's own
    sandbox. Raises ConfigurationError."""
    destinations, formats = [], formats_of(settings)
    if settings.is_sandbox:
        if settings.secret_key is None:
            raise ConfigurationError("set DESTINATION_URL, or SECRET_KEY for the sandbox (`bridge up` generates one)")
        token = sandbox_token(settings.secret_key.get_secret_value())
        destinations.append(
            _of_variables(settings, SANDBOX, formats, f"{settings.own_url}/sandbox", token, allow_private=True)
        )
    elif settings.destination_url is not None:
        assert settings.destination_token is not None
        allow = settings.destination_allow_private
        _check_public(settings.destination_url, allow, "DESTINATION_URL", LEAVE)
        token = settings.destination_token.get_secret_value()
        destinations.append(
            _of_variables(settings, MAIN, formats, settings.destination_url, token, allow_private=allow)
        )
    for name, table in settings.destination_tables.items():
        credentials = credentials_of(settings, name, table)
        url = credentials.url if credentials.url and not table.template.has_url else table.url
        where = f"{settings.config_path}: destinations.{name}"
        leave = f"set destinations.{name}.allow_private = true if that is meant"
        _check_public(url, table.allow_private, f"{where}.url", leave)
        destinations.append(
            Destination(
                name,
                url,
                settings.token_of(name),
                formats[name],
                table.timeout,
                table.concurrency,
                table.rate,
                table.allow_private,
                leave,
                settings.proxies.of(url),
                credentials,
                net_of_tax=is_net(settings, table),
                is_shadow=table.mode == "shadow",
            )
        )
    return destinations


def formats_of(settings: Settings) -> dict[str, Format]:
    """The format of each destination, by its name; needs no token. Raises ConfigurationError."""
    by_name, clicks = {}, settings.attribution.click_names
    if settings.is_sandbox or settings.destination_url is not None:
        name = SANDBOX if settings.is_sandbox else MAIN
        options = Options(settings.destination_amount_unit, settings.main_route.event_names, clicks=clicks)
        by_name[name] = _format(settings.destination_format, options, settings.main_route, has_token=True)
    for name, table in settings.destination_tables.items():
        options = Options(table.amount_unit, table.event_names, clicks=clicks)
        has_token = table.token_env is not None
        by_name[name] = _format(table.format, options, table, has_token=has_token)
    return by_name


def _format(named: str, options: Options, table: RouteTable, *, has_token: bool) -> Format:
    return format_of(named, table.template.options(options, has_token=has_token))


def is_net(settings: Settings, table: RouteTable) -> bool:
    """Whether a destination is sent amounts without tax."""
    return settings.net_of_tax if table.net_of_tax is None else table.net_of_tax


def live_names(destinations: Sequence[Destination]) -> list[str]:
    """Of those that are sent something."""
    return [destination.name for destination in destinations if not destination.is_shadow]


def default_stop_seconds(destinations: Sequence[Destination]) -> float:
    """How long a stop waits for what is in flight, unless STOP_SECONDS says so: as long as a request may take, and a bit."""
    longest = max((destination.timeout_seconds for destination in destinations), default=0.0)
    return min(longest + STOP_MARGIN_SECONDS, LONGEST_STOP_SECONDS)


def stop_seconds_of(settings: Settings) -> float:
    """STOP_SECONDS or its default. Raises ConfigurationError."""
    configured = settings.stop_seconds
    return default_stop_seconds(destinations_of(settings)) if configured is None else configured


def _of_variables(
    settings: Settings, name: str, formats: Mapping[str, Format], url: str, token: str, *, allow_private: bool
) -> Destination:
    """The one destination that the variables DESTINATION_… describe."""
    return Destination(
        name,
        url,
        token,
        formats[name],
        settings.destination_timeout,
        settings.destination_concurrency,
        settings.destination_rate,
        allow_private,
        proxy=settings.proxies.of(url),
        credentials=credentials_of(settings, name, settings.main_route, token),
        net_of_tax=is_net(settings, settings.main_route),
        is_shadow=settings.main_route.mode == "shadow",
    )


def _check_public(url: str, allow_private: bool, where: str, leave: str) -> None:
    host = urlsplit(url).hostname or ""
    if not allow_private and (host == "localhost" or is_private(host)):
        raise ConfigurationError(f"{where} points at {host}, a private address: {leave}")


def sandbox_token(secret_key: str) -> str:
    """The bearer token of the bridge's own sandbox: web and workers both derive it."""
    return hashlib.sha256(b"sandbox:" + secret_key.encode()).hexdigest()
