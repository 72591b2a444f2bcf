"""The way to the provider and back."""

import time
from typing import Any

import structlog
from flask import Blueprint, redirect, render_template, request, session, url_for
from werkzeug.wrappers import Response

from app.errors import AccessError, BridgeError, LedgerUnavailable
from app.ledger.access.federated import sign_in_from
from app.logs import Sampler
from app.web.auth import log_in_user
from app.web.pages.users.guard import Guard
from app.web.pages.users.sign_in import local
from app.web.services import Parts
from app.web.sso.provider import Pending, Provider, ProviderUnavailable, SignInRefused

PENDING = "sso_pending"
PENDING_SECONDS = 600

log = structlog.get_logger(__name__)


class NoGroup(BridgeError):
    """The user is in no group that may use the dashboard."""


def create_blueprint(parts: Parts, guard: Guard, provider: Provider) -> Blueprint:
    blueprint = Blueprint("sso", __name__)
    sampler = Sampler()

    @blueprint.get("/login/sso")
    def begin() -> Response | tuple[str, int]:
        try:
            url, pending = provider.begin()
        except ProviderUnavailable as error:
            return failed(error, 503)
        session[PENDING] = {
            "state": pending.state,
            "nonce": pending.nonce,
            "verifier": pending.verifier,
            "until": time.time() + PENDING_SECONDS,
            "next": local(request.args.get("next")),
        }
        return redirect(url)

    @blueprint.get("/login/sso/callback")
    def callback() -> Response | tuple[str, int]:
        guard.begin()
        kept: dict[str, Any] = session.pop(PENDING, None) or {}
        try:
            if float(kept.get("until", 0)) <= time.time():
                raise SignInRefused("this sign-in was not begun in this browser, or took too long: start again")
            pending = Pending(kept["state"], kept["nonce"], kept["verifier"])
            identity = provider.finish(pending, request.args.to_dict())
            role = identity.role(provider.oidc.groups)
            if role is None:
                raise NoGroup(
                    f"{identity.name} is in no group that may use this dashboard: ask an admin of {provider.oidc.host}"
                )
            user = sign_in_from(parts.ledger, provider.oidc.issuer, identity.subject, identity.name, role)
        except LedgerUnavailable:
            raise
        except ProviderUnavailable as error:
            return failed(error, 503)
        except SignInRefused as error:
            return failed(error, 400)
        except (NoGroup, AccessError) as error:
            return failed(error, 403)
        guard.succeeded()
        log_in_user(user)
        log.info("login.accepted", address=guard.address, role=role, user_id=user.id)
        return redirect(kept["next"])

    def failed(error: BridgeError, status: int) -> tuple[str, int]:
        if (more := sampler.admit("login")) is not None:
            reason = (
                type(error).__name__ if isinstance(error, NoGroup | AccessError) else str(error)
            )  # names stay out of logs
            log.warning("login.refused", address=guard.address, reason=reason, **more)
        again = url_for(".begin") if status != 403 else None
        page = render_template(
            "users/refused.html", message=str(error), again=again, end_url=provider.end_url() if status == 403 else None
        )
        return page, status

    return blueprint
