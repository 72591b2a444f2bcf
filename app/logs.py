"""Logs: one wide line per fact, for people on a terminal and as JSON elsewhere. Never bodies, secrets, names or e-mails."""

import logging
import re
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog

DETAIL = re.compile(r"^DETAIL:.*?(?=^(?:\[SQL|\(Background|\s*$)|\Z)", re.MULTILINE | re.DOTALL)
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def without_details(_logger: object, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Takes PostgreSQL's DETAIL out of a traceback: it quotes the row, so bodies and e-mail addresses."""
    if isinstance(text := entry.get("exception"), str):
        entry["exception"] = DETAIL.sub("", text)
    return entry


class Unfailing:
    """A stream whose writes never raise. A log on a full disk must not end the thread that wanted to say so."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # no room; closed
            return 0

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


def configure_logs(level: str = "info") -> None:
    """Sets up structlog and the standard library's logging to standard error. Idempotent."""
    renderer: structlog.typing.Processor
    if sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer(
            exception_formatter=structlog.dev.plain_traceback
        )  # rich ones show locals: bodies
    else:
        renderer = structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            without_details,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, Unfailing(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s", force=True
    )
