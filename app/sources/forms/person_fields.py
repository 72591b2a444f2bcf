"""Values from outside to what they say of a person: one of several, a name, a phone number. Tolerant: what is none is None."""

import re
from collections.abc import Mapping
from typing import Any

from app.sources.field_names import fold
from app.sources.parse import email_of, text_of
from app.sources.placeholders import is_no_name

LONGEST_NAME = 200
JOINERS = "\u200c\u200d"
"""Part of the spelling of Persian and Indic names, and of emoji; other invisible characters are dropped."""


def single(value: Any) -> Any:
    """The one value of a list (Google's namedValues, repeated form keys): its first that is not empty."""
    if isinstance(value, list | tuple):
        return next((item for item in value if item not in (None, "")), None)
    return value


def name_of(value: Any) -> str | None:
    """A person's name from a text or from {first, last} in the spellings that tools use; None if it holds no letter."""
    value = single(value)
    if isinstance(value, Mapping):
        folded = {fold(key).replace("_", ""): item for key, item in value.items() if isinstance(key, str)}
        first, last = (
            next((name for name in (name_of(folded.get(key)) for key in keys) if name), None)
            for keys in (("first", "firstname", "given", "givenname"), ("last", "lastname", "surname", "familyname"))
        )
        joined = " ".join(part for part in (first, last) if part)
        whole = next(
            (folded[key] for key in ("full", "fullname", "firstandlast", "name", "value") if key in folded), None
        )
        return joined or (name_of(whole) if isinstance(whole, str) else None)
    if not isinstance(value, str):
        return None
    text = " ".join((text_of(value) or "").split())
    if not text.isprintable():
        text = "".join(c for c in text if c.isprintable() or c in JOINERS)
    readable = len(text) <= LONGEST_NAME and any(c.isalpha() for c in text)
    return text if readable and not email_of(text) and not is_no_name(text) else None


PHONE = re.compile(
    r"(?=(?:\D*\d){4,17}\D*$)[+(]?[\d\s().\-/+\u2010-\u2015\u00a0]*\d\)?(?:\s*(?:x|ext\.?|#)\s*\d{1,6})?", re.I
)
COUNTRY_BEFORE_PLUS = re.compile(r"[A-Z]{2}(?=\+)")
"""OpnForm writes the country that was picked before the number: FR+33612345678."""


def phone_of(value: Any) -> str | None:
    """A phone number as it was given: a text, a JSON number (digits), or {area, phone, full}; None if it is none."""
    value = single(value)
    if isinstance(value, Mapping):
        folded = {fold(key): item for key, item in value.items() if isinstance(key, str)}
        whole = next(
            (phone for key in ("full", "e164", "number", "value") if (phone := phone_of(folded.get(key)))), None
        )
        country, *rest = (text_of(folded.get(key)) for key in ("country", "area", "phone"))
        dialled = f"+{country}" if country and country.isdigit() else None
        return whole or phone_of(" ".join(piece for piece in (dialled, *rest) if piece))
    if isinstance(value, float) and value.is_integer() and abs(value) < 10**17:
        value = int(value)
    text = COUNTRY_BEFORE_PLUS.sub("", text_of(value) or "")
    if not text or len(text) > 40 or not PHONE.fullmatch(text):
        return None
    digits = [character for character in text if character.isdigit()]
    return None if len(set(digits)) == 1 or set(digits[3:]) == {"0"} else text  # 000 000 0000, +1 000 000 0000
