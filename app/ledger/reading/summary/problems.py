"""Lists what is wrong, worst first, each with its start, count, remedy and page. One answer for the dashboard and `bridge
doctor`. Read only, by index and bounded."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from app.config.bridge_toml import AlertTable
from app.config.destinations import MAIN, SANDBOX
from app.ledger.alerting.conditions import Condition, Detector, last_seen
from app.ledger.alerting.incidents import open_incidents
from app.ledger.alerting.refusals import (
    HOUR_MS,
    SourceFacts,
    Streak,
    hour_of,
    refusal_name,
    refusal_remedy,
    refused_since,
    streaks,
)
from app.ledger.forwarding.breaker import RESTORED, destination_state
from app.ledger.probe import late, overdue
from app.ledger.reading.money.stake import Stakes, together
from app.ledger.reading.sandbox import live_conversions
from app.ledger.reading.summary import backlog, overview, stats
from app.ledger.reading.summary.configuration import configuration
from app.ledger.reading.summary.problem import LEVELS, Level, Problem, Verdict, counted, lasting
from app.ledger.transaction import Tx

DAY_MS = 86_400_000
KEPT_SECONDS = 60.0
LIVE = ("conversion of live Stripe events", "conversions of live Stripe events")
ACCEPTED_AGAIN = "The newest request was accepted. Redeliver the refused ones at {}, or take those in quarantine in."
FEW_REFUSALS = 3
"""Refusals in a row, with nothing accepted since, before a source that worked is listed. For others, one is enough."""
SHARE_READ, SHARE_SAMPLE = 1000, 200
"""Among so many of the newest deliveries, of the newest so many of each destination, …"""
SHARE_LISTED, LEAST_SHARED = 0.2, 10
"""… this share, and at least this many, are unattributed before that is listed."""


class Health:
    """Checks against the configuration. Keep one instance: it remembers how long sources usually pause."""

    def __init__(
        self,
        destinations: Sequence[str],
        sources: Mapping[str, SourceFacts],
        rules: AlertTable,
        hold_seconds: float,
        *,
        shadows: Sequence[str] = (),
        channels: Sequence[str] = (),
        outside: Sequence[Problem] = (),
    ) -> None:
        """shadows: destinations that are sent nothing. channels: where alerts go.
        outside: problems that no row of the ledger shows."""
        watched = rules.model_copy(update={"kinds": ("paused", "down", "silent", "refused")})
        self.stakes = Stakes()
        self._watch = Detector(watched, destinations, list(sources), hold_seconds, self.stakes)
        self._destinations = destinations
        self.shadows = shadows
        self._channels = channels
        self._outside = outside
        self._sources = sources
        self._rules = rules
        self._hold_seconds = hold_seconds
        self._live: tuple[float, tuple[int, int | None]] | None = None

    def verdict(self, tx: Tx, counts: Mapping[str, Mapping[str, int]] | None = None) -> Verdict:
        """counts: the result of overview.counts, if known already."""
        problems = self.problems(tx, counts or overview.counts(tx))
        worst = problems[0] if problems and problems[0].level != "note" else None
        if worst is not None:
            return Verdict(worst.level, worst.text, problems)
        if not overview.has_events(tx):
            return Verdict(None, "Ready. Nothing has come in yet.", problems)
        if self.shadows and not self._destinations:
            return Verdict(None, "All caught up. Conversions are recorded, and none is sent: shadow mode.", problems)
        return Verdict(None, "All caught up. Every accepted conversion is delivered or in flight.", problems)

    def problems(self, tx: Tx, counts: Mapping[str, Mapping[str, int]]) -> list[Problem]:
        """All problems, worst first."""
        now = tx.now()
        open_alerts = open_incidents(tx)
        began = {alert.topic: alert.began_at for alert in open_alerts if alert.over_at is None}
        problems = [*self._outside, *self._nothing_configured(), *self._no_worker(tx, now)]
        for condition in self._watch.conditions(tx, now, began):
            problems.append(self._of_trouble(tx, condition, began.get(condition.topic)))
        problems += configuration(tx)
        problems += self._doubted(tx)
        if not any(problem.kind == "no worker" for problem in problems):
            problems += self._late(tx, now)
        listed = {(problem.kind, problem.subject) for problem in problems}
        problems += [
            self._refused(streak) for streak in self._streaks(tx, now) if ("refused", streak.source) not in listed
        ]
        problems += backlog.quarantined(tx, self._sources)
        problems += self._live_in_sandbox(tx)
        problems += backlog.stranded(tx, (*self._destinations, *self.shadows), self.stakes)
        problems += backlog.unsent(tx, self._channels)
        problems += backlog.dead(tx, counts["deliveries"]["dead"], self.stakes)
        problems += backlog.counted_twice(tx, now)
        problems += backlog.parked(tx, counts["events"]["parked"], self.stakes)
        problems += backlog.conflicts(tx, now)
        problems += backlog.retrying(tx, counts["deliveries"]["retrying"], self.stakes)
        problems += self._unattributed(tx)
        problems += backlog.still_open(open_alerts, problems)
        return sorted(problems, key=lambda problem: LEVELS.index(problem.level))  # stable: as they stand above

    def _nothing_configured(self) -> list[Problem]:
        if self._sources:
            return []
        text = "Nothing can come in: no source is configured."
        remedy = "Set STRIPE_WEBHOOK_SECRET, or the secret of another source, and reload the configuration."
        return [Problem("no source", "", "warn", text, remedy, "/sources", "Connect a source")]

    def _no_worker(self, tx: Tx, now: int) -> list[Problem]:
        if stats.workers_alive(tx, now):
            return []
        last = tx.run("SELECT MAX(heartbeat_at) FROM workers").scalar()
        counts = {name: overview.waiting(tx, name) for name in self._destinations}
        waiting = sum(counts.values())
        queued = f" {counted(waiting, 'delivery is', 'deliveries are')} queued." if waiting else ""
        text = f"No worker is alive, so nothing is forwarded.{queued}"
        remedy = "Start `bridge worker` (or `bridge up`)."
        stake = together([self.stakes.of_waiting(tx, name, count) for name, count in counts.items()])
        path = "/deliveries?status=pending"
        return [Problem("no worker", "", "bad", text, remedy, path, "Queued deliveries", last, waiting, stake=stake)]

    def _of_trouble(self, tx: Tx, condition: Condition, began: int | None) -> Problem:
        name, detail = condition.subject, condition.detail
        if condition.kind == "refused":
            since = began or refused_since(tx, name, hour_of(condition.began_at) - HOUR_MS) or condition.began_at
            streak = Streak(name, detail["count"], detail["reasons"], since)
            if streaks(tx, [name], condition.began_at - DAY_MS):
                return self._refused(streak, "bad")
            return replace(self._refused(streak), remedy=ACCEPTED_AGAIN.format(self._sources[name].title))
        if condition.kind == "silent":
            source = self._sources[name]
            usual = lasting(detail["usual_seconds"])
            text = f"{source.title} has sent nothing for longer than usual (its longest usual pause is {usual})."
            remedy = f"Check that the webhook at {source.title} is still there and enabled."
            return Problem("silent", name, "warn", text, remedy, f"/sources/{name}", source.title, condition.began_at)
        waiting = detail["waiting"]
        queued = f" {counted(waiting, 'delivery is', 'deliveries are')} queued." if waiting else ""
        link, stake = ("/destination", "Destination"), self.stakes.of_waiting(tx, name, waiting)
        if condition.kind == "paused":
            since, wording = condition.began_at, _paused(name, detail, queued)
            return Problem("paused", name, "bad", *wording, *link, since, waiting, stake=stake)
        text = f"{name} is not responding.{queued}"
        remedy = "Deliveries are tried one at a time; all of them go out once it recovers."
        began = began or destination_state(tx, name).taken_at
        is_long = began is not None and condition.began_at - began >= self._rules.down_minutes * 60_000
        return Problem("down", name, "bad" if is_long else "warn", text, remedy, *link, began, waiting, stake=stake)

    def _late(self, tx: Tx, now: int) -> list[Problem]:
        problems = []
        for name, seconds in overdue(tx, self._destinations, hold_seconds=self._hold_seconds, now=now):
            waiting = overview.waiting(tx, name)
            queued = counted(waiting, "delivery is", "deliveries are")
            text = f"Deliveries to {name} are {late(seconds)} late, although a worker is alive. {queued} queued."
            remedy = "Check the worker's log and Redis, or start more workers."
            path, since = f"/deliveries?status=pending&destination={name}", now - seconds * 1000
            stake = self.stakes.of_waiting(tx, name, waiting)
            problems.append(
                Problem("late", name, "bad", text, remedy, path, "Queued deliveries", since, waiting, stake=stake)
            )
        return problems

    def _doubted(self, tx: Tx) -> list[Problem]:
        problems = []
        for name in self._destinations:
            state = destination_state(tx, name)
            if state.is_doubted and state.paused_at is None and not state.is_open:
                text = f"{name} refused the last deliveries as a whole."
                remedy = "Deliveries are retried one at a time. Forwarding pauses if refusals continue."
                since = state.refusals.doubted_at
                problems.append(Problem("doubted", name, "warn", text, remedy, "/destination", "Destination", since))
        return problems

    def _streaks(self, tx: Tx, now: int) -> list[Streak]:
        known = streaks(tx, self._sources, now - DAY_MS)
        return [streak for streak in known if streak.count >= FEW_REFUSALS or last_seen(tx, streak.source) is None]

    def _refused(self, streak: Streak, level: Level = "warn") -> Problem:
        source = self._sources[streak.source]
        named = [f"{refusal_name(reason, is_signed=source.is_signed)} ×{n:,}" for reason, n in streak.reasons.items()]
        text = f"{source.title}: {counted(streak.count, 'request was', 'requests were')} refused ({', '.join(named)})."
        remedy = refusal_remedy(next(iter(streak.reasons)), source)
        path = f"/inbound?source={streak.source}"
        return Problem(
            "refused", streak.source, level, text, remedy, path, "Refused requests", streak.since, streak.count
        )

    def _live_in_sandbox(self, tx: Tx) -> list[Problem]:
        """Real conversions that went to the bridge's own sandbox because no destination was set. This reads bodies, so the
        answer is cached."""
        if self._live is None or time.monotonic() - self._live[0] > KEPT_SECONDS:
            self._live = (time.monotonic(), live_conversions(tx))
        count, first = self._live[1]
        if not count or first is None:
            return []
        text = f"{counted(count, *LIVE)} went to the bridge's own sandbox and nowhere else."
        real = next((name for name in self._destinations if name != SANDBOX), None)
        since = f"{datetime.fromtimestamp(first // 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
        command = f"`bridge replay --to {real or MAIN} --since {since}`"
        remedy = (
            "Send them to the real destination."
            if real
            else "Set DESTINATION_URL and DESTINATION_TOKEN, then send them there."
        )
        return [Problem("live in sandbox", "", "bad", text, remedy, f"/deliveries?destination={SANDBOX}", "Deliveries", first,
                        count, command)]  # fmt: skip

    def _unattributed(self, tx: Tx) -> list[Problem]:
        problems = []
        shown = _newest_shown(tx)
        for name in self._destinations:
            statuses = [status for destination, status in shown if destination == name][:SHARE_SAMPLE]
            count, total = statuses.count("unattributed"), len(statuses)
            if count >= LEAST_SHARED and count / total >= SHARE_LISTED:
                share = f"{count / total:.0%} of the newest {total:,} conversions"
                text = f"{name} could not attribute {share}: it knows no click or customer for them."
                remedy = "Pass the click id to checkout sessions and forms."
                path = f"/deliveries?status=unattributed&destination={name}"
                problems.append(
                    Problem("unattributed", name, "note", text, remedy, path, "Unattributed deliveries", None, count)
                )
        return problems


def _newest_shown(tx: Tx) -> list[tuple[str, str]]:
    """Destination and status of the newest deliveries, refunds aside, that are delivered or unattributed, newest first."""
    # One look-up by ID for each column: otherwise PostgreSQL may read the whole table, or all of a backlog.
    newest = f"SELECT id FROM deliveries WHERE status = ? ORDER BY id DESC LIMIT {SHARE_READ}"
    column = "(SELECT d.{0} FROM deliveries d WHERE d.id = n.id)"
    columns = ", ".join(column.format(name) for name in ("destination", "kind"))
    rows, floor = [], 0
    for status in ("delivered", "unattributed"):
        of_status = tx.run(f"SELECT n.id, {columns} FROM ({newest}) n ORDER BY n.id DESC", status).all()
        rows += [(number, destination, status) for number, destination, kind in of_status if kind != "refund"]
        if len(of_status) == SHARE_READ:  # further back, only those of the other status are known
            floor = max(floor, of_status[-1][0])
    return [(destination, status) for number, destination, status in sorted(rows, reverse=True) if number >= floor]


def _paused(name: str, detail: Mapping[str, Any], queued: str) -> tuple[str, str]:
    reason = str(detail.get("reason", "")).rstrip(".")
    text = f"Forwarding to {name} is paused: {reason}.{queued}"
    if reason.startswith(RESTORED):
        return text, "Fetch what came after the backup, then resume it."
    if detail["by_hand"]:
        return f"Forwarding to {name} was paused manually.{queued}", "Resume it when the destination is ready."
    return text, "Fix its configuration and reload it: forwarding resumes by itself."
