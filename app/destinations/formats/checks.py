"""What the formats' own checks of a body share: field types, and a complaint as one sentence."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictInt, StrictStr, ValidationError

from app.destinations.formats.draft import is_longer, json_length
from app.money import from_major

LABEL = "[A-Za-z0-9][A-Za-z0-9-]*"


class Fields(BaseModel):
    """A body: the fields of the format and no others, none of them null."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


def problem_of(model: type[Fields], fields: Mapping[str, Any]) -> str | None:
    """The first thing that is wrong with `fields`, with the field's name and never its value; None if nothing is."""
    try:
        model.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        known = ", ".join(model.model_fields)
        wording = {
            "missing": "is missing",
            "extra_forbidden": f"is not a field of this format; its fields are {known}",
            "string_type": "must be text in quotes",
            "string_too_short": "must not be empty",
            "int_type": "must be a whole number without quotes",
            "float_type": "must be a number without quotes",
            "dict_type": "must be an object",
        }.get(first["type"])
        message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
        sentence = wording or message
        return f"{name} {sentence}" if sentence.startswith(("must", "is ")) else f"{name}: {sentence}"
    return None


def at_most(most: int) -> AfterValidator:
    """Text of `most` characters at most, as the destination counts them."""

    def check(value: str) -> str:
        if is_longer(value, most):
            raise ValueError(f"must be at most {most} characters long")
        return value

    return AfterValidator(check)


def _is_timestamp(value: str) -> str:
    if not value.endswith("Z") or len(value) != len("2026-04-10T12:34:56.000Z"):
        raise ValueError("must be ISO 8601 in UTC with milliseconds and Z, such as 2026-04-10T12:34:56.000Z")
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("is not a date and time") from None
    return value


def _is_trimmed(value: str) -> str:
    if value != value.strip():
        raise ValueError("must not begin or end with spaces")
    if not value:
        raise ValueError("must not be empty")
    return value


def _is_code(value: str) -> str:
    if not re.fullmatch("[A-Z]{3}", value):
        raise ValueError("must be a currency code of three capital letters, such as USD")
    return value


def _is_small(value: dict[str, Any]) -> dict[str, Any]:
    if json_length(value) > LONGEST_METADATA:
        raise ValueError(f"must be at most {LONGEST_METADATA} characters long as JSON")
    return value


def _is_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("must be a number without quotes")
    if not 0 < value < 10**15:
        raise ValueError("must be a number greater than 0")
    return value


LONGEST_METADATA = 10_000
Text = Annotated[StrictStr, Field(min_length=1)]
Short = Annotated[Text, at_most(255)]
Id = Annotated[StrictStr, AfterValidator(_is_trimmed)]
Timestamp = Annotated[StrictStr, AfterValidator(_is_timestamp)]
Currency = Annotated[StrictStr, AfterValidator(_is_code)]
Metadata = Annotated[dict[str, Any], AfterValidator(_is_small)]
Number = Annotated[Any, AfterValidator(_is_number)]
Whole = Annotated[StrictInt, AfterValidator(_is_number)]


def address(local: str, last: str) -> Callable[[str], bool]:
    """Whether an e-mail address is one of ASCII: `local` and `last` are the characters before the @, and the last of them."""
    pattern = re.compile(rf"(?!\.)(?!.*\.\.)[{local}]*[{last}]@(?:{LABEL}\.)+[A-Za-z]{{2,}}")
    return lambda email: pattern.fullmatch(email) is not None


def accepted(is_accepted: Callable[[str], bool]) -> AfterValidator:
    """An e-mail address that `is_accepted` says yes to."""

    def check(value: str) -> str:
        if not is_accepted(value):
            raise ValueError("is not an address of the form that this destination accepts")
        return value

    return AfterValidator(check)


def major_problem(fields: Mapping[str, Any]) -> str | None:
    """What is wrong with an amount in major units of its currency: more decimals than that has."""
    try:
        from_major(fields["amount"], fields["currency"])
    except ValueError as error:
        return str(error)
    return None
