"""Bodies that are just names and values, as their owner chose them: the reader of WPForms, Gravity Forms, Elementor, most
presets and the sources of one's own."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from app.sources.field_names import fold
from app.sources.forms.labels import words
from app.sources.parse import text_of
from app.sources.submission import MOST_FIELDS, Field, FieldType

DEEPEST = 6

DECLARED: Mapping[str, FieldType] = {
    **dict.fromkeys(("email", "emailaddress", "emailinput", "inputemail"), "email"),
    **dict.fromkeys(("tel", "phone", "phonenumber", "telephone", "inputphonenumber", "mobile"), "phone"),
    **dict.fromkeys(("name", "fullname", "shortname", "contactname"), "name"),
    **dict.fromkeys(("firstname",), "first_name"),
    **dict.fromkeys(("lastname",), "last_name"),
    **dict.fromkeys(("hidden", "hiddenfields", "urlparameter"), "hidden"),
    **dict.fromkeys(
        words(
            "select radio checkbox checkboxes file fileupload upload date time datetime datepicker number url website link "
            "acceptance legal signature rating slider scale matrix ranking multiplechoice multipleselect choice choices dropdown "
            "password html address payment product price calculation boolean yesno image color appointment captcha"
        ),
        "other",
    ),
}
NAMES_OF_A_PERSON = words(
    "first last middle prefix suffix firstname lastname first_name last_name firstandlast full title"
)
NAMES_OF_A_NUMBER = words("full area phone country number e164")


def declared(kind: object) -> FieldType:
    """What a declared type ("tel", "EmailInput", "phone_number") says; "text" where it is not known."""
    return DECLARED.get(fold(text_of(kind) or "").replace("_", ""), "text")


def fields_from(values: Mapping[str, Any], *, skip: frozenset[str] = frozenset()) -> tuple[Field, ...]:
    """Every field of an object: scalars by their dotted path; {id, type, title, value} and {label, answer} as what they
    as_field; {first, last} whole. Names in `skip` (folded) are left out at the top."""
    fields: list[Field] = []
    for field in _walk(values, "", 0, skip):
        fields.append(field)
        if len(fields) >= MOST_FIELDS:
            break
    return tuple(fields)


def _walk(values: Mapping[str, Any], path: str, depth: int, skip: frozenset[str]) -> Iterator[Field]:
    for key, value in values.items():
        if fold(key) in skip:
            continue
        location = f"{path}.{key}" if path else key
        if isinstance(value, list):
            yield from _listed(value, key, location, depth)
        elif not isinstance(value, dict):
            yield Field(id=key, key=location, value=value)
        elif described := as_field(value, key):
            yield described
        elif _is_composite(value):
            yield Field(id=key, key=location, value=value)
        elif depth < DEEPEST:
            yield from _walk(value, location, depth + 1, frozenset())


def _listed(values: list[Any], key: str, location: str, depth: int) -> Iterator[Field]:
    if not any(isinstance(value, dict) for value in values):
        yield Field(id=key, key=location, value=values)
        return
    for number, value in enumerate(values[:MOST_FIELDS]):
        if isinstance(value, dict):
            described = as_field(value, "")
            if described:
                yield described
            elif depth < DEEPEST:
                yield from _walk(value, f"{location}.{number}", depth + 1, frozenset())


def as_field(entry: Mapping[str, Any], key: str) -> Field | None:
    """The field that an object like {"id": …, "type": "email", "title": …, "value": …} describes; None if it is none."""
    holder = next((name for name in ("value", "answer", "values") if name in entry), None)
    label = next((text for name in ("title", "label", "question", "name") if (text := text_of(entry.get(name)))), None)
    own_id = text_of(entry.get("id"))
    kind = entry.get("type") or entry.get("field_type")
    if holder is None or not (label or own_id or kind):
        return None
    return Field(
        id=own_id or key,
        key=text_of(entry.get("custom_key")) or text_of(entry.get("key")) or key or text_of(entry.get("name")) or "",
        label=label or "",
        type=declared(kind),
        value=entry[holder],
    )


def _is_composite(value: Mapping[str, Any]) -> bool:
    keys = {fold(key) for key in value}
    return bool(keys) and (keys <= NAMES_OF_A_PERSON or keys <= NAMES_OF_A_NUMBER)


def below(values: Mapping[str, Any]) -> tuple[Field, ...]:
    """What lies deeper in metadata ({"attribution": {"clickId": …}}), as hidden fields."""
    return tuple(replace(field, type="hidden") for field in fields_from(values) if field.key != field.id)


def get(values: Mapping[str, Any], *names: str) -> Any:
    """The first value under one of `names`, which are compared folded; None if there is none."""
    folded = {fold(key): value for key, value in values.items()}
    return next((folded[name] for name in names if folded.get(name) not in (None, "", [], {})), None)
