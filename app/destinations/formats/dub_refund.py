"""What the format `dub` does about a refund: the commission of the Sale is looked up by its invoice, and then lowered or refunded.

Analytics are never undone. `saleAmount` is absolute, so a request may be repeated; it is a share of the amount that Dub itself
counted (in US cents, at the rate of that day), which is why that amount is remembered before it is changed.
https://dub.co/docs/api-reference/endpoint/list-commissions and .../update-commission; refusals as in Dub's
apps/web/lib/api/commissions/update-partner-commission.ts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import Field, StrictBool, StrictInt
from pydantic_core import from_json, to_json

from app.destinations.formats.base import Answered, HttpRequest, Sent, Verdict, by_status, json_headers, json_object
from app.destinations.formats.checks import Fields, Text, Whole

CLOSED = ("refunded", "duplicate", "canceled", "fraud")
"""Statuses in which a commission pays nobody."""
ALREADY_PAID = ("has already been paid", "payout is already")
ALREADY_SO = "already in the"
Step = Literal["look up", "refund", "reopen", "set"]


class RefundFields(Fields):
    """What is kept of a refund. Amounts are in Dub's units, and only their ratio is sent."""

    invoiceId: Text  # noqa: N815 - names like those of Dub's own fields
    refundId: Text  # noqa: N815
    saleAmount: Whole  # noqa: N815
    amountLeft: Annotated[StrictInt, Field(ge=0)]  # noqa: N815
    isRestored: StrictBool = False  # noqa: N815


@dataclass(frozen=True, slots=True)
class Commission:
    """What is remembered of a commission. amount: what Dub counted for the whole Sale; at: what it counts now; is_refunded: we gave
    it that status."""

    id: str
    amount: int
    at: int
    is_refunded: bool = False

    @staticmethod
    def read(text: str | None) -> "Commission | None":
        return Commission(**from_json(text)) if text else None

    def text(self) -> str:
        return to_json({"id": self.id, "amount": self.amount, "at": self.at, "is_refunded": self.is_refunded}).decode()


def request(body: str, key: str, token: str, remembered: str | None) -> HttpRequest:
    """The next request: the look-up, or a change of the commission."""
    fields, commission = json_object(body.encode()), Commission.read(remembered)
    step = _step(fields, commission)
    if commission is None or step == "look up":
        path = f"/commissions?invoiceId={quote(str(fields.get('invoiceId', '')), safe='')}"
        return HttpRequest("GET", path, json_headers(token, key), b"")
    changes: dict[str, Any] = {"status": "refunded" if step == "refund" else "pending"}
    if step == "set":
        changes = {"saleAmount": _target(fields, commission), "currency": "usd"}
    path = f"/commissions/{quote(commission.id, safe='')}"
    return HttpRequest("PATCH", path, json_headers(token, key), to_json(changes))


def verdict(answer: Answered, sent: Sent) -> Verdict:
    """What the answer to the request that belonged to `sent.remembered` means."""
    fields, commission = json_object(sent.body.encode()), Commission.read(sent.remembered)
    if answer.status == 403:
        # Of the refund alone: conversions need another scope of the token, and go on.
        return Verdict(
            "permanent", "answered 403: the token may not read or change commissions; give it that scope and replay"
        )
    step = _step(fields, commission)
    if commission is None or step == "look up":
        return _looked_up(answer, sent, fields, commission)
    return _changed(answer, sent, fields, commission, step)


def _step(fields: Mapping[str, Any], commission: Commission | None) -> Step:
    if commission is None:
        return "look up"
    target, is_restored = _target(fields, commission), fields.get("isRestored") is True
    if target == 0:
        return "refund"
    if commission.is_refunded:
        return "reopen" if is_restored else "look up"
    return "set" if is_restored or target <= commission.at else "look up"


def _target(fields: Mapping[str, Any], commission: Commission) -> int:
    """What Dub is to count for the Sale."""
    share = Decimal(fields["amountLeft"]) / Decimal(fields["saleAmount"] or 1)
    return int((commission.amount * share).to_integral_value(ROUND_HALF_EVEN))


def _looked_up(answer: Answered, sent: Sent, fields: Mapping[str, Any], known: Commission | None) -> Verdict:
    if not 200 <= answer.status <= 299:
        return _refused(answer, sent)
    if known is not None:
        return Verdict("delivered", note="Dub counts less for this Sale already")
    commission = _found(answer.body, fields.get("invoiceId"))
    if commission is None:
        # Dub makes it some seconds after the Sale, or never: most Sales earn no partner anything.
        error = "Dub has no commission for this Sale"
        return Verdict("transient", error, at_last="unattributed")
    if fields.get("isRestored") is True:
        return Verdict("delivered", note="the bridge did not change the commission of this Sale")
    if commission.get("status") in CLOSED:
        return Verdict("delivered", note=f"the commission was {commission['status']} already")
    amount = commission.get("amount")
    if not isinstance(amount, int) or isinstance(amount, bool):
        return Verdict("permanent", "Dub's commission has no amount, so there is nothing to lower")
    return Verdict("continued", remember=Commission(str(commission["id"]), amount, amount).text())


def _changed(answer: Answered, sent: Sent, fields: Mapping[str, Any], known: Commission, step: Step) -> Verdict:
    message = message_of(answer.body)
    is_so = answer.status == 400 and ALREADY_SO in message.lower()
    if not (200 <= answer.status <= 299 or is_so):
        return _refused(answer, sent)
    if step == "refund":
        return Verdict("delivered", remember=replace(known, is_refunded=True).text())
    target = _target(fields, known)
    if step == "reopen":
        reopened = replace(known, is_refunded=False).text()
        return Verdict("delivered" if known.at == target else "continued", remember=reopened)
    return Verdict("delivered", remember=replace(known, at=target).text())


def _refused(answer: Answered, sent: Sent) -> Verdict:
    message = message_of(answer.body)
    if answer.status == 400 and any(words in message.lower() for words in ALREADY_PAID):
        return Verdict("permanent", f"Dub refused: {message} Create a clawback in Dub instead.")
    if answer.status == 404 and sent.remembered:
        return Verdict(
            "transient", "answered 404: Dub has this commission no longer", remember="", at_last="unattributed"
        )
    verdict = by_status(answer, sent)
    return (
        replace(verdict, error=f"answered {answer.status}: {message}")
        if verdict.result == "permanent" and message
        else verdict
    )


def _found(answer: bytes, invoice_id: object) -> dict[str, Any] | None:
    """The commission of a Sale among those that were listed."""
    try:
        listed = from_json(answer)
    except ValueError:
        return None
    for commission in listed if isinstance(listed, list) else ():
        is_of_sale = isinstance(commission, dict) and commission.get("id") and commission.get("type", "sale") == "sale"
        if is_of_sale and commission.get("invoiceId", invoice_id) == invoice_id:
            return dict(commission)
    return None


def message_of(answer: bytes) -> str:
    error = json_object(answer).get("error")
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) else ""
