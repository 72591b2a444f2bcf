"""Who is who: which person an event is about, when two turn out to be one, and under which id they are sent. Pure.

Explicit customer ids win over the provider's ids, those over e-mail, e-mail over phone. What was first attempted for a person
stands for ever: a fact that would join two persons already sent under different ids joins nothing and is a conflict to show.
"""

import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from app.clicks import EMPTY, Bag, learned, merged, values_of
from app.model import Who

NOBODY = "nobody is identified: it has no email address, no phone number with country code, and no customer ID"
PURCHASE = "purchase"
"""Kind of a candidate: whose the purchase is that the event is about. Its value is the ledger's id of the conversion, or of the
event, that says so."""


@dataclass(slots=True, eq=False)
class Person:
    """A person as the ledger knows them; fields as in its table."""

    id: int
    customer_id: str | None = None
    explicit_id: str | None = None
    provider_id: str | None = None
    email: str | None = None
    name: str | None = None
    phone: str | None = None
    click_first: str | None = None
    click_last: str | None = None
    clicks: Bag = field(default_factory=lambda: EMPTY)
    is_new: bool = False
    is_changed: bool = False
    gained_click: bool = False
    """A first click became known that was not when it was read."""
    merged_into: "Person | None" = None

    def survivor(self) -> "Person":
        """Who this person is after all merges."""
        person = self
        while person.merged_into is not None:
            person = person.merged_into
        return person

    def best_id(self) -> str | None:
        """The id to send for a person of whom nothing was attempted yet."""
        return self.explicit_id or self.provider_id or (normal_email(self.email) if self.email else None) or self.phone


Identifier = tuple[str, str]


@dataclass(slots=True)
class Resolution:
    """The person of an event, the conflicts found on the way, and those merged into another."""

    person: Person
    identifiers: Sequence[Identifier] = ()
    """Those that name this person from now on."""
    conflicts: list[str] = field(default_factory=list)
    merged: list[Person] = field(default_factory=list)
    new_clicks: dict[str, str] = field(default_factory=dict)
    """Click ids beside the main one that this person had not."""


Find = Callable[[Identifier], Sequence[Person]]
"""The persons that have an identifier, the one last seen with it first."""


def identifiers_of(who: Who, phone_region: str | None) -> list[Identifier]:
    """All that can find this person again, strongest first: (kind, value) with kind id, alias, email or phone."""
    identifiers: list[Identifier] = [("id", who.customer_id)] if who.customer_id else []
    identifiers += [("alias", alias) for alias in who.aliases]
    if who.email:
        identifiers.append(("email", normal_email(who.email)))
    phone = normal_phone(who.phone, phone_region) if who.phone else None
    if phone:
        identifiers.append(("phone", phone))
    return identifiers


def completed(who: Who, others: Iterable[Who]) -> Who:
    """`who`, completed from `others`, of which the first counts. `who` itself where nothing is added."""
    for other in others:
        missing: dict[str, Any] = {
            name: value
            for name in ("customer_id", "click_id", "email", "name", "phone")
            if getattr(who, name) is None and (value := getattr(other, name)) is not None
        }
        if other.customer_id and ("customer_id" in missing or (who.is_reference and not other.is_reference)):
            missing |= {"customer_id": other.customer_id, "is_reference": other.is_reference}
        aliases = tuple(alias for alias in other.aliases if alias not in who.aliases)
        clicks = {**other.clicks, **who.clicks} if other.clicks.keys() - who.clicks.keys() else who.clicks
        if missing or aliases or clicks is not who.clicks:
            who = replace(who, aliases=(*who.aliases, *aliases), clicks=clicks, **missing)
    return who


def candidates_of(identifiers: Sequence[Identifier], purchases: Collection[int]) -> list[Identifier]:
    """`identifiers` with the conversions that the event is about: weaker than ids, stronger than a mailbox."""
    if not purchases:
        return list(identifiers)
    known = [(PURCHASE, str(conversion_id)) for conversion_id in purchases]
    ids = [identifier for identifier in identifiers if identifier[0] in ("id", "alias")]
    return [*ids, *known, *(identifier for identifier in identifiers if identifier[0] not in ("id", "alias"))]


def resolve(
    who: Who,
    identifiers: Sequence[Identifier],
    find: Find,
    create: Callable[[], Person],
    attempted: Callable[[Person], bool],
    moment: int = 0,
) -> Resolution:
    """The person that `who` describes, created if necessary, with everything that `who` says.

    attempted(person): whether an attempt was ever made for them; called only if it matters. moment: that of the event (ms).
    """
    if who.is_reference and _is_outranked(who, identifiers, find, attempted):
        who = replace(who, customer_id=None)
        identifiers = [(kind, value) for kind, value in identifiers if kind != "id"]
    resolution: Resolution | None = None
    for identifier, candidate in _candidates(who, identifiers, find):
        if resolution is None:
            resolution = Resolution(candidate)
        elif candidate is not resolution.person:
            _join(resolution, candidate, identifier, attempted)
    if resolution is None:
        resolution = Resolution(create())
    _learn(resolution, who, identifiers, attempted)
    if who.clicks:
        _learn_clicks(resolution, who, moment)
    resolution.identifiers = identifiers
    return resolution


def _is_outranked(who: Who, identifiers: Sequence[Identifier], find: Find, attempted: Callable[[Person], bool]) -> bool:
    """Whether the reference in `who` is new, and an e-mail address or the provider's own id is of a person with an id to keep: an
    order number would make another person of them at each order."""
    if find(("id", who.customer_id or "")):
        return False
    known = (find(identifier) for identifier in identifiers if identifier[0] in ("alias", PURCHASE, "email"))
    return any(
        person.explicit_id is not None or attempted(person)
        for persons in known
        for person in (newest.survivor() for newest in persons[:1])
    )


def _candidates(who: Who, identifiers: Sequence[Identifier], find: Find) -> Iterator[tuple[Identifier, Person]]:
    """Persons with one of the identifiers, strongest first, less those who merely share a mailbox or phone."""
    for identifier in identifiers:
        kind = identifier[0]
        for person in find(identifier):
            person = person.survivor()
            if kind in ("email", "phone") and who.customer_id and person.explicit_id not in (None, who.customer_id):
                continue  # two explicit ids with one mailbox are two persons
            if kind == "phone" and who.email and person.email and normal_email(person.email) != normal_email(who.email):
                continue  # a shared phone does not make one person of two mailboxes
            yield identifier, person
            break


def _join(resolution: Resolution, other: Person, identifier: Identifier, attempted: Callable[[Person], bool]) -> None:
    person = resolution.person
    if person.explicit_id and other.explicit_id and person.explicit_id != other.explicit_id:
        if identifier[0] in ("alias", PURCHASE):
            subject = identifier[1] if identifier[0] == "alias" else "this purchase"
            resolution.conflicts.append(
                f"{subject} belongs to customer {other.explicit_id} and came with customer {person.explicit_id}"
            )
        return
    other_stands = attempted(other)
    if other_stands and attempted(person):
        if person.customer_id != other.customer_id:
            resolution.conflicts.append(
                f"{_shown(identifier)} joins two persons that "
                f"were already sent as {person.customer_id} and {other.customer_id}; they stay two"
            )
            return
        other_stands = False
    # One whom the ledger has goes before one who is new with this group: what waits for them is looked for by their id.
    is_first = person.is_new and not other.is_new
    winner, loser = (other, person) if other_stands or is_first else (person, other)
    _keep_clicks(winner, loser, stands=other_stands or attempted(person))
    for name in ("explicit_id", "provider_id", "email", "name", "phone", "customer_id"):
        if getattr(winner, name) is None:
            setattr(winner, name, getattr(loser, name))
    loser.merged_into = winner
    winner.is_changed = True
    resolution.merged.append(loser)
    resolution.person = winner


def _shown(identifier: Identifier) -> str:
    kind, value = identifier
    return value if kind == "alias" else "one purchase" if kind == PURCHASE else "an e-mail address or phone number"


def _keep_clicks(winner: Person, loser: Person, *, stands: bool) -> None:
    """The first click of two persons is that of whom was known first, by id, unless another was sent already (`stands`)."""
    older, newer = (winner, loser) if winner.id < loser.id else (loser, winner)
    if not (stands and winner.click_first):
        winner.click_first = older.click_first or newer.click_first
    winner.gained_click = winner.click_first is not None
    winner.click_last = newer.click_last or older.click_last
    if loser.clicks:
        winner.clicks = merged(winner.clicks, loser.clicks)


def _learn(
    resolution: Resolution, who: Who, identifiers: Sequence[Identifier], attempted: Callable[[Person], bool]
) -> None:
    person = resolution.person
    phone = next((value for kind, value in identifiers if kind == "phone"), None) if who.phone else None
    learned = (
        ("explicit_id", who.customer_id),
        ("provider_id", who.provider_id),
        ("email", who.email),
        ("name", who.name),
        ("phone", phone),
        ("click_first", who.click_id),
    )
    for name, value in learned:
        if value and getattr(person, name) is None:
            setattr(person, name, value)
            person.is_changed = True
            person.gained_click = person.gained_click or name == "click_first"
    if who.click_id and person.click_last != who.click_id:
        person.click_last = who.click_id
        person.is_changed = True
    if who.customer_id and person.explicit_id != who.customer_id:
        resolution.conflicts.append(f"customer {who.customer_id} arrived for a person known as {person.explicit_id}")
    best = person.best_id()
    if person.customer_id is not None and best != person.customer_id:
        if not attempted(person):
            person.customer_id = best
            person.is_changed = True
        elif who.customer_id and who.customer_id == person.explicit_id and who.customer_id != person.customer_id:
            resolution.conflicts.append(
                f"customer {who.customer_id} arrived after this person was sent as {person.customer_id}, which stays"
            )


def _learn_clicks(resolution: Resolution, who: Who, moment: int) -> None:
    person = resolution.person
    clicks = learned(person.clicks, who.clicks, moment)
    if clicks is not person.clicks:
        resolution.new_clicks = dict(sorted(values_of(clicks) - values_of(person.clicks)))
        person.clicks, person.is_changed = clicks, True


def normal_email(email: str) -> str:
    """Trimmed, in lower case, accents in one spelling; nothing cleverer, since dots and +tags do name other mailboxes at most
    providers, and so may ss for ß."""
    text = email.strip()
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).lower()


def normal_phone(phone: str, region: str | None = None) -> str | None:
    """E.164 where the number carries its country code (or `region` is given and it is valid there), else None."""
    if not phone.lstrip().startswith("+") and region is None:
        return None
    import phonenumbers  # it is large, and few events carry a phone number

    try:
        number = phonenumbers.parse(phone, region)
    except phonenumbers.NumberParseException:
        return None
    if not phonenumbers.is_possible_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def shown_phone(phone: str | None, region: str | None = None) -> str | None:
    """As it is sent: E.164 where that is known, else as it was given."""
    return (normal_phone(phone, region) or phone) if phone else None


def customer_id_of(who: Who, phone_region: str | None = None) -> str | None:
    """Who this is to the destination, if never sent before: the explicit id, else the provider's own (`cus_…`), else the e-mail,
    else the phone."""
    if who.customer_id:
        return who.customer_id
    if who.provider_id:
        return who.provider_id
    if who.email:
        return normal_email(who.email)
    return normal_phone(who.phone, phone_region) if who.phone else None
