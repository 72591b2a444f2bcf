"""Judges outcomes: whether a refusal is the fault of the destination or of the delivery.

One payload may be refused for its own content (by a firewall that dislikes a text in a form) or fail forever (by crashing the
destination). That must never stop the others, so a destination is judged by different deliveries. A single delivery that is
refused or fails while others are accepted is judged on its own.
"""

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.ledger.audit import note
from app.ledger.forwarding.breaker import (
    BREAKER_FAILURES,
    BRIDGE,
    PROBE_SECONDS,
    SEVERAL,
    DestinationState,
    Mixed,
    Refusals,
    end_pause,
    pause_refused,
)
from app.ledger.transaction import Tx

if TYPE_CHECKING:
    from app.ledger.forwarding.outcomes import Outcome

TAKEN = ("delivered", "unattributed", "continued")
"""Results that say that destination and configuration work."""
REFUSED = ("unauthorized", "redirected")
"""Results that say that the configuration is wrong: they spend no attempt, unless it turns out to be the delivery's own fault."""
FORBIDDEN, GONE = 403, 410
"""Firewalls answer it to single payloads. 401 and redirects speak of the configuration, unless others are taken afterwards."""
REFUSED_RETRY_SECONDS = (1, 5, 30, 120, 600, 1800)
"""When a refused delivery is tried again, by how often it was refused."""
PAUSE_PROBES = 3
PAUSE_REPEATS = 4
"""So often the same ones are tried, over some three minutes, where the destination took others before and nothing new comes."""
FRESH_MS = 60_000
"""What was taken no longer ago says that the destination is well."""
CLOCK_TOLERANCE_MS = 500
"""started_at is by the worker's clock. What was in flight when the breaker opened began a second before the first probe."""
MIXED_FAILURES = 64
"""Failures in a row that open the breaker where some deliveries are known to fail for themselves."""
MIXED_STEP_MS = 10_000
MOST_IDS = 20
LONGEST_LOCATION = 200


def settle(
    tx: Tx,
    state: DestinationState,
    outcomes: "Sequence[Outcome]",
    *,
    now: int,
    token_print: str,
) -> "list[Outcome]":
    """`outcomes` with a decision on refused ones: each waits, or is dead if the refusal is its own fault."""
    refused = [o for o in outcomes if o.result in REFUSED]
    if not refused:
        return list(outcomes)
    taken_at = _taken_at(state, outcomes, token_print, now)
    earlier = _refused_before(tx, [o.claimed.id for o in refused])
    known = {
        o.claimed.id
        for o in refused
        if taken_at is not None
        and o.claimed.id in earlier
        and taken_at >= _proof_since(earlier[o.claimed.id], o.status)
    }
    """Deliveries refused before the destination accepted others."""
    several = len({*state.refusals.ids, *(o.claimed.id for o in refused)} - known) >= SEVERAL

    def decide(outcome: "Outcome") -> "Outcome":
        if outcome.result not in REFUSED:
            return outcome
        answer = f"answered {outcome.status}"
        if location := _location(outcome):
            answer += f", a redirect to {location}"
        identity = outcome.claimed.id
        count, before, _ = earlier.get(identity, (0, 0, 0))
        if taken_at is None:
            alone = False
        elif count:  # since it was refused, others were taken; or shortly before, and nothing else was refused
            is_fresh = outcome.status == FORBIDDEN and not several and before - taken_at <= FRESH_MS
            alone = identity in known or is_fresh
        else:
            alone = taken_at > outcome.started_at + outcome.duration_ms
        if alone:
            error = f"{answer} while other deliveries were taken: the destination rejected this one"
            return replace(outcome, result="permanent", error=error, due_at=None)
        seconds = REFUSED_RETRY_SECONDS[min(count, len(REFUSED_RETRY_SECONDS) - 1)]
        return replace(outcome, error=answer, due_at=now + seconds * 1000)

    return [decide(outcome) for outcome in outcomes]


def judge(
    tx: Tx,
    destination: str,
    state: DestinationState,
    outcomes: "Sequence[Outcome]",
    *,
    now: int,
    token_print: str,
) -> None:
    """What a batch of settled outcomes says of the destination: it takes, it refuses our configuration, or it is ill."""
    taken_at = _taken_at(state, outcomes, token_print, now)
    refusals = state.refusals
    if any(o.result in TAKEN for o in outcomes):
        assert taken_at is not None
        if refusals.ids and (taken_at > refusals.since or _is_ahead(refusals.since, now)):
            refusals = Refusals()
            if state.paused_token is not None and end_pause(tx, destination, now=now):
                note(tx, BRIDGE, "resume", f"destination {destination}", "it accepts deliveries again")
        if refusals != state.refusals or state.taken_print != token_print or taken_at != state.taken_at:
            tx.run(
                "UPDATE destinations SET taken_at = ?, taken_print = ?, refused = ? WHERE name = ?",
                *(taken_at, token_print, refusals.text() if refusals.ids else None, destination),
            )
    is_proven = taken_at is not None
    refused = [o for o in outcomes if o.result in REFUSED and (taken_at is None or o.started_at > taken_at)]
    if refused and state.paused_at is None:
        _judge_refusals(tx, destination, refusals, refused, is_proven=is_proven, now=now, token=token_print)
    _judge_failures(tx, destination, state, outcomes, now)


def _judge_refusals(
    tx: Tx,
    destination: str,
    refusals: Refusals,
    refused: "Sequence[Outcome]",
    *,
    is_proven: bool,
    now: int,
    token: str,
) -> None:
    """Pauses where the answer is plain (401, a redirect) and nothing was ever taken under this configuration, or several different
    deliveries get it, or the same one for some minutes; where several are forbidden, only when further ones, tried singly, are as
    well, or the same ones for some minutes."""
    doubted_at = refusals.doubted_at
    probes = [] if doubted_at is None else [o for o in refused if o.started_at >= doubted_at]
    fresh = [o for o in probes if o.claimed.id not in refusals.ids]
    again = {o.claimed.id for o in probes} & set(refusals.ids)  # nothing is left that was not refused yet
    repeated = again | {o.claimed.id for o in refused if o.status != FORBIDDEN}  # a quiet site has only one to send
    enough = max((count for count, _, _ in _refused_before(tx, repeated).values()), default=0)
    lasts = (bool(again) and not is_proven) or enough > PAUSE_REPEATS
    plain = next((o for o in refused if o.status != FORBIDDEN), None)
    ids = list(dict.fromkeys([*refusals.ids, *(o.claimed.id for o in refused)]))
    is_plain = all(o.status != FORBIDDEN for o in refused) and len(ids) >= SEVERAL
    if (plain and not is_proven) or is_plain or lasts or refusals.probes + len(fresh) >= PAUSE_PROBES:
        reason = _reason(destination, plain or refused[0])
        pause_refused(tx, destination, reason, token, now=now)
    if doubted_at is None and len(ids) >= SEVERAL:
        doubted_at = now
    arrived_at = min(o.started_at + o.duration_ms for o in refused)
    since = min(refusals.since, arrived_at) if refusals.ids else arrived_at
    updated = Refusals(since, ids[:MOST_IDS], doubted_at, refusals.probes + len(fresh))
    tx.run("UPDATE destinations SET refused = ? WHERE name = ?", updated.text(), destination)


def _judge_failures(
    tx: Tx,
    destination: str,
    state: DestinationState,
    outcomes: "Sequence[Outcome]",
    now: int,
) -> None:
    """The breaker. A delivery that failed before says nothing new of a destination that took others lately."""
    ill = [o for o in outcomes if o.result in ("transient", "unknown") and not _is_about_one(o) and o.status != 429]
    taken_at = state.taken_at
    if taken_at is not None and now - taken_at < FRESH_MS and not _is_ahead(taken_at, now) and not state.is_open:
        ill = [o for o in ill if o.claimed.attempts == o.claimed.schedule_start]
    well = any(o.result in (*TAKEN, "permanent") or _is_about_one(o) for o in outcomes)
    failures, probe_at, mixed = state.failures, state.probe_at, state.mixed
    if well:
        if state.is_open or (ill and mixed.until > now):
            mixed = Mixed(now + FRESH_MS if mixed.until < now + FRESH_MS - MIXED_STEP_MS else mixed.until)
        failures, probe_at, mixed = 0, None, replace(mixed, failures=0)
    elif ill and not state.is_open:
        count = len(ill)
        if mixed.until > now:
            mixed = replace(mixed, failures=mixed.failures + count)
            count = BREAKER_FAILURES if mixed.failures >= MIXED_FAILURES else 0
        failures = min(failures + count, BREAKER_FAILURES)
        probe_at = _next_probe(failures, now)
    elif any(
        o.started_at > (state.probe_at or 0) - CLOCK_TOLERANCE_MS for o in ill
    ):  # else it was in flight when it opened
        failures = state.failures + 1
        probe_at = _next_probe(failures, now)
    if (failures >= BREAKER_FAILURES) != state.is_open:
        _note_breaker(tx, destination, ill, is_open=not state.is_open)
    if (failures, probe_at, mixed) != (state.failures, state.probe_at, state.mixed):
        tx.run(
            "UPDATE destinations SET failures = ?, probe_at = ?, mixed = ? WHERE name = ?",
            *(failures, probe_at, mixed.text() if mixed.until else None, destination),
        )


def _note_breaker(tx: Tx, destination: str, ill: "Sequence[Outcome]", *, is_open: bool) -> None:
    if is_open:
        error = next((o.error for o in reversed(ill) if o.error), "no answer")
        note(tx, BRIDGE, "open breaker", f"destination {destination}", f"{BREAKER_FAILURES} failures in a row: {error}")
    else:
        note(tx, BRIDGE, "close breaker", f"destination {destination}", "it answers again")


def _is_about_one(outcome: "Outcome") -> bool:
    """A destination that works says that this one delivery is to be tried again: Dub's 404 until a lead event is readable, or its
    empty list until a commission is made."""
    status = outcome.status or 0
    works = 200 <= status <= 299 or (400 <= status <= 499 and status not in (408, 425, 429))
    return outcome.result == "transient" and works


def _next_probe(failures: int, now: int) -> int | None:
    if failures < BREAKER_FAILURES:
        return None
    return now + PROBE_SECONDS[min(failures - BREAKER_FAILURES, len(PROBE_SECONDS) - 1)] * 1000


def _taken_at(state: DestinationState, outcomes: "Sequence[Outcome]", token_print: str, now: int) -> int | None:
    """When the newest attempt began that the destination took under this configuration; None if it took none, 0 where nobody
    knows: it is dated in a future that the ledger's clock has left, and would outdo every refusal until then."""
    times = [o.started_at for o in outcomes if o.result in TAKEN]
    if state.taken_at is not None and state.taken_print == token_print:
        times.append(0 if _is_ahead(state.taken_at, now) else state.taken_at)
    return max(times, default=None)


def _is_ahead(moment: int, now: int) -> bool:
    return moment > now + CLOCK_TOLERANCE_MS


def _refused_before(tx: Tx, ids: Collection[int]) -> dict[int, tuple[int, int, int]]:
    """How often each of these deliveries was refused before, and when the last of these attempts began and ended (ms)."""
    if not ids:
        return {}
    condition, value = tx.among("delivery_id", sorted(ids))
    rows = tx.run(
        f"SELECT delivery_id, COUNT(*), MAX(started_at), MAX(started_at + duration_ms) FROM attempts WHERE {condition}"
        " AND result IN ('unauthorized', 'redirected') GROUP BY delivery_id",
        value,
    )
    return {identity: (int(count), began, ended) for identity, count, began, ended in rows.all()}


def _proof_since(refusal: tuple[int, int, int], status: int | None) -> int:
    """From when on an attempt that is taken shows a refusal to be that delivery's own fault. 401 and redirects begin at one moment:
    what was in flight together with the first of them may have reached the destination before it."""
    _, began, ended = refusal
    return began if status == FORBIDDEN else ended


def _location(outcome: "Outcome") -> str:
    """Where a redirect leads, without what may be secret in it: user, query and fragment."""
    if outcome.result != "redirected" or not outcome.answer_headers:
        return ""
    text = str(json.loads(outcome.answer_headers).get("location", ""))
    try:
        parts = urlsplit(text)
        host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else ""
    except ValueError:
        return ""
    return "".join(c for c in host + parts.path if c.isprintable() and c != " ")[:LONGEST_LOCATION]


def _reason(destination: str, outcome: "Outcome") -> str:
    """Why it is paused, and what to set."""
    is_main = destination == "main"
    token = "DESTINATION_TOKEN" if is_main else f"the token of destination {destination}"
    if outcome.result == "redirected":
        url = "DESTINATION_URL" if is_main else f"destinations.{destination}.url"
        location = _location(outcome)
        leads = f", a redirect to {location}" if location else ", a redirect"
        return f"the destination answered {outcome.status}{leads}: redirects are not followed, so correct {url}"
    if outcome.status == FORBIDDEN:
        return f"the destination answered 403: check {token}, or a firewall in front of it"
    if outcome.status == GONE:
        return f"the destination answered 410: this endpoint is gone, so correct destinations.{destination}.url"
    return f"the destination answered {outcome.status}: check {token}"
