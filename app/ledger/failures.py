"""Classifies errors of the database drivers: the ledger cannot be used now, and why, or the error is transient."""

import re

from sqlalchemy.exc import (
    DatabaseError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.errors import LedgerUnavailable, UnavailableReason

RETRIED_STATES = ("40001", "40P01")  # serialization_failure, deadlock_detected
READ_ONLY_STATE = "25006"
PREPARED_STATES = ("26000", "42P05")
"""A prepared statement is missing, or there already: a pooler gave the session to another client meanwhile."""
_PLAN_CHANGED = "cached plan must not change result type"
_REASONS: tuple[tuple[str, "UnavailableReason"], ...] = (
    (r"read-?only|in recovery", "read-only"),
    (r"disk is full|no space left|disk I/O|could not extend", "full"),
    (r"locked|lock timeout|statement timeout|deadlock", "busy"),
    (r"authentication|no pg_hba\.conf entry|does not exist|permission denied", "refused"),
    (r"not a database|malformed|unable to open|must not be NULL", "damaged"),
)


def unavailable(error: BaseException) -> LedgerUnavailable | None:
    """The LedgerUnavailable for `error`; None if it is something else, such as a bug in a statement."""
    is_one = isinstance(error, OperationalError | InterfaceError | InternalError | PoolTimeout) or is_stale(error)
    if isinstance(error, DBAPIError):  # a plain DatabaseError is SQLite's: no database, or a damaged one
        is_one = is_one or error.connection_invalidated or type(error) is DatabaseError
    if not is_one or isinstance(error, IntegrityError):
        return None
    assert isinstance(error, SQLAlchemyError)
    text = first_line(error)
    return LedgerUnavailable(f"the ledger cannot be used now: {text}", reason=reason_of(text))


def reason_of(text: str) -> UnavailableReason:
    """Why, in one word, from a driver's message."""
    for pattern, reason in _REASONS:
        if re.search(pattern, text, re.IGNORECASE):
            return reason
    return "unreachable"


def is_stale(error: BaseException | None) -> bool:
    """Whether a new session may succeed: this one became read-only in a failover, or lost its prepared statements."""
    state = sqlstate(error)
    return state == READ_ONLY_STATE or state in PREPARED_STATES or (state == "0A000" and _PLAN_CHANGED in str(error))


def is_passing(error: LedgerUnavailable) -> bool:
    """Whether the same transaction may succeed at once if it is run again."""
    return sqlstate(error.__cause__) in RETRIED_STATES or is_stale(error.__cause__)


def is_contention(error: LedgerUnavailable) -> bool:
    """Whether another process held a lock, so that a retry may succeed."""
    return sqlstate(error.__cause__) in ("55P03", *RETRIED_STATES) or "locked" in str(error)


def sqlstate(error: BaseException | None) -> str | None:
    original = getattr(error, "orig", None)
    return getattr(original, "sqlstate", None)


def first_line(error: SQLAlchemyError) -> str:
    original = getattr(error, "orig", None) or error
    return str(original).strip().split("\n", 1)[0]
