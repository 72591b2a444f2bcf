"""The pages: is it working, what failed and why, and a button that mends it. Everything shown is read from the ledger."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, session, url_for
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from app.ledger import queries
from app.ledger.engine import Ledger
from app.ledger.mending import Mended, discard, replay
from app.model import OUTCOMES, STATUSES
from app.web.api import number, one_of
from app.web.auth import Throttle, is_operator, log_in, logged_in, login_required, same

ROWS = 50


def create_blueprint(
    ledger: Ledger,
    password: str,
    viewer_password: str | None,
    nudge: Callable[[], None],
    *,
    is_sandbox: bool,
    sources: Sequence[str],
) -> Blueprint:
    """password is the operator's; viewer_password opens a login that may look and change nothing."""
    blueprint = Blueprint("dashboard", __name__)
    throttle = Throttle()

    @blueprint.context_processor
    def shared() -> dict[str, Any]:
        who = session.get("name")
        return {"csrf": session.get("csrf", ""), "who": who, "may_change": is_operator(), "is_sandbox": is_sandbox}

    @blueprint.app_template_filter("pretty")
    def pretty(value: Any) -> str:
        return json.dumps(value, indent=2, ensure_ascii=False)

    @blueprint.route("/login", methods=["GET", "POST"])
    def login() -> Any:
        if request.method == "GET":
            return redirect(url_for(".overview")) if logged_in() else render_template("login.html", wrong=False)
        throttle.check()
        given, name = request.form.get("password", ""), request.form.get("name", "").strip()
        if same(given, password):
            log_in(name, "operator")
        elif viewer_password is not None and same(given, viewer_password):
            log_in(name, "viewer")
        else:
            throttle.failed()
            return render_template("login.html", wrong=True), 401
        return redirect(_local(request.args.get("next")))

    @blueprint.post("/logout")
    @login_required
    def logout() -> Response:
        session.clear()
        return redirect(url_for(".login"))

    @blueprint.get("/")
    @login_required
    def overview() -> str:
        with ledger.read() as connection:
            stats = queries.stats(ledger, connection)
            deliveries = queries.deliveries(ledger, connection, limit=15)
            events = queries.events(ledger, connection, limit=15)
            dead = queries.deliveries(ledger, connection, status="dead", limit=10)
        return render_template(
            "overview.html",
            stats=stats,
            deliveries=deliveries,
            events=events,
            dead=dead,
            sources=sources,
            verdict=verdict(stats),
        )

    @blueprint.get("/deliveries")
    @login_required
    def deliveries() -> str:
        status, before = one_of("status", STATUSES), number("before")
        with ledger.read() as connection:
            page = queries.deliveries(ledger, connection, status=status, before=before, limit=ROWS)
        return render_template(
            "deliveries.html", deliveries=page, status=status, statuses=STATUSES, more=len(page) == ROWS
        )

    @blueprint.get("/deliveries/<int:delivery_id>")
    @login_required
    def delivery(delivery_id: int) -> str:
        with ledger.read() as connection:
            found = queries.delivery(ledger, connection, delivery_id)
        return render_template("delivery.html", delivery=found)

    @blueprint.post("/deliveries/<int:delivery_id>/replay")
    @login_required
    def replay_one(delivery_id: int) -> Response:
        force = request.form.get("force") == "1"
        mended = ledger.transact(lambda c: replay(ledger, c, delivery_id, actor=session["name"], force=force))
        nudge()
        return _back(mended)

    @blueprint.post("/deliveries/<int:delivery_id>/discard")
    @login_required
    def discard_one(delivery_id: int) -> Response:
        return _back(ledger.transact(lambda c: discard(ledger, c, delivery_id, actor=session["name"])))

    @blueprint.get("/events")
    @login_required
    def events() -> str:
        outcome, before = one_of("outcome", OUTCOMES), number("before")
        with ledger.read() as connection:
            page = queries.events(ledger, connection, outcome=outcome, before=before, limit=ROWS)
        return render_template("events.html", events=page, outcome=outcome, outcomes=OUTCOMES, more=len(page) == ROWS)

    @blueprint.get("/events/<int:event_id>")
    @login_required
    def event(event_id: int) -> str:
        with ledger.read() as connection:
            found = queries.event(ledger, connection, event_id)
        if found is None:
            raise NotFound(f"there is no event {event_id}")
        return render_template("event.html", event=found, body=_indented(found["body"]))

    @blueprint.get("/sandbox")
    @login_required
    def sandbox() -> str:
        with ledger.read() as connection:
            received = queries.sandbox(ledger, connection)
        return render_template("sandbox.html", received=received)

    return blueprint


def verdict(stats: dict[str, Any]) -> tuple[str, str]:
    """Is it working? (tone, one sentence); tone is ok, warn or bad."""
    paused = [d for d in stats["destinations"] if d["paused_at"]]
    if paused:
        return "bad", f"Forwarding to {paused[0]['name']} is paused: {paused[0]['paused_reason']}."
    if not stats["workers_alive"]:
        return "bad", "No worker is alive, so nothing is forwarded: start “bridge worker”."
    dead, retrying = stats["deliveries"]["dead"], stats["deliveries"]["retrying"]
    if dead:
        return (
            "bad",
            f"{_count(dead, 'delivery has', 'deliveries have')} failed for good. Look why, mend it, and replay.",
        )
    if retrying:
        return (
            "warn",
            f"{_count(retrying, 'delivery', 'deliveries')} failed and will be tried again without your doing.",
        )
    if not sum(stats["events"].values()):
        return "ok", "Ready. Nothing has come in yet."
    return "ok", "Everything that came in was forwarded, or is on its way."


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def _back(mended: Mended) -> Response:
    flash(mended.message[0].upper() + mended.message[1:] + ".", "ok" if mended.done else "warn")
    return redirect(url_for("dashboard.delivery", delivery_id=mended.delivery_id))


def _local(path: str | None) -> str:
    """A path on this site to go on to; anything else is the overview."""
    # Control characters are dropped on the way into the header, and by browsers: "/\t/evil.example" is "//evil.example".
    is_local = path and path.isprintable() and path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if path and is_local else "/"


def _indented(body: str) -> str:
    try:
        # half an emoji, which JSON can spell and UTF-8 cannot, becomes "?"
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False).encode("utf-8", "replace").decode()
    except (ValueError, RecursionError):
        return body
