"""The part of doctor that looks at each source: what its settings show, when it was last seen, and what was refused."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from app.cli.doctor_setup import Finding
from app.config.settings import Settings
from app.ledger.reading.summary.problem import Problem, lasting
from app.ledger.transaction import Tx
from app.setup.source_state import SourceState, settings_findings, source_state
from app.sources.base import Source

KINDS = ("refused", "silent", "quarantined")
"""Problems of one source, which stand beside it."""


def check_sources(
    tx: Tx, settings: Settings, sources: Sequence[Source], problems: Sequence[Problem]
) -> Iterator[Finding]:
    """For each open source. problems: what the dashboard's verdict lists, of which those of a source are reported here."""
    for source in sources:
        own = [listed for listed in problems if listed.kind in KINDS and listed.subject == source.name]
        for problem in own:
            level, text = of_problem(problem)
            yield level, f"{text} The page /sources/{source.name} has the steps at {source.title}."
        state = source_state(tx, settings, source)
        if state.stage == "waiting" or not own:
            yield _heard(state, tx.now(), settings)
        yield from settings_findings(settings, source)
    if sources and settings.public_url is None and not settings.is_sandbox:
        yield (
            "warn",
            "PUBLIC_URL is not set: set it to the https address that providers call, which signed URLs and links need",
        )


def of_problem(problem: Problem) -> Finding:
    """A problem of the dashboard's verdict, as a line."""
    since = f"{datetime.fromtimestamp(problem.since // 1000, UTC):%Y-%m-%d %H:%M} UTC" if problem.since else ""
    stake = f"At stake: {problem.stake.text}." if problem.stake else ""
    parts = [problem.text, stake, f"Since {since}." if since else "", problem.remedy]
    parts.append(f"On the command line: {problem.command}." if problem.command else "")
    return "wrong" if problem.level == "bad" else "warn", " ".join(part for part in parts if part)


def _heard(state: SourceState, now: int, settings: Settings) -> Finding:
    title, name = state.title, state.name
    if state.is_generated:
        return "ok", f"{title}: sandbox mode, with a generated secret that no provider knows"
    if state.stage == "waiting":
        url = f"{settings.public_url or settings.own_url}/webhooks/{name}{'/…' if state.has_token else ''}"
        only = "only test events so far" if state.test else "no event yet"
        return (
            "warn",
            f"{title}: {only}. Enter {url} at {title}, as the page /sources/{name} says",
        )
    last = state.last or state.first
    assert last is not None  # what is receiving has sent something
    age = lasting(max(0.0, now / 1000 - datetime.fromisoformat(last.at).timestamp()))
    return "ok", f"{title}: last event {age} ago ({last.outcome})"
