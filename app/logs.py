"""Logs: one wide line per fact, for people on a terminal and as JSON elsewhere. Never bodies, secrets, names or e-mails."""

import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO, cast

import structlog
from pydantic_core import to_json

from app.telemetry.build import build
from app.text import printable

LogFormat = Literal["text", "json"]
DETAIL = re.compile(r"^DETAIL:.*?(?=^(?:\[SQL|\(Background|\s*$)|\Z)", re.MULTILINE | re.DOTALL)
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
MOST_AT_ONCE = 4096
"""Bytes that are written together: POSIX's PIPE_BUF on Linux. A longer line goes alone."""
LIBRARIES = "WARNING"
"""The least level of lines that libraries write."""


def without_details(_logger: object, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Removes PostgreSQL's DETAIL from a traceback, because it quotes the row, and so bodies and email addresses."""
    if isinstance(text := entry.get("exception"), str):
        entry["exception"] = DETAIL.sub("", text)
    return entry


def without_escapes(_logger: object, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Removes terminal control characters from external text, such as a destination's status line."""
    for name, value in entry.items():
        if isinstance(value, str):
            entry[name] = "\n".join(map(printable, value.split("\n"))) if name == "exception" else printable(value)
    return entry


def with_timestamp(_logger: object, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Adds the time, unless `timestamp` is given: in seconds since 1970, by a line that is written later than it happened."""
    seconds = entry.get("timestamp")
    entry["timestamp"] = _iso(datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, float) else datetime.now(UTC))
    return entry


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")[:-6] + "Z"


def as_json(_logger: object, _method: str, entry: structlog.typing.EventDict) -> str:
    """The line as JSON, in ASCII. What JSON has no type for is written as Python shows it."""
    try:
        text = to_json(entry, fallback=repr).decode()
    except ValueError:  # a lone surrogate
        text = ""
    return text if text and text.isascii() else json.dumps(entry, default=repr)


class Sampler:
    """Limits the lines of one kind per span of time, so that a client that posts garbage does not fill the disk."""

    def __init__(self, lines: int = 10, seconds: float = 60, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = lines
        self._seconds = seconds
        self._clock = clock
        self._kinds: dict[str, tuple[float, int]] = {}
        """When the span of a kind began, and how many lines of it came since."""
        self._lock = threading.Lock()

    def admit(self, kind: str) -> dict[str, int] | None:
        """None if the line is left out; else fields to add to it: {"left_out": N}, the lines left out in the span before."""
        now = self._clock()
        with self._lock:
            began, count = self._kinds.get(kind, (now, 0))
            left_out = 0
            if now - began >= self._seconds:
                began, left_out, count = now, max(count - self._lines, 0), 0
            self._kinds[kind] = (began, count + 1)
        if count >= self._lines:
            return None
        return {"left_out": left_out} if left_out else {}


def correlation_id(event_id: int) -> str:
    """The ID that the log lines of a webhook and of its attempts share. event_id: the ledger's."""
    return f"event-{event_id}"


def log_start(role: str) -> None:
    """Logs what starts here. Call it after all checks: a refusal to start is a single line on stderr."""
    structlog.get_logger(__name__).info("process.started", role=role, pid=os.getpid(), **build())


class _Held(threading.local):
    """The lines that a thread holds back, while it does, and where they belong."""

    lines: list[str] | None = None
    stream: TextIO | None = None


_held = _Held()


class Unfailing:
    """A stream whose writes never raise: a full disk must not end the thread that logs."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        if (lines := _held.lines) is not None:
            lines.append(text)
            _held.stream = self._stream
            return len(text)
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # no room; closed
            return 0

    def flush(self) -> None:
        if _held.lines is not None:
            return
        with suppress(OSError, ValueError):
            self._stream.flush()


class _InfoLines:
    """Where lines of level info are written, and what makes them of their entries."""

    stream: Unfailing | None = None
    processors: Sequence[structlog.typing.Processor] = ()
    """structlog's own list, so that a test that captures lines by changing the list in place is respected."""


def log_info(event: str, happened_at: float, fields: Mapping[str, object]) -> None:
    """Logs `event` of `happened_at` (seconds since 1970) with level info.

    Where lines are JSON, it makes this one without structlog, which takes twice as long.
    """
    stream = _InfoLines.stream
    if stream is None or _InfoLines.processors[-1] is not as_json:
        structlog.get_logger(__name__).info(event, timestamp=happened_at, **fields)
        return
    entry = {"timestamp": _iso(datetime.fromtimestamp(happened_at, UTC)), **fields, "event": event, "level": "info"}
    stream.write(as_json(None, "info", entry) + "\n")
    stream.flush()


@contextmanager
def lines_together() -> Iterator[None]:
    """What this thread logs in the block is written at its end, in few calls: many lines cost little more than one.

    No call is longer than what a pipe takes at once, so that no line of another process gets into the middle of one of ours.
    """
    if _held.lines is not None:
        yield
        return
    lines = _held.lines = []
    try:
        yield
    finally:
        stream, _held.lines, _held.stream = _held.stream, None, None
        if stream is not None:
            whole = Unfailing(stream)
            for start, end in _portions([_size(line) for line in lines]):
                whole.write("".join(lines[start:end]))
                whole.flush()


def _size(line: str) -> int:
    """In bytes."""
    return len(line) if line.isascii() else len(line.encode("utf-8", "replace"))


def _portions(sizes: list[int]) -> Iterator[tuple[int, int]]:
    """The beginning and end of each run of lines that go out together."""
    start = total = 0
    for number, size in enumerate(sizes):
        if total and total + size > MOST_AT_ONCE:
            yield start, number
            start, total = number, 0
        total += size
    if total:
        yield start, len(sizes)


def configure_logs(level: str = "info", log_format: LogFormat | None = None) -> None:
    """Sets up structlog, the standard library's logging, warnings and uncaught exceptions: each is a line on standard error.

    log_format: None for text on a terminal, and JSON elsewhere. Idempotent.
    """
    unfailing = Unfailing(sys.stderr)
    stream = cast(TextIO, unfailing)
    common: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        with_timestamp,
    ]
    last: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, without_details]
    if (log_format or ("text" if sys.stderr.isatty() else "json")) == "text":
        plain = structlog.dev.plain_traceback  # rich ones show locals: bodies
        last += [without_escapes, structlog.dev.ConsoleRenderer(exception_formatter=plain, colors=sys.stderr.isatty())]
    else:
        last.append(as_json)
    processors = [*common, *last]
    _InfoLines.stream = unfailing if LEVELS[level] <= LEVELS["info"] else None
    _InfoLines.processors = processors
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*common, _logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    logging.basicConfig(level=LIBRARIES, handlers=[handler], force=True)
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_thread


def _logger_name(_logger: object, _method: str, entry: structlog.typing.EventDict) -> structlog.typing.EventDict:
    record = entry.get("_record")
    if isinstance(record, logging.LogRecord):
        entry["logger"] = record.name
    return entry


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    _log_error("process.failed", error)


def _log_thread(arguments: Any) -> None:
    if arguments.exc_value is not None and not issubclass(arguments.exc_type, SystemExit):
        _log_error("thread.failed", arguments.exc_value, thread=arguments.thread.name if arguments.thread else "")


def _log_error(event: str, error: BaseException, **fields: object) -> None:
    structlog.get_logger(__name__).error(event, exc_info=error, **fields)
