"""How this browser wants to see the pages: its time zone, and the colours."""

from datetime import UTC, tzinfo
from urllib.parse import unquote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import request

ZONE = "zone"
"""The cookie in which the script of the pages leaves the browser's time zone."""


def zone() -> tzinfo:
    """The reader's time zone; UTC where it is not known, as without script."""
    name = unquote(request.cookies.get(ZONE, ""))
    try:
        return ZoneInfo(name) if name and name != "UTC" else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
