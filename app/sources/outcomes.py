"""What an event becomes: a Sale, a Lead, or neither. Sources say so through these, with what they read as a Submission."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from app.model import Adjustment, Draft, Hold, Lead, Mapped, Product, Rules, Sale, Who
from app.money import Money, Payment, plausible_tax
from app.sources.parse import body_hash, text_of
from app.sources.submission import Submission, who_of

Keys = tuple[str, ...]
MOST_PRODUCTS = 20
"""Lines of one purchase that are kept."""
NOTHING = Money(0, "")
NOT_COLLECTED = "no money was collected: the amount is zero or negative"


class Missing(str):
    """Why there is not a Money, for people, with what there is of it (see Draft)."""

    lacks: tuple[str, ...] = ("amount", "currency")
    amount: Any = None
    tax: Any = None
    unit: str = "major"
    currency: str | None = None

    @classmethod
    def money(cls, reason: str, *lacks: str, amount: Any, unit: str, currency: str | None) -> "Missing":
        missing = cls(reason)
        missing.lacks, missing.amount, missing.unit, missing.currency = lacks, amount, unit, currency
        return missing

    def called(self, reason: str) -> "Missing":
        """The same for another reason."""
        missing = self.money(reason, *self.lacks, amount=self.amount, unit=self.unit, currency=self.currency)
        missing.tax = self.tax
        return missing


def sale(
    source: str,
    view: Submission,
    rules: Rules,
    money: Money | str,
    *,
    keys: Keys,
    invoice_id: str | None = None,
    order_id: str | None = None,
    event_name: str = "order_paid",
    reason: str = "an order was paid",
    metadata: Mapping[str, Any] | None = None,
    products: Iterable[Product] = (),
    promotion_codes: Iterable[Any] = (),
    who: Who | None = None,
    no_id: str = "it has no id of the payment, so it could not be counted once",
    **flags: Any,
) -> Mapped:
    """The Sale of `money`. A text instead of Money says what is missing, and parks it; nothing or less was not collected.

    keys: ids that name this payment, the one to send (where invoice_id is not given) first. who: instead of what `view` says.
    no_id: the reason where there are none. flags: of Mapped (hold, releases, …).
    """
    person = who_of(view, rules) if who is None else who
    common = {**_envelope(view), "keys": keys, "who": person, **flags}
    lines = tuple(entry for entry in products if entry.id or entry.name)[:MOST_PRODUCTS]
    codes = tuple(dict.fromkeys(code for entry in promotion_codes if (code := text_of(entry))))[:MOST_PRODUCTS]
    paid = money if isinstance(money, Money) else NOTHING
    conversion = Sale(
        invoice_id or (keys[0] if keys else ""),
        Money(paid.minor, paid.currency),
        order_id,
        event_name,
        {**described(lines, codes), **(metadata or {})},
        lines,
        codes,
        plausible_tax(money.tax, money.minor) if isinstance(money, Payment) else 0,
    )
    if not keys or isinstance(money, str):
        missing = money if isinstance(money, str) else no_id
        return Mapped(outcome="parked", reason=missing, draft=_draft(conversion, money, keys, reason), **common)
    if money.minor <= 0:
        carries_identity = bool(person.aliases)
        return Mapped(
            outcome="ignored",
            reason=NOT_COLLECTED,
            **{**common, "carries_identity": carries_identity},
        )
    return Mapped(outcome="sale", reason=reason, sale=conversion, **common)


def _draft(conversion: Sale, money: Money | str, keys: Keys, reason: str) -> Draft:
    if isinstance(money, Money):
        tax = money.tax if isinstance(money, Payment) else None
        return Draft(("id",), conversion, money.minor, tax, "stripe", money.currency, reason)
    known = money if isinstance(money, Missing) else Missing(money)
    lacks = known.lacks if keys else ("id", *known.lacks)
    return Draft(lacks, conversion, known.amount, known.tax, known.unit, known.currency, reason)


def described(products: Iterable[Product], codes: Sequence[str]) -> dict[str, Any]:
    """What is bought, and with which promotion codes, as the metadata of a Sale."""
    named: list[dict[str, Any]] = [
        {"name": product.name} | ({} if product.quantity is None else {"quantity": product.quantity})
        for product in products
        if product.name
    ]
    return ({"products": named} if named else {}) | ({"discount_codes": list(codes)} if codes else {})


def lead(
    source: str,
    view: Submission,
    rules: Rules,
    *,
    event_name: str = "form_submitted",
    reason: str = "a form was submitted",
    **flags: Any,
) -> Mapped:
    """The Lead that a conversion becomes. Whether anybody is identified is judged centrally, for every source alike."""
    return _of_a_lead(source, view, "lead", reason, who_of(view, rules), event_name, flags)


def signed_up(
    source: str, view: Submission, rules: Rules, *, is_verified: bool = False, id_name: str = "data.id"
) -> Mapped:
    """The Lead of a new account. is_verified: its address is verified already. id_name: the field of the account's ID."""
    if not view.submission_id:
        missing = f"it has no {id_name}, so it could not be counted once"
        return parked(source, view, rules, missing, event_name="signed_up", lacks=("id",))
    reason = "an account was created"
    return lead(source, view, rules, event_name="signed_up", reason=reason, verifies_email=is_verified)


def trial_started(source: str, view: Submission, rules: Rules, trial_id: str | None, *, hold: Hold = "none") -> Mapped:
    """The Lead of a trial of a subscription, counted once by `trial_id`."""
    trial = replace(view, submission_id=trial_id)
    return lead(source, trial, rules, event_name="trial_started", reason="a trial started", hold=hold)


def user_event(
    source: str, view: Submission, rules: Rules, *, is_verified: bool, type_name: str = "type", id_name: str = "data.id"
) -> Mapped:
    """What an event of a user directory becomes: user.created is a Lead, and user.updated may say that its address is verified.

    type_name, id_name: the fields of the event's type and of the account's ID, for people.
    """
    if not view.event:
        return parked(source, view, rules, f"it has no {type_name}", event_name="signed_up")
    if view.event == "user.updated" and view.submission_id and is_verified:
        return ignored(view, "user.updated is not a sign-up", rules, keys=(), verifies_email=True)
    if view.event != "user.created":
        return ignored(view, f"{view.event} is not a sign-up", rules)
    return signed_up(source, view, rules, is_verified=is_verified, id_name=id_name)


def parked(
    source: str,
    view: Submission,
    rules: Rules,
    missing: str,
    *,
    event_name: str = "form_submitted",
    lacks: Sequence[str] = (),
    **flags: Any,
) -> Mapped:
    """A conversion that cannot be sent as it stands; `missing` is for people. lacks: what it lacks ("id", "person"), where it
    counts once an operator fills that in."""
    if lacks:
        flags["draft"] = Draft(tuple(lacks), reason="a form was submitted")
    return _of_a_lead(source, view, "parked", missing, who_of(view, rules), event_name, flags)


def ignored(
    view: Submission,
    reason: str,
    rules: Rules | None = None,
    *,
    keys: Keys | None = None,
    same_as: Keys = (),
    who: Who | None = None,
    **flags: Any,
) -> Mapped:
    """Authentic, and not a conversion. What it says of its person is kept for the submission or payment that it is about.

    keys: ids of that payment; None: the submission's own. same_as: ids of what it replaces, which count once together with it.
    who: instead of what `view` says. flags: of Mapped; `carries_identity` has the person remembered as well.
    """
    if keys is None:
        flags.setdefault("about", "lead")
        envelope, keys = _envelope(view), (view.submission_id, *view.other_ids) if view.submission_id else ()
    else:
        envelope = _envelope(view)
    if keys and same_as:
        flags["links_keys"] = True
    person = who_of(view, rules or Rules()) if who is None else who
    return Mapped(outcome="ignored", reason=reason, keys=(*keys, *same_as), who=person, **envelope, **flags)


def refunded(
    view: Submission,
    money: Money | str,
    *,
    reference: str | None,
    keys: Keys,
    status: str,
    kind: Literal["refund", "dispute"] = "refund",
) -> Mapped:
    """Money that went back, or is disputed: it marks the Sale of `keys`. reference: unique to it, the same in each of its events,
    of which the newest counts."""
    if reference is None or not keys or isinstance(money, str) or money.minor <= 0:
        return ignored(view, f"a {kind} that does not say what it is of, or how much", keys=keys)
    mark = Adjustment(kind, reference, money, status, view.occurred_at)
    return ignored(view, f"a {kind} counts against its Sale", keys=keys, mark=mark)


def event_id_of(view: Submission) -> str:
    """The provider's id of the event, else its name and the submission's id, else a hash of the body."""
    if view.event_id:
        return view.event_id
    if view.submission_id:
        joined = ":".join(part for part in (view.event, view.account, view.submission_id) if part)
        return joined if len(joined) <= 255 else body_hash(joined.encode())
    return body_hash(view.body)


def _envelope(view: Submission) -> dict[str, Any]:
    return {
        "event_id": event_id_of(view),
        "event_type": view.event,
        "account": view.account,
        "occurred_at": view.occurred_at,
    }


def _of_a_lead(
    source: str,
    view: Submission,
    outcome: Literal["lead", "parked"],
    reason: str,
    who: Who,
    event_name: str,
    flags: Mapping[str, Any],
) -> Mapped:
    submission_id = view.submission_id
    metadata = {"source": source, "form": view.form, "event": view.event}
    keys = (submission_id, *view.other_ids) if submission_id else ()
    conversion = Lead(submission_id or event_id_of(view), event_name, metadata={k: v for k, v in metadata.items() if v})
    return Mapped(outcome=outcome, reason=reason, keys=keys, who=who, lead=conversion, **_envelope(view), **flags)
