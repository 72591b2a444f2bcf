"""Request models of a resend and of the audit log, for the pages and the API."""

from typing import Annotated, ClassVar

from pydantic import Field

from app.ledger.actions import resend
from app.ledger.audit import AuditFilter
from app.ledger.reading import filters
from app.web.params import Moment, Name, Number, OneOf, Request, Text


class ResendWindow(Request):
    hint: ClassVar[str] = "when it was delivered, such as 2026-11-24 or 24h"
    since: Annotated[Moment, Field(description="Delivered since; with `to`, recorded since.")]
    until: Annotated[Moment | None, Field(description="Delivered, or recorded, before (now).")] = None
    destination: Annotated[Name | None, Field(description="Only what went there.")] = None
    kind: Annotated[str, OneOf(filters.KINDS)] | None = None
    source: Name | None = None
    to: Annotated[Name | None, Field(description="Send it there instead, unless it went there already.")] = None

    def as_window(self) -> resend.Window:
        """The window without its target."""
        return resend.Window(self.since, self.until, self.destination, self.kind, self.source)


class AuditLines(Request):
    actor: Annotated[Text | None, Field(description="Who: the name of a login, cli, api, or bridge for itself.")] = None
    action: Annotated[Text | None, Field(description="What, such as replay, pause or edit.")] = None
    target: Annotated[
        Text | None, Field(description="delivery 12, how it begins, or an ID. Finds the changes within groups too.")
    ] = None
    since: Annotated[Moment | None, Field(description="As for deliveries.")] = None
    until: Annotated[Moment | None, Field(description="As for deliveries.")] = None
    part_of: Annotated[Number | None, Field(description="Only the changes of that group.")] = None

    def as_filter(self) -> AuditFilter:
        return AuditFilter(self.actor, self.action, self.since, self.until, self.target, self.part_of)


AUDIT_FILTER = tuple(AuditLines.model_fields)
