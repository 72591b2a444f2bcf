"""The first page: is it working?"""

from typing import Any

from flask import Blueprint, render_template

from app.ledger import queries
from app.web.auth import login_required
from app.web.pages.parts import Parts


def register(blueprint: Blueprint, parts: Parts) -> None:
    ledger = parts.ledger

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
            sources=parts.intake.configured,
            verdict=verdict(stats),
        )


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
