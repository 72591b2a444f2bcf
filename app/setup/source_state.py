"""The set-up of one source: whether it is configured, its first and last event, refusals, and what looks wrong."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from app.config.settings import Settings, variable_of
from app.intake.verify_and_map import source_problems
from app.ledger.alerting.refusals import (
    LastRefusal,
    SourceFacts,
    last_refusals,
    refusal_name,
    refusal_remedy,
)
from app.ledger.reading.first_events import Heard, first_event, last_event, last_test
from app.ledger.reading.summary.overview import LATELY_DAYS
from app.ledger.transaction import Tx
from app.sources.base import Source
from app.sources.set_up import set_up_of

DAY_MS = 86_400_000
Stage = Literal["off", "waiting", "receiving"]
Level = Literal["ok", "warn", "wrong"]
Finding = tuple[Level, str]
UNITS: Mapping[str, str] = {
    "major": "whole units and decimals: 49.00 is 49.00",
    "minor": "Stripe's minor unit: 4900 is 49.00 EUR, and 4900 JPY is 4900",
    "iso": "the minor unit of ISO 4217: 4900 is 49.00 EUR, and 4900 JPY is 4900",
    "cents": "hundredths of every currency: 4900 is 49.00",
}


@dataclass(frozen=True, slots=True)
class SourceState:
    """stage: "off" without a secret or token of the operator's own, "waiting" until the first event that is not a test.

    variable: what configures it. has_token: its URL carries one. findings: what looks wrong, each with its remedy.
    """

    name: str
    title: str
    stage: Stage
    variable: str
    is_signed: bool
    has_token: bool
    is_generated: bool
    first: Heard | None
    last: Heard | None
    test: Heard | None
    refusal: LastRefusal | None
    refusal_text: str
    is_refused_now: bool
    findings: tuple[Finding, ...]


def is_verified(settings: Settings, source: Source) -> bool:
    """Whether its signature is checked: not where it cannot sign, or only a token is set."""
    return source.signed and (bool(settings.secrets_of(source.name)) or not settings.path_tokens_of(source.name))


def configured_by(settings: Settings, source: Source) -> str:
    """The variable that configures it: that of its secret, or else of its token."""
    return f"{variable_of(source.name)}_{'WEBHOOK_SECRET' if is_verified(settings, source) else 'PATH_TOKEN'}"


def source_state(tx: Tx, settings: Settings, source: Source) -> SourceState:
    """Everything known about the set-up of `source`. Raises ConfigurationError if its URL token cannot be used."""
    name = source.name
    tokens, is_signed = settings.path_tokens_of(name), is_verified(settings, source)
    variable = configured_by(settings, source)
    is_generated = settings.is_generated(name)
    first, last = first_event(tx, name), last_event(tx, name)
    is_open = settings.opens(name) and not is_generated
    refusal = last_refusals(tx, [name], tx.now() - LATELY_DAYS * DAY_MS).get(name)
    text = ""
    if refusal is not None:
        facts = SourceFacts(source.title, variable, is_signed)
        why = refusal_name(refusal.reason, is_signed=is_signed)
        text = f"{why[:1].upper()}{why[1:]}. {refusal_remedy(refusal.reason, facts)}"
    return SourceState(
        name=name,
        title=source.title,
        stage="receiving" if first and is_open else "waiting" if is_open else "off",
        variable=variable,
        is_signed=is_signed,
        has_token=bool(tokens) or not source.signed,
        is_generated=is_generated,
        first=first,
        last=last,
        test=last_test(tx, name),
        refusal=refusal,
        refusal_text=text,
        is_refused_now=refusal is not None and (last is None or refusal.at > last.at),
        findings=(*_problems(settings, source), *settings_findings(settings, source)),
    )


def _problems(settings: Settings, source: Source) -> Iterator[Finding]:
    for problem in source_problems(settings, source):
        yield "wrong", problem
    if source.signs_url and settings.public_url is None and settings.opens(source.name):
        yield "wrong", f"{source.title} signs the URL that it calls: set PUBLIC_URL"


def settings_findings(settings: Settings, source: Source) -> Iterator[Finding]:
    """Findings about the settings of an open source that do not keep the bridge from starting: secrets that look like something
    else, test events that reach a real destination, and the unit in which a custom source reads amounts."""
    name, title, variable = source.name, source.title, variable_of(source.name)
    known = set_up_of(source)
    for secret in settings.secrets_of(name) if source.signed and not settings.is_generated(name) else ():
        wrong = next((meaning for prefix, meaning in known.wrong_prefixes.items() if secret.startswith(prefix)), None)
        if wrong:
            yield (
                "wrong",
                f"{variable}_WEBHOOK_SECRET is {wrong}, which signs no webhooks: set the webhook's own secret",
            )
        elif known.usual_prefixes and not secret.startswith(known.usual_prefixes):
            usual = " or ".join(known.usual_prefixes)
            yield (
                "warn",
                f"{variable}_WEBHOOK_SECRET does not begin with {usual}, as secrets of {title} do: copy it again",
            )
    accepts = settings.rules.accepts_test_events(name)
    if known.marks_tests and accepts and not settings.is_sandbox:
        yield (
            "warn",
            f"test events of {title} go to the real destination: unset {variable}_ALLOW_TEST_EVENTS when you go live",
        )
    if known.marks_tests and not accepts:
        yield "ok", f"test events of {title} are ignored ({variable}_ALLOW_TEST_EVENTS=1 accepts them)"
    if unit := _own_unit(settings.config.get("sources", {}).get(name)):
        yield "ok", f'{title}: amounts are read in {UNITS[unit]} (amount_unit = "{unit}")'


def _own_unit(table: Any) -> str | None:
    """The unit in which a custom source reads amounts; None if it has no Sales."""
    if not isinstance(table, dict):
        return None
    fields, events = table.get("fields"), table.get("events")
    sells = table.get("kind") == "sale" or (isinstance(events, dict) and events.get("sales"))
    if not sells:
        return None
    unit = fields.get("amount_unit", "major") if isinstance(fields, dict) else "major"
    return str(unit) if unit in UNITS else None
