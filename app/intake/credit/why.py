"""The answer to "my purchase is not credited": what came, what was sent, whether it carried a click ID, and the next step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.intake.credit.clicks import NoClick, why_no_click
from app.ledger.actions.traces import Traces, held_naming
from app.ledger.credit.story import Conversion, Story, story_of, story_of_conversion, story_of_person
from app.ledger.parked.acts import DISMISSED
from app.ledger.transaction import Tx
from app.model import Rules
from app.money import amount_text
from app.sources.base import Source

LEVELS = ("bad", "warn", "note", "ok")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is to be known of it. level: bad (it cannot be credited until somebody acts), warn (not credited now), note,
    or ok (the destination has it)."""

    level: str
    text: str
    next_step: str = ""
    path: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Why:
    """findings: the worst first. clicks: of each delivery, the click ID that it carries, or why it carries none."""

    text: str
    findings: Sequence[Finding]
    story: Story
    carried: Mapping[int, str]
    reasons: Mapping[int, NoClick]


def why(tx: Tx, text: str, sources: Mapping[str, Source], rules: Rules, *, whole_addresses: bool = False) -> Why:
    """Everything known about what `text` names: an email address, an order number, a click ID, a name, or any other ID."""
    text = text.strip()
    story = story_of(tx, text, sources, whole_addresses=whole_addresses) if text else Story()
    explanation = explain(text, story, sources, rules)
    held = held_naming(tx, Traces([text])) if story.is_empty and text else []
    return replace(explanation, findings=[_in_quarantine(text, held)]) if held else explanation


def why_person(tx: Tx, person_id: int, sources: Mapping[str, Source], rules: Rules) -> Why:
    return explain(f"person:{person_id}", story_of_person(tx, person_id), sources, rules)


def no_clicks_of(
    tx: Tx,
    sources: Mapping[str, Source],
    rules: Rules,
    *,
    conversion_id: int | None = None,
    person_id: int | None = None,
) -> Mapping[int, NoClick]:
    """Why deliveries of a conversion, or of a person, carry no click ID, by the delivery's ID; without those that carry one."""
    if person_id is not None:
        return why_person(tx, person_id, sources, rules).reasons
    return explain("", story_of_conversion(tx, conversion_id or 0), sources, rules).reasons


def explain(text: str, story: Story, sources: Mapping[str, Source], rules: Rules) -> Why:
    carried: dict[int, str] = {}
    reasons: dict[int, NoClick] = {}
    findings: list[Finding] = []
    of_conversion: dict[int, list[dict[str, Any]]] = {}
    for delivery in story.deliveries:
        of_conversion.setdefault(delivery["conversion_id"], []).append(delivery)
    for conversion in story.conversions:
        deliveries = of_conversion.get(conversion.id, [])
        source, body = sources.get(conversion.source), story.bodies.get(conversion.event_id)
        for delivery in deliveries:
            click = click_in(delivery, conversion)
            if click:
                carried[delivery["id"]] = click
            else:
                reason = why_no_click(conversion, body, source, rules, is_sent=delivery["attempts"] > 0)
                if reason is not None:
                    reasons[delivery["id"]] = reason
            findings.append(_of_delivery(delivery, conversion, click, reasons.get(delivery["id"])))
        if not deliveries:
            findings.append(_of_unsent(conversion))
    findings += [of_event for event in story.events if (of_event := _of_event(event)) is not None]
    if story.is_empty:
        findings.append(_nothing(text))
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    return Why(text, findings, story, carried, reasons)


def click_in(delivery: Mapping[str, Any], conversion: Conversion) -> str | None:
    """The click ID that the payload of a delivery carries, of those that are known of its conversion."""
    return next((click for click in conversion.clicks if _holds(delivery["payload"], click)), None)


def _holds(value: Any, click: str) -> bool:
    if isinstance(value, dict):
        return any(_holds(part, click) for part in value.values())
    if isinstance(value, list):
        return any(_holds(part, click) for part in value)
    return isinstance(value, str) and click in value


def _of_delivery(
    delivery: Mapping[str, Any], conversion: Conversion, click: str | None, reason: NoClick | None
) -> Finding:
    subject = f"{delivery['kind'].capitalize()} {_named(delivery)}to {delivery['destination']}"
    path, link = f"/deliveries/{delivery['id']}", f"Delivery {delivery['id']}"
    status, error = delivery["status"], delivery["last_error"] or "no reason is recorded"
    if status == "dead":
        return Finding("bad", f"{subject} failed: {error}.", "Fix the cause, then replay the delivery.", path, link)
    if status == "unattributed":
        text = f"{subject}: the destination knows no click or customer for it."
        step = reason.next_step if reason else "It is sent again when a click ID of this person arrives."
        return Finding("bad", f"{text} {reason.text}" if reason else text, step, path, link)
    if status == "discarded":
        return Finding(
            "warn", f"{subject} was discarded and is not sent: {error}.", "Replay it if it should count.", path, link
        )
    if status == "shadow":
        step = f'Set mode = "live", then run `bridge replay --to {delivery["destination"]} --id {delivery["id"]}`.'
        return Finding("warn", f"{subject} was not sent: the destination is in shadow mode.", step, path, link)
    if status in ("pending", "retrying"):
        failed = f" The last attempt failed: {error}." if status == "retrying" else ""
        waits = " It waits for an event that says who the customer is." if delivery["held"] else ""
        step = "It is sent by itself. Look at the destination if it stays."
        return Finding("warn", f"{subject} is {status}.{failed}{waits}", step, path, link)
    when = (delivery["delivered_at"] or "")[:16].replace("T", " ")
    taken = f"{subject} was delivered ({when} UTC, {delivery['last_status'] or 'accepted'})"
    if click is None and delivery["kind"] != "refund" and reason is not None:
        text = f"{taken}, but cannot be credited to a link. {reason.text}"
        return Finding("bad" if conversion.kind == "sale" else "warn", text, reason.next_step, path, link)
    carried = f" with click ID {click}" if click else ""
    step = f"Ask {delivery['destination']} about {delivery['invoice_id'] or delivery['dedupe_key']} if it does not show it."
    return Finding("ok", f"{taken}{carried}.", step, path, link)


def _of_unsent(conversion: Conversion) -> Finding:
    path, link = f"/events/{conversion.event_id}", f"Event {conversion.event_id}"
    if conversion.state == "pending":
        step = "The Sale follows when the provider reports the payment."
        return Finding("warn", f"{conversion.key}: money was promised and is not collected yet.", step, path, link)
    if conversion.state == "released":
        return Finding("note", f"{conversion.key}: money was promised and never collected.", "", path, link)
    step = (
        "See which kinds and sources each destination takes; `bridge replay --help` says how to send it to another one."
    )
    text = f"{conversion.key} was counted and has no delivery: no destination takes it, or retention removed it."
    return Finding("warn", text, step, path, link)


def _of_event(event: Mapping[str, Any]) -> Finding | None:
    path, link = f"/events/{event['id']}", f"Event {event['id']}"
    subject = f"Event {event['id']} ({event['event_type']} from {event['source']})"
    if event["outcome"] == "parked":
        step = "Fill in what is missing, or fix the mapping and reprocess it."
        return Finding("bad", f"{subject} is parked and not sent: {event['reason']}.", step, path, link)
    if event["outcome"] != "ignored":
        return None
    if event["reason"].startswith(DISMISSED):
        step = "Undo the dismissal if it should count."
        return Finding("warn", f"{subject} was {event['reason']}.", step, path, link)
    return Finding("note", f"{subject} was ignored: {event['reason'].rstrip('.')}.", "", path, link)


def _nothing(text: str) -> Finding:
    step = (
        "Check in the provider’s log whether the webhook was sent, and under Refused whether it was rejected."
        " `bridge backfill stripe --since 7d` fetches missing events from Stripe."
    )
    return Finding("bad", f"Nothing was received about “{text}”.", step, "/inbound", "Refused requests")


def _in_quarantine(text: str, held: Sequence[int]) -> Finding:
    count = len(held)
    mentions = (
        "1 request that was refused for its signature mentions"
        if count == 1
        else f"{count:,} requests that were refused for their signature mention"
    )
    step = "Correct the secret, then verify the quarantine again: authentic requests are accepted."
    path = f"/inbound/quarantine/{held[-1]}"
    return Finding("bad", f"No event mentions “{text}”, but {mentions} it.", step, path, f"Request {held[-1]}")


def _named(delivery: Mapping[str, Any]) -> str:
    invoice, amount = delivery["invoice_id"], delivery["amount"]
    worth = f" ({amount_text(amount, delivery['currency'])})" if amount is not None else ""
    return f"{invoice}{worth} " if invoice else ""
