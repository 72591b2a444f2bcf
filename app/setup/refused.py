"""Refused requests for people: by source and reason, with what to do, at the bridge and at the provider. One answer for the page,
the API and the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from app.config.settings import Settings, variable_of
from app.ledger.alerting.refusals import SourceFacts, refusal_name, refusal_remedy
from app.ledger.inbound import quarantine
from app.ledger.inbound.details import Detail, details, topic_of
from app.ledger.inbound.refused import Group, RefusalFilter, groups
from app.ledger.transaction import Tx
from app.sources.base import Source
from app.sources.set_up import set_up_of
from app.times import iso

ASK_PROVIDER = "Send them again from the webhook's log there, if it has one."


@dataclass(frozen=True, slots=True)
class Refused:
    """Requests of one source that were refused for one reason.

    name: the reason in words. redeliver: where the provider sends them again. held: how many of the source are in the quarantine.
    detail: what was wrong with the last one. is_open: the source is configured now.
    """

    group: Group
    title: str
    name: str
    remedy: str
    redeliver: str
    held: int
    detail: Detail | None
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
            "redeliver": self.redeliver,
            "quarantined": self.held,
            "detail": asdict(self.detail) if self.detail else None,
            "bars": {
                "start": iso(group.bars.start),
                "seconds": group.bars.step_ms // 1000,
                "counts": list(group.bars.counts),
            },
        }


def facts_of(settings: Settings, source: Source) -> SourceFacts:
    """The facts about a source that a remedy mentions."""
    has_secret, has_token = bool(settings.secrets_of(source.name)), bool(settings.path_tokens_of(source.name))
    is_signed = source.signed and (has_secret or not has_token)
    variable = f"{variable_of(source.name)}_{'WEBHOOK_SECRET' if is_signed else 'PATH_TOKEN'}"
    return SourceFacts(source.title, variable, is_signed)


def refused_requests(
    tx: Tx, settings: Settings, sources: Mapping[str, Source], criteria: RefusalFilter
) -> Sequence[Refused]:
    """Refused requests by source and reason, newest first."""
    refused_groups = groups(tx, criteria)
    known = details(tx, [topic_of(group.source, group.reason) for group in refused_groups])
    held = quarantine.counts(tx)
    return [
        _described(
            settings,
            sources.get(rejected.source),
            rejected,
            held,
            known.get(topic_of(rejected.source, rejected.reason)),
        )
        for rejected in refused_groups
    ]


def _described(
    settings: Settings, source: Source | None, group: Group, held: Mapping[str, int], detail: Detail | None
) -> Refused:
    count = held.get(group.source, 0)
    if source is None:
        remedy = f"The source {group.source} is no longer known: delete its webhook at the provider."
        name = refusal_name(group.reason, is_signed=True)
        return Refused(group, group.source, name, remedy, "", count, detail, is_open=False)
    facts = facts_of(settings, source)
    name = refusal_name(group.reason, is_signed=facts.is_signed)
    remedy = refusal_remedy(group.reason, facts)
    redeliver = set_up_of(source).redeliver or ASK_PROVIDER
    is_open = settings.opens(source.name)
    return Refused(group, source.title, name, remedy, redeliver, count, detail, is_open)
