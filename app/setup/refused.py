"""Refused requests for people: by source and reason, with what to do, at the bridge and at the provider. One answer for the page,
the API and the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.config.settings import Settings, variable_of
from app.ledger.alerting.refusals import SourceFacts, refusal_name, refusal_remedy
from app.ledger.inbound.refused import Group, RefusalFilter, groups
from app.ledger.transaction import Tx
from app.sources.base import Source
from app.times import iso


@dataclass(frozen=True, slots=True)
class Refused:
    """One source and reason. name: the reason in words. is_open: the source is configured now."""

    group: Group
    title: str
    name: str
    remedy: str
    is_open: bool

    def as_json(self) -> dict[str, Any]:
        group = self.group
        return {
            "source": group.source,
            "title": self.title,
            "reason": group.reason,
            "name": self.name,
            "count": group.count,
            "first": iso(group.first_at),
            "last": iso(group.last_at),
            "remedy": self.remedy,
            "bars": {
                "start": iso(group.bars.start),
                "seconds": group.bars.step_ms // 1000,
                "counts": list(group.bars.counts),
            },
        }


def facts_of(settings: Settings, source: Source) -> SourceFacts:
    """What a remedy needs to know of a source."""
    has_secret, has_token = bool(settings.secrets_of(source.name)), bool(settings.path_tokens_of(source.name))
    is_signed = source.signed and (has_secret or not has_token)
    variable = f"{variable_of(source.name)}_{'WEBHOOK_SECRET' if is_signed else 'PATH_TOKEN'}"
    return SourceFacts(source.title, variable, is_signed)


def refused_requests(
    tx: Tx, settings: Settings, sources: Mapping[str, Source], wanted: RefusalFilter
) -> Sequence[Refused]:
    """The newest first."""
    return [_described(settings, sources.get(group.source), group) for group in groups(tx, wanted)]


def _described(settings: Settings, source: Source | None, group: Group) -> Refused:
    if source is None:
        remedy = f"The source {group.source} is no longer known: delete its webhook at the provider."
        name = refusal_name(group.reason, is_signed=True)
        return Refused(group, group.source, name, remedy, is_open=False)
    facts = facts_of(settings, source)
    name = refusal_name(group.reason, is_signed=facts.is_signed)
    return Refused(group, source.title, name, refusal_remedy(group.reason, facts), settings.opens(source.name))
