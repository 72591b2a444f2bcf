"""Display preferences of a browser: time zone and colours."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from urllib.parse import unquote, urlencode
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import Blueprint, current_app, redirect, request, url_for
from werkzeug.wrappers import Response

from app.web.auth import check_site, logged_in

ZONE = "zone"
"""The cookie in which the script of the pages leaves the browser's time zone."""


THEMES = ("light", "dark")
KEPT_SECONDS = 365 * 86_400


def register(blueprint: Blueprint, local: Callable[[str | None], str]) -> None:
    """local: turns the target in a form into a path of this site."""

    @blueprint.app_context_processor
    def preferences() -> dict[str, str]:
        return {"theme": theme(), "times": times(), "zone_name": str(zone())}

    @blueprint.post("/preferences")
    def prefer() -> Response:
        """Keeps a choice in a cookie. It needs no login, because it concerns only this browser."""
        check_site()
        where = local(request.form.get("next"))
        if not logged_in() and not where.startswith(login := url_for("dashboard.login")):
            where = f"{login}?{urlencode({'next': where})}"
        answer = redirect(where)
        for name, values in (("theme", ("", *THEMES)), ("times", ("local", "utc"))):
            if (chosen := request.form.get(name)) in values:
                secure = bool(current_app.config["SESSION_COOKIE_SECURE"])
                answer.set_cookie(name, chosen or "", max_age=KEPT_SECONDS, secure=secure, samesite="Lax")
        return answer


def theme() -> str:
    """light, dark, or "" for that of the system."""
    chosen = request.cookies.get("theme", "")
    return chosen if chosen in THEMES else ""


def times() -> str:
    """local or utc."""
    return "utc" if request.cookies.get("times") == "utc" else "local"


def zone() -> tzinfo:
    """The time zone to show times in: the reader's, or UTC if it was chosen or no other is known, as without script."""
    if times() == "utc":
        return UTC
    name = unquote(request.cookies.get(ZONE, ""))
    try:
        return ZoneInfo(name) if name and name != "UTC" else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


DAYS = {"today": 0, "yesterday": 1}
"""Times that mean the reader's midnight, so many days ago."""


def midnights(fields: Mapping[str, str]) -> dict[str, str]:
    """The fields of a filter with "today" and "yesterday" as times."""
    now = datetime.now(zone())
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    return {
        name: (today - timedelta(days=DAYS[value])).isoformat()
        if name in ("since", "until") and value in DAYS
        else value
        for name, value in fields.items()
    }
