"""The first-run checklist: what a bridge needs before conversions can be trusted to it. Each step ticks itself from real state."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from app.alerts.channels import channels_of, how_to_turn_on
from app.config.settings import Settings
from app.destinations.target import Destination
from app.ledger.reading.first_events import has_real_event
from app.ledger.transaction import Tx
from app.sources.base import Source

DISMISSED = "checklist_dismissed"
"""The counter that says, by being there, that nobody wants to see it on the first page any more."""


@dataclass(frozen=True, slots=True)
class Step:
    """text: the state, or what to do. path, link: the page of the dashboard to continue on, and the text of its link."""

    key: str
    title: str
    is_done: bool
    text: str
    path: str = ""
    link: str = ""


def checklist(
    tx: Tx, settings: Settings, sources: Iterable[Source], destinations: Iterable[Destination]
) -> tuple[Step, ...]:
    """The steps, in the order in which to take them."""
    known = sorted(
        sources, key=lambda item: not settings.opens(item.name)
    )  # so that those asked first have most likely sent
    connected = [item.title for item in known if settings.opens(item.name) and not settings.is_generated(item.name)]
    return (
        _destination(settings, [item.url for item in destinations]),
        _source(connected),
        _first_event(has_real_event(tx, (item.name for item in known)), connected),
        _public_url(settings.public_url),
        _alerts(settings),
        _retention(settings),
    )


def is_dismissed(tx: Tx) -> bool:
    return tx.run("SELECT 1 FROM counters WHERE name = ?", DISMISSED).first() is not None


def dismiss(tx: Tx) -> None:
    """Idempotent."""
    tx.run("INSERT INTO counters (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", DISMISSED, tx.now())


def bring_back(tx: Tx) -> None:
    """Idempotent."""
    tx.run("DELETE FROM counters WHERE name = ?", DISMISSED)


def _destination(settings: Settings, urls: list[str]) -> Step:
    title, path = "Connect the destination", "/destination"
    if settings.is_sandbox:
        text = (
            "Everything goes to the bridge's own sandbox. Set `DESTINATION_URL` and `DESTINATION_TOKEN` in `bridge.env` and"
            " run `bridge reload`."
        )
        return Step("destination", title, False, text, path, "Destination")
    hosts = ", ".join(dict.fromkeys(urlsplit(url).hostname or url for url in urls))
    return Step("destination", title, True, f"Conversions go to {hosts}.", path, "Test the token")


def _source(connected: list[str]) -> Step:
    title, path = "Connect a source", "/sources"
    if not connected:
        return Step("source", title, False, "Choose a provider and follow its steps.", path, "Choose a source")
    named = ", ".join(connected[:5]) + (f" and {len(connected) - 5} more" if len(connected) > 5 else "")
    return Step("source", title, True, f"Connected: {named}.", path, "Sources")


def _first_event(has_come: bool, connected: list[str]) -> Step:
    title = "Receive the first event"
    if has_come:
        return Step("event", title, True, "Events are coming in.", "/events", "Events")
    text = "Buy, sign up or submit a form there. Test events that you send from here do not count."
    return Step("event", title, False, text, "/sources", "Sources" if connected else "Choose a source")


def _public_url(url: str | None) -> Step:
    title = "Set the public URL"
    if url is None:
        text = "Set `PUBLIC_URL` to the https address under which providers reach this bridge, and run `bridge reload`."
        return Step("public_url", title, False, text, "/sources", "Sources")
    if not url.startswith("https://"):
        return Step("public_url", title, False, f"`PUBLIC_URL` is {url}: most providers call https addresses only.")
    return Step("public_url", title, True, f"Providers reach this bridge at {url}.")


def _alerts(settings: Settings) -> Step:
    title, path = "Turn on alerts", "/alerts"
    targets = [channel.target for channel in channels_of(settings)]
    if not targets:
        text = f"{how_to_turn_on(settings, code='`')}. Then run `bridge reload` and send a test alert."
        return Step("alerts", title, False, text, path, "Alerts")
    return Step("alerts", title, True, f"Alerts go to {', '.join(targets)}.", path, "Send a test alert")


def _retention(settings: Settings) -> Step:
    """Done once bridge.toml has the table [retention], even an empty one. Until then, the defaults apply."""
    title, kept = "Decide how long data is kept", settings.retention
    bodies, events = (f"{days:g} days" if days else "forever" for days in (kept.bodies_days, kept.events_days))
    kept_text = f"Bodies are kept {bodies}, events {events}."
    if "retention" in settings.config:
        return Step("retention", title, True, kept_text)
    return Step(
        "retention", title, False, f"{kept_text} Confirm or change it with a table `[retention]` in `bridge.toml`."
    )
