"""Problems visible as rows in the ledger: deliveries and events that nobody handles, alerts, conflicts."""

from collections.abc import Mapping, Sequence

from app.ledger.alerting import notifications
from app.ledger.alerting.incidents import Incident
from app.ledger.alerting.refusals import SourceFacts
from app.ledger.inbound import quarantine
from app.ledger.reading.money.stake import Stakes
from app.ledger.reading.summary import overview, stats
from app.ledger.reading.summary.overview import MOST
from app.ledger.reading.summary.problem import Problem, counted
from app.ledger.transaction import Tx

RECOVERING: Mapping[str, str] = {
    "dead": "No dead deliveries to {} remain",
    "paused": "Forwarding to {} is resumed",
    "down": "{} accepts deliveries again",
    "late": "Deliveries to {} are on time again",
    "silent": "Source {} is active again",
    "refused": "Fewer requests from source {} are refused",
}
RECENT_MS = 7 * 86_400_000
"""How long a conflict between people is listed."""


def stranded(tx: Tx, names: Sequence[str], stakes: Stakes) -> list[Problem]:
    problems = []
    for name in (row["name"] for row in stats.destinations(tx)):
        count = 0 if name in names else overview.waiting(tx, name)
        if count:
            text = f"{counted(count, 'delivery waits', 'deliveries wait')} for {name}, which is no longer configured."
            remedy = f"Configure it again, or discard {'the delivery' if count == 1 else 'the deliveries'}."
            path = f"/deliveries?destination={name}"
            problems.append(Problem("stranded", name, "bad", text, remedy, path, "Deliveries", None, count,
                                 stake=stakes.of_waiting(tx, name, count)))  # fmt: skip
    return problems


def unsent(tx: Tx, channels: Sequence[str]) -> list[Problem]:
    problems = []
    for failure in notifications.unsent(tx, channels):
        text = f"{counted(failure.count, 'alert', 'alerts')} could not be sent: {failure.problem}."
        remedy = "It is tried again; `bridge alert-test` tries it now."
        problems.append(
            Problem(
                "unsent alerts", failure.channel, "bad", text, remedy, "/alerts", "Alerts", failure.since, failure.count
            )
        )
    return problems


def still_open(open_ones: Sequence[Incident], current: Sequence[Problem]) -> list[Problem]:
    """Incidents that await their all-clear, although the condition they reported has ended."""
    listed = {(problem.kind, problem.subject) for problem in current}
    kinds = {problem.kind for problem in current}
    problems = []
    for incident in open_ones:
        stands_for = {"dead": "dead" in kinds, "late": "no worker" in kinds}.get(incident.kind, False)
        if stands_for or (incident.kind, incident.subject) in listed or not incident.is_open:
            continue
        text = f"{RECOVERING[incident.kind].format(incident.subject)}; the alert about it is still open."
        remedy = "Nothing to do: the all-clear follows once that has lasted for a few minutes."
        problems.append(
            Problem(incident.kind, incident.subject, "warn", text, remedy, "/alerts", "Alerts", incident.began_at)
        )
    return problems


def dead(tx: Tx, count: int, stakes: Stakes) -> list[Problem]:
    if not count:
        return []
    text = f"{counted(count, 'delivery', 'deliveries')} failed permanently."
    first = "SELECT MIN(t.dead_at) FROM deliveries t WHERE t.status = 'dead' AND t.destination = d.name"
    since = tx.run(f"SELECT MIN(n.at) FROM (SELECT ({first}) AS at FROM destinations d) n").scalar()
    return [Problem("dead", "", "bad", text, "Review and replay.", "/failed?status=dead", "Failed deliveries", since, count,
                    "`bridge deliveries --status dead` says why, `bridge replay --status dead` sends them again",
                    stakes.of_status(tx, "dead", count))]  # fmt: skip


def retrying(tx: Tx, count: int, stakes: Stakes) -> list[Problem]:
    if not count:
        return []
    text = f"{counted(count, 'delivery', 'deliveries')} failed and will be retried automatically."
    oldest = "SELECT created_at FROM deliveries WHERE status = 'retrying' ORDER BY id LIMIT 1"
    since = tx.run(oldest).scalar()
    return [Problem("retrying", "", "warn", text, "", "/failed?status=retrying", "See why", since, count,
                    stake=stakes.of_status(tx, "retrying", count))]  # fmt: skip


def parked(tx: Tx, count: int, stakes: Stakes) -> list[Problem]:
    if not count:
        return []
    text = f"{counted(count, 'event is', 'events are')} parked: conversions that lack required data."
    oldest = "SELECT received_at FROM events WHERE outcome = 'parked' ORDER BY id LIMIT 1"
    since = tx.run(oldest).scalar()
    remedy = "See what is missing; fix the mapping or fill it in, then reprocess them."
    return [Problem("parked", "", "warn", text, remedy, "/parked", "Parked events", since, count,
                    "`bridge replay --parked` reprocesses them", stakes.of_parked(tx, count))]  # fmt: skip


def quarantined(tx: Tx, sources: Mapping[str, SourceFacts]) -> list[Problem]:
    """Refused requests that wait for the right secret. Those of sources that are not configured now wait until they expire."""
    # The limit, which is more than a source may hold, keeps PostgreSQL from walking all ids, or all times, for a source's first.
    first = "SELECT MIN(received_at) FROM (SELECT received_at FROM quarantine WHERE source = ? LIMIT 200000) n"
    problems = []
    for name, number in quarantine.counts(tx).items():
        source = sources.get(name)
        if source is None:
            continue
        since = tx.run(first, name).scalar()
        text = f"{source.title}: {counted(number, 'refused request is', 'refused requests are')} in quarantine."
        remedy = (
            f"Once {source.variable} is correct, verify them again: authentic requests are accepted. Drop the rest."
        )
        path = f"/inbound/quarantine?source={name}"
        command = f"`bridge quarantine verify --source {name}`"
        problems.append(Problem("quarantined", name, "warn", text, remedy, path, "Quarantine", since, number, command))
    return problems


def counted_twice(tx: Tx, now: int) -> list[Problem]:
    """Purchases or submissions that were sent twice before an event showed them to be one."""
    events = overview.counted_twice(tx, now - RECENT_MS)
    if not events:
        return []
    purchases = counted(len(events), "purchase was", "purchases were")
    text = f"{purchases} sent twice in the last 7 days: two Sales turned out to be one."
    since = tx.run("SELECT received_at FROM events WHERE id = ?", events[-1]).scalar()
    remedy = "Correct one of them at the destination."
    return [
        Problem("counted twice", "", "warn", text, remedy, f"/events/{events[0]}", "The latest one", since, len(events))
    ]


def conflicts(tx: Tx, now: int) -> list[Problem]:
    newest = f"SELECT at, person_id FROM conflicts WHERE kind IS NULL ORDER BY id DESC LIMIT {MOST}"
    recent = [row for row in tx.run(newest).all() if row[0] >= now - RECENT_MS]
    if not recent:
        return []
    number = len(recent)
    amount = counted(number, "conflict", "conflicts")
    text = f"{amount} in the last 7 days: events that contradict what is known of a person or purchase."
    person = next((row[1] for row in recent if row[1] is not None), None)
    path = f"/persons/{person}" if person is not None else "/persons"
    link = "The newest one" if person is not None else "Persons"
    return [
        Problem("conflicts", "", "warn", text, "Check which IDs the source sends.", path, link, recent[-1][0], number)
    ]
