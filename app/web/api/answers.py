"""The parts that the models of /api/v1 share: field types, and the bases of answers and lists."""

from typing import Annotated, Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from app.ledger.reading.filters import KINDS
from app.ledger.reading.summary.problem import LEVELS
from app.model import OUTCOMES, STATUSES, AttemptResult

AnyObject = Annotated[dict[str, Any], WithJsonSchema({"type": "object"})]
Time = Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]
Count = Annotated[int, Field(ge=0)]
Outcome = Annotated[str, WithJsonSchema({"type": "string", "enum": list(OUTCOMES)})]
Status = Annotated[str, WithJsonSchema({"type": "string", "enum": list(STATUSES)})]
Kind = Annotated[str, WithJsonSchema({"type": "string", "enum": list(KINDS)})]
Result = Annotated[str, WithJsonSchema({"type": "string", "enum": list(get_args(AttemptResult))})]
Level = Annotated[str, WithJsonSchema({"type": "string", "enum": list(LEVELS)})]
Mark = Annotated[str, WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,18}-[0-9a-f]{8}$"})]
Tone = Annotated[str, WithJsonSchema({"type": "string", "enum": ["", "warn", "bad"]})]


class Answer(BaseModel):
    """An object with these fields and no others, as tests check; one that was forgotten here is answered all the same."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"additionalProperties": False})
    skipped_status: ClassVar[int | None] = None
    """The HTTP status of the same object where nothing was done."""

    def status_code(self) -> int:
        return 200


class Page(Answer):
    """One page of a list. next_before is `before` of the next page, null at the end; until then a page may be short."""

    next_before: int | None


class Error(Answer):
    error: Annotated[str, Field(description="What is wrong, and what to do.")]


class ActionResult(Answer):
    skipped_status: ClassVar[int | None] = 409
    id: int
    done: bool
    message: str

    def status_code(self) -> int:
        return 200 if self.done else 409


def fields_of(row: dict[str, Any], model: type[Answer]) -> dict[str, Any]:
    """The fields of a row that the model has, for rows that serve several models."""
    return {name: row[name] for name in model.model_fields}
