"""Receives webhooks: verify, map, record, nudge. When it returns, the event is on disk."""

import hmac
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from app.config.settings import Settings, variable_of
from app.config.shapes import secret_problems
from app.errors import ConfigurationError, SetupRequest, SeveralEvents, SignatureError, UnknownSource
from app.intake.marked_test import HEADER, accepting, as_test, is_marked
from app.ledger.recording.arrival import Arrival, Receipt
from app.model import Inbound, Rules
from app.sources.base import Source
from app.sources.signatures import spellings

SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
LONGEST_HEADER = 2000
TOKEN_PROBLEM = "the URL's token is missing or wrong"  # noqa: S105 - a sentence
SHORTEST_MASKED = 8
"""A shorter secret could be a word of the body."""


Configured = tuple[Source, tuple[str, ...], tuple[str, ...]]
"""A source with its signing secrets and its URL tokens."""


def configured_sources(settings: Settings, sources: Mapping[str, Source]) -> dict[str, Configured]:
    """The sources with a secret or token. Raises ConfigurationError if one is unusable."""
    configured = {}
    for name, source in sources.items():
        problem = next(source_problems(settings, source), None)
        if problem is not None:
            raise ConfigurationError(problem)
        secrets, tokens = settings.secrets_of(name), settings.path_tokens_of(name)
        if secrets or tokens:
            configured[name] = (source, secrets, tokens)
    return configured


def source_problems(settings: Settings, source: Source) -> Iterator[str]:
    """Why webhooks of `source` cannot be verified as configured. Each reason names the variable and what to set."""
    variable = variable_of(source.name)
    try:
        tokens = settings.path_tokens_of(source.name)
    except ConfigurationError as error:
        yield str(error)
        return
    secrets = settings.secrets_of(source.name)
    if secrets and not source.signed:
        if not tokens:
            yield (
                f"{variable}_WEBHOOK_SECRET: {source.title} does not sign its webhooks. Set {variable}_PATH_TOKEN instead, and"
                f" enter the URL /webhooks/{source.name}/<token> there"
            )
        return
    for problem in secret_problems(secrets, source.secret_prefix):
        yield f"{variable}_WEBHOOK_SECRET: {problem}"
        return
    for secret in secrets:
        try:
            source.sign(b"", secret, datetime.now(UTC))
        except ConfigurationError as error:
            yield f"{variable}_WEBHOOK_SECRET: {error}"
            return


class Intake:
    """Receives webhooks of all configured sources. `record` makes an Arrival durable and returns its Receipt, or raises
    LedgerUnavailable."""

    def __init__(
        self,
        settings: Settings,
        sources: Mapping[str, Source],
        record: Callable[[Arrival], Receipt],
    ) -> None:
        self._rules: Rules = settings.rules
        self._record = record
        self._sources = configured_sources(settings, sources)
        self._tested_before_setup = {name: source for name, source in sources.items() if source.is_tested_before_setup}
        self._masked = {
            name: tuple(spelling for secret in (*secrets, *tokens) for spelling in masked_spellings(secret))
            for name, (_, secrets, tokens) in self._sources.items()
        }

    @property
    def configured(self) -> tuple[str, ...]:
        """Names of the accepted sources."""
        return tuple(self._sources)

    def admit(self, name: str, token: str | None) -> Source:
        """The source in a request's URL. Raises UnknownSource, or SignatureError if the token is missing or wrong."""
        configured = self._sources.get(name)
        if configured is None:
            raise UnknownSource(f"no source called {name} is configured here", source=name)
        source, secrets, tokens = configured
        if tokens:
            presented = (token or "").encode("utf-8", "backslashreplace")
            if not any(hmac.compare_digest(presented, known.encode()) for known in tokens):
                raise SignatureError(
                    TOKEN_PROBLEM,
                    source=name,
                    reason="wrong" if token else "missing",
                    heals=False,  # nothing in the request proves who sent it, and the token that was given is not kept
                )
        elif token is not None:
            raise UnknownSource(f"{name} signs: its URL has no token", source=name)
        elif not (source.signed and secrets):
            raise UnknownSource(f"{name} does not sign: set {variable_of(name)}_PATH_TOKEN", source=name)
        return source

    def admit_body(self, name: str, token: str | None) -> None:
        """Raises, as `admit` does, where no body could make a request with this URL acceptable."""
        if name not in self._tested_before_setup:
            self.admit(name, token)

    def check(self, name: str, inbound: Inbound, token: str | None, now: datetime) -> Source:
        """The source of an authentic request. Raises UnknownSource, SignatureError, or SetupRequest for a ping."""
        if name not in self._sources:
            self._answer_early(name, inbound)
        source = self.admit(name, token)
        ping = source.setup_request(inbound)
        if ping:
            raise SetupRequest(ping, source=name)
        secrets = self._sources[name][1]
        if source.signed and secrets:
            source.verify(inbound, secrets, now)
        return source

    def _answer_early(self, name: str, inbound: Inbound) -> None:
        """Raises SetupRequest if a provider tests the URL before it shows the secret that the source needs."""
        source = self._tested_before_setup.get(name)
        ping = source.setup_request(inbound) if source else None
        if ping:
            raise SetupRequest(ping, source=name)

    def _without_secrets(self, name: str, inbound: Inbound) -> Inbound:
        """Before anything is mapped: some providers repeat the URL with its token, or a handshake key, in the body."""
        body = inbound.body
        for spelling in self._masked[name]:
            body = body.replace(spelling, b"***")  # the same object where there is none
        return inbound if body is inbound.body else replace(inbound, body=body)

    def take(
        self, name: str, inbound: Inbound, token: str | None, now: datetime, *, came_at: datetime | None = None
    ) -> Receipt:
        """Verifies, maps and records a request. Of several events, returns the receipt of the first conversion. Raises
        SourceError or LedgerUnavailable. Repeating it records a duplicate.

        came_at: when it came, where that was earlier: its signature's age is judged then, and what has no date gets this one.
        """
        try:
            return self._record(self.read(name, inbound, token, now, came_at))
        except SeveralEvents:
            source = self._sources[name][0]
        receipts = [self._record(self._arrival(name, part, token, now, came_at)) for part in source.split(inbound)]
        return next((part for part in receipts if part.outcome in ("sale", "lead")), receipts[0])

    def read(
        self, name: str, inbound: Inbound, token: str | None, now: datetime, came_at: datetime | None = None
    ) -> Arrival:
        """Verifies and maps one event, ready to be recorded. Raises SourceError, or SeveralEvents if there are more."""
        source = self.check(name, inbound, token, came_at or now)
        if len(source.split(inbound)) > 1:
            raise SeveralEvents("the request holds several events", source=name)
        return self._arrival(name, inbound, token, now, came_at)

    def _arrival(
        self, name: str, inbound: Inbound, token: str | None, now: datetime, came_at: datetime | None = None
    ) -> Arrival:
        """Maps one verified event."""
        source, secrets, tokens = self._sources[name]
        is_test = HEADER in inbound.headers and is_marked(inbound.headers, inbound.body, (*secrets, *tokens))
        inbound = self._without_secrets(name, inbound)
        mapped = source.map(inbound, accepting(self._rules, name) if is_test else self._rules)
        if is_test:
            mapped = as_test(mapped)
        if came_at is not None and mapped.occurred_at is None:
            mapped = replace(mapped, occurred_at=came_at)
        return Arrival(name, mapped, inbound, kept_headers(inbound.headers, token), now)


def masked_spellings(secret: str) -> tuple[bytes, ...]:
    """() where it is too short to tell."""
    return spellings(secret) if len(secret) >= SHORTEST_MASKED else ()


def kept_headers(headers: Mapping[str, str], token: str | None = None) -> dict[str, str]:
    """The headers to store with the body: none with secrets, none of unbounded length."""
    kept = {}
    for name, value in headers.items():
        if name not in SECRET_HEADERS and len(value) <= LONGEST_HEADER:
            kept[name] = value.replace(token, "***") if token else value
    return kept
