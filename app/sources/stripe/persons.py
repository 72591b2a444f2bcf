"""Who an event is about: metadata first, wherever the merchant put it, then what Checkout asked the buyer."""

from collections.abc import Callable, Iterable, Iterator

from app.model import Rules, Who
from app.sources.click_ids import clicks_in, clicks_in_urls
from app.sources.field_names import first_named
from app.sources.parse import email_of, identifier_of, ids_by_name, pick, text_of
from app.sources.placeholders import is_no_name
from app.sources.stripe.event import StripeEvent
from app.sources.stripe.fields import JsonObject, id_of, object_of

CUSTOMER_PREFIX = "cus_"
EMAIL_NAMES = ("email", "customer_email", "customerEmail")


def name_person(
    event: StripeEvent,
    *,
    places: Iterable[object],
    customer: object,
    subscription: str | None = None,
    session: str | None = None,
    reference: object = None,
    emails: Iterable[object] = (),
    names: Iterable[object] = (),
    phones: Iterable[object] = (),
    purchase: Iterable[str | None] = (),
) -> Who:
    """`places` are metadata objects, the most telling first; `customer` is an id or an expanded object; `reference` is
    client_reference_id; of `emails`, `names` and `phones` the first that is one counts. `purchase`: its ids, by which a guest
    (no customer at Stripe) is found again, whom its other events may know by another mailbox or by none."""
    metadata = [place for place in places if place and isinstance(place, dict)]
    click_id, customer_id = find_ids(metadata, event.rules)
    reference_click, reference_customer = split_reference(reference, event.rules)
    expanded = object_of(customer)
    email = _first(email_of, (*emails, expanded.get("email")))
    is_reference = customer_id is None and reference_customer is not None
    customer_id, click_id = customer_id or reference_customer, click_id or reference_click
    is_guest = id_of(customer) is None and bool(customer_id or click_id or email)
    aliases = (id_of(customer), subscription, session, *(purchase if is_guest else ()))
    return Who(
        customer_id=customer_id,
        is_reference=is_reference,
        provider_id=_own_id(customer),
        click_id=click_id,
        email=email,
        name=first_name((*names, expanded.get("name")), email),
        phone=_first(text_of, (*phones, expanded.get("phone"))),
        aliases=tuple([event.alias(identifier) for identifier in aliases if identifier]),
        clicks=find_clicks(metadata, event.rules),
    )


def _first(read: Callable[[object], str | None], values: Iterable[object]) -> str | None:
    """What `read` makes of the first of `values` that it can read."""
    for value in values:
        if value is not None and (text := read(value)):
            return text
    return None


def _own_id(customer: object) -> str | None:
    """cus_…: the id that names a customer where the merchant names none. Others (of an account) do not."""
    identifier = id_of(customer)
    return identifier if identifier and identifier.startswith(CUSTOMER_PREFIX) else None


def find_clicks(places: Iterable[JsonObject], rules: Rules) -> dict[str, str]:
    """Click ids beside the main one, each from the first place that has it; those in URLs after all others."""
    clicks: dict[str, str] = {}
    in_urls: dict[str, str] = {}
    for place in places:
        clicks = {**clicks_in(place.items(), rules), **clicks}
        in_urls = {**clicks_in_urls(place.values(), rules), **in_urls}
    return {**in_urls, **clicks}


def find_ids(places: Iterable[JsonObject], rules: Rules) -> tuple[str | None, str | None]:
    """(click id, customer id), each from the first place that has one."""
    click_id = customer_id = None
    for place in places:
        named = ids_by_name(place)
        click_id = click_id or first_named(named, rules.click_id_names)
        customer_id = customer_id or first_named(named, rules.customer_id_names)
    return click_id, customer_id


def split_reference(reference: object, rules: Rules) -> tuple[str | None, str | None]:
    """client_reference_id as (click id, customer id): at most one of them is there. A bare prefix is neither, nor is a placeholder,
    with or without a prefix."""
    if not isinstance(reference, str) or (identity := identifier_of(reference)) is None:
        return None, None
    for prefix, keep in rules.reference_click_prefixes:
        if identity.startswith(prefix):
            rest = identifier_of(identity[len(prefix) :])
            return (identity if keep and rest else rest), None
    return None, identity if rules.reference_names_customer else None


def first_name(names: Iterable[object], email: str | None) -> str | None:
    """The first that names anybody: Checkout repeats the e-mail address where the buyer gave no name."""
    for value in names:
        name = text_of(value) if value is not None else None
        if name and not is_no_name(name) and (email is None or name.casefold() != email.casefold()):
            return name
    return None


def metadata_of(*holders: object) -> Iterator[object]:
    """The metadata of each holder that is an object (expanded); the others are bare ids."""
    for holder in holders:
        if isinstance(holder, dict):
            yield holder.get("metadata")


def email_in_metadata(holder: JsonObject) -> str | None:
    """An e-mail address that a merchant on PaymentIntents put into the metadata."""
    metadata = holder.get("metadata")
    return pick(metadata, EMAIL_NAMES) if isinstance(metadata, dict) and metadata else None
