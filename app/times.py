"""Times as people type them."""

import re
import time
from datetime import UTC, datetime

UNITS = {"m": 60, "h": 3600, "d": 86400}


def read_since(text: object, now: float | None = None) -> int:
    """ "2026-04-10", "2026-04-10T12:00:00Z" (UTC where no zone is given), "90m", "24h" or "7d" ago, as ms since 1970.

    Raises ValueError that says what is taken.
    """
    if isinstance(text, str):
        match = re.fullmatch(r"([0-9]{1,5})([mhd])", text.strip())
        if match:
            seconds = int(match.group(1)) * UNITS[match.group(2)]
            return int(((time.time() if now is None else now) - seconds) * 1000)
        try:
            moment = datetime.fromisoformat(text.strip())
        except ValueError:
            moment = None
        if moment is not None:
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            return max(0, int(moment.timestamp() * 1000))  # nothing is older
    raise ValueError("must be a date (2026-04-10), a time (2026-04-10T12:00:00Z) or an age (90m, 24h, 7d)")


def iso_milliseconds(moment: datetime) -> str:
    """2026-04-10T12:34:56.000Z: UTC, milliseconds cut off and not rounded."""
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds")[:-6] + "Z"


def iso(milliseconds: int | None) -> str | None:
    """Ledger time to ISO 8601 UTC with milliseconds."""
    return None if milliseconds is None else iso_milliseconds(datetime.fromtimestamp(milliseconds / 1000, UTC))
