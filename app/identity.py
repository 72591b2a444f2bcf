"""The forms in which a person's identifiers are compared, and the id that names a customer when nothing is remembered."""

import re
import unicodedata

from app.model import Mapped, Who

LONGEST_TEXT = 512
NOBODY = "nobody is identified: it carries no e-mail address, no phone number with its country code and no customer id"


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
    """Who this is to the destination, if never sent before: the explicit id, else `cus_…`, else the e-mail, else the phone."""
    if who.customer_id:
        return who.customer_id
    for alias in who.aliases:
        bare = alias.rsplit(":", 1)[-1]
        if bare.startswith("cus_"):
            return bare
    if who.email:
        return normal_email(who.email)
    return normal_phone(who.phone, phone_region) if who.phone else None


def dedupe_key(source: str, mapped: Mapped, key: str) -> str:
    """`sale:stripe:in_1`, or `sale:stripe:acct_1:in_1` for a connected account."""
    scope = f"{mapped.account}:" if mapped.account else ""
    return f"{mapped.kind}:{source}:{scope}{key}"


def storable(text: str) -> str:
    """Text that every database takes: no NUL, no lone surrogate, of bounded length."""
    if text.isascii() and text.isprintable() and len(text) <= LONGEST_TEXT:
        return text
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", text)[:LONGEST_TEXT]
