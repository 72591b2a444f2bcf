"""Reloading the configuration of every process."""

from app.reloading.request import reload_all
from app.web.api.actor import actor
from app.web.api.routes import Routes
from app.web.api.state_schemas import ReloadResult
from app.web.services import Parts

ROUTES = Routes()


@ROUTES.post("/reload")
def reload(parts: Parts) -> ReloadResult:
    """Reload the configuration in every process: whole, or not at all."""
    return ReloadResult.model_validate(reload_all(parts.ledger, actor()).as_json())
