"""What is wrong with a setting, in plain words. The value is never shown: it may be a secret."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

Problem = Mapping[str, Any]


def variable_problems(error: ValidationError) -> list[str]:
    """Every complaint about environment variables, each as "NAME: what to do"."""
    problems = []
    for problem in error.errors(include_input=False, include_url=False):
        name = f"{str(problem['loc'][0]).upper()}: " if problem["loc"] else ""
        problems.append(name + _plain(problem, quoted=False))
    return problems


def what_is_wrong(error: ValidationError, model: type[BaseModel], keys: tuple[str, ...]) -> str:
    """The first complaint about a table of bridge.toml, as "key: what to do"."""
    first = error.errors(include_input=False, include_url=False)[0]
    if first["type"] == "extra_forbidden":
        fields = sorted(model.model_fields.items(), key=lambda item: not item[1].is_required())
        text = f"is not known; known are {', '.join(name for name, _ in fields)}"
    else:
        text = _plain(first, quoted=True)
    return f"{'.'.join(str(part) for part in (*keys, *first['loc']))}: {text}"


def _plain(problem: Problem, *, quoted: bool) -> str:
    """quoted: texts are in quotes where the value is written, as in TOML."""
    kind, context = str(problem["type"]), problem.get("ctx") or {}
    if kind == "value_error":
        return str(problem["msg"]).removeprefix("Value error, ")
    if kind == "literal_error":
        expected = str(context["expected"])
        return f"must be {expected if quoted else expected.replace(chr(39), '')}"
    if kind in ("string_too_short", "too_short"):
        least = context["min_length"]
        if kind == "too_short" and context.get("field_type") in ("Tuple", "List"):
            return f"must have {least} or more entries" if least > 1 else "must not be empty"
        return f"must be {least} characters or more"
    for bound, text in BOUNDS.items():
        if kind == bound:
            return text.format(f"{next(iter(context.values())):.12g}")
    if kind in ("bool_parsing", "bool_type"):
        return "must be true or false" if quoted else "must be 1 or 0 (true and false, yes and no work too)"
    if kind == "string_type":
        return "must be text in quotes" if quoted else "must be text"
    return next((text for start, text in KINDS.items() if kind.startswith(start)), "is not valid")


BOUNDS = {
    "greater_than_equal": "must be {} or more",
    "greater_than": "must be more than {}",
    "less_than_equal": "must be {} or less",
    "less_than": "must be less than {}",
}
KINDS = {
    "int_": "must be a whole number",
    "float_": "must be a number",
    "finite_number": "must be a number",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "dict_type": "must be a table",
    "missing": "is missing",
    "path_type": "must be a path",
}
"""By how the library's name of the complaint begins."""
