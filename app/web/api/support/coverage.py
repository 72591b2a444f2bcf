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
        listed, now = weeks(tx), click_share(tx)
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
                    "sources": [
                        {"source": name, **share(source_share)} for name, source_share in sorted(week.by_source.items())
                    ],
                }
                for week in listed
            ],
        }
    )


def share(shared: Share) -> dict[str, Any]:
    return {"sales": shared.sales, "with_click": shared.clicked, "percent": shared.percent}
