"""How many Sales carry a click ID."""

from typing import Any

from app.ledger.credit.coverage import Share, click_share, weeks
from app.ledger.engine import look
from app.web.api.routes import Routes
from app.web.api.support.schemas import CoverageAnswer
from app.web.services import Parts

ROUTES = Routes()


@ROUTES.get("/coverage")
def coverage(parts: Parts) -> CoverageAnswer:
    """Get the share of Sales with a click ID, by source and week."""
    with look(parts.ledger) as tx:
        found, now = weeks(tx), click_share(tx)
    return CoverageAnswer.model_validate(
        {
            "last_7_days": share(now.now),
            "before": share(now.before),
            "change": now.change,
            "weeks": [
                {
                    "start": week.start,
                    "end": week.end,
                    "total": share(week.total),
                    "sources": [{"source": name, **share(one)} for name, one in sorted(week.by_source.items())],
                }
                for week in found
            ],
        }
    )


def share(found: Share) -> dict[str, Any]:
    return {"sales": found.sales, "with_click": found.clicked, "percent": found.percent}
