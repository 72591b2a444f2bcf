"""Names of fields in the one form in which they are compared, whatever a tool put around them.

`fold` keeps the words of a name apart; `plain_name` also takes off what tools add: "No Label clickid", q5_q5_clickid3, clickId*,
"Click ID (required):". Nothing else is taken off: partner_user_id is not user_id.
"""

import html
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")

LONGEST_NAME = 300
MARKUP = re.compile(r"<[^<>]{0,200}>")
WIDTHLESS = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
NO_LABEL = re.compile(
    r"^(?:no label|kein label|keine beschriftung|ohne label|sans (?:étiquette|libellé)|pas d['’]étiquette|sin etiqueta|"
    r"nessuna etichetta|senza etichetta|sem (?:etiqueta|rótulo)|geen label|brak etykiety|ingen etikett?)[\s_-]+"
)
"""Elementor's prefix of a field without a label, in the language of the site."""
QUESTION_NUMBER = re.compile(r"^(?:q\d{1,6}[_\s-]+)+(?=[^\W\d])")
"""Jotform's, at times doubled; such names end in a counter as well."""
LIST_NUMBER = re.compile(r"^(?:q(?:uestion)?\s*)?\d{1,3}\s*[.):]\s*(?=[^\W\d_])")
"""3. Click ID, Q3: Click ID."""
REMARK = re.compile(
    r"\s*[(\[](?:required|optional|hidden|mandatory|pflichtfeld|erforderlich|versteckt|obligatoire|facultatif|obligatorio|"
    r"opcional|obbligatorio|facoltativo|obrigatório|verplicht|wymagane)[)\]]"
)
AROUND = " \t\r\n*:：?.,;\"'`\u00a0✱＊"
SEPARATORS = re.compile(r"[\s\-_]+")
COUNTER = re.compile(r"\d+$")


def fold(name: str) -> str:
    """The words of a name without case: "Click ID" is click_id."""
    return _folded(name) if len(name) <= LONGEST_NAME else _folded.__wrapped__(name)


@lru_cache(maxsize=8192)
def _folded(name: str) -> str:
    return "_".join(name.casefold().replace("-", " ").split())


@lru_cache(maxsize=8192)
def plain_name(name: str) -> str:
    """A name without what tools put around it, and without case, spaces, dashes and underscores: "* Click ID:" is clickid."""
    if len(name) > LONGEST_NAME:
        return ""
    text = WIDTHLESS.sub("", html.unescape(MARKUP.sub(" ", name))).casefold().strip(AROUND)
    text = NO_LABEL.sub("", text).strip(AROUND)
    bare = QUESTION_NUMBER.sub("", text)
    if bare != text:
        bare = COUNTER.sub("", bare) or bare
    text = REMARK.sub("", LIST_NUMBER.sub("", bare).strip(AROUND)).strip(AROUND)
    return SEPARATORS.sub("", text)


def first_named(values: Mapping[str, T], names: Iterable[str]) -> T | None:
    """The value under the first of `names` that is there. `values` holds each value under fold(name) and "=" + plain_name(name),
    so that a name as it was configured goes before a decorated one."""
    if not values:
        return None
    for form in _forms(tuple(names)):
        if (value := values.get(form)) is not None:
            return value
    return None


@lru_cache(maxsize=1024)
def _forms(names: tuple[str, ...]) -> tuple[str, ...]:
    """What `first_named` looks for, in this order."""
    return (*map(fold, names), *(f"={plain_name(name)}" for name in names))


def keep_named(values: dict[str, T], name: str, value: T) -> None:
    """Adds `value` to what `first_named` reads, unless its name is taken: the first of several counts."""
    if name and len(name) <= LONGEST_NAME:
        values.setdefault(fold(name), value)
        values.setdefault(f"={plain_name(name)}", value)
