"""A command that did not do what it was asked says so, and its exit status is not 0."""

from collections.abc import Callable

import pytest
from click.testing import Result

from app.config.settings import Settings
from app.ledger.engine import Ledger
from app.ledger.inbound.quarantine import Refused, keep
from app.web.factory import create_app
from tests.support.makers import checkout, count, one, signed

Run = Callable[..., Result]
pytestmark = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@pytest.fixture
def on_ledger(bridge: Run, ledger_url: str, ledger: Ledger) -> Run:
    return lambda *arguments: bridge(*arguments, DATABASE_URL=ledger_url)


def test_a_request_that_is_not_in_the_quarantine_is_named(on_ledger: Run, ledger: Ledger) -> None:
    held = Refused("stripe", 1, "203.0.113.0/24", "wrong", "digest", "body", {}, b"{}")
    ledger.transact(lambda tx: keep(tx, [held]))
    (known,) = one(ledger, "SELECT id FROM quarantine")
    for command in (("verify",), ("drop",)):
        result = on_ledger("quarantine", *command, "--id", known + 1)
        assert (result.exit_code, count(ledger, "quarantine")) == (1, 1), result.output
        assert f"request {known + 1}: not in the quarantine" in result.stdout
        mistyped = on_ledger("quarantine", *command, "--source", "stirpe")
        assert mistyped.exit_code == 2
        assert "did you mean stripe?" in mistyped.stderr
    some = on_ledger("quarantine", "drop", "--id", known, "--id", known + 1)
    assert (some.exit_code, count(ledger, "quarantine")) == (1, 0)
    assert "1 dropped." in some.stdout


def test_drop_leaves_what_comes_while_it_asks(on_ledger: Run, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(digest: str) -> None:
        held = Refused("stripe", 1, "203.0.113.0/24", "wrong", digest, digest, {}, b"{}")
        ledger.transact(lambda tx: keep(tx, [held]))

    def confirm(text: str, **_: object) -> None:
        assert text == "Drop 1 request? This cannot be undone."
        hold("came meanwhile")

    monkeypatch.setattr("app.cli.inbound.is_asking", lambda: True)
    monkeypatch.setattr("click.confirm", confirm)
    hold("counted")
    assert "1 dropped." in on_ledger("quarantine", "drop", "--all").stdout
    assert one(ledger, "SELECT digest FROM quarantine") == ("came meanwhile",)


def test_an_event_that_is_not_parked_is_named(
    on_ledger: Run, make_settings: Callable[..., Settings], ledger: Ledger
) -> None:
    app = create_app(make_settings(), ledger)
    answer = app.test_client().post("/webhooks/stripe", **signed(checkout(1, metadata={}, customer_details={})))
    app.extensions["writer"].stop()
    assert answer.json is not None
    assert answer.json["outcome"] == "parked"
    (parked,) = one(ledger, "SELECT id FROM events")
    for option in ((), ("--dry-run",)):
        found = on_ledger("parked", "reprocess", "--id", parked, *option)
        assert (found.exit_code, "1 " in found.stdout) == (0, True), found.output
        result = on_ledger("parked", "reprocess", "--id", parked, "--id", 999, *option)
        assert result.exit_code == 1
        assert "event 999: not parked" in result.stdout


def test_reprocessing_by_replay_is_in_the_audit_log(
    on_ledger: Run, make_settings: Callable[..., Settings], ledger: Ledger
) -> None:
    app = create_app(make_settings(), ledger)
    app.test_client().post("/webhooks/stripe", **signed(checkout(1, metadata={}, customer_details={})))
    app.extensions["writer"].stop()
    result = on_ledger("replay", "--parked", "--source", "stripe")
    assert result.stdout.splitlines()[1:] == ["1 parked"]
    assert one(ledger, "SELECT actor, subject, detail FROM audit WHERE action = 'remap'") == (
        "cli",
        "source stripe",
        "Reprocessed: 1 parked.",
    )


def test_a_time_that_ends_before_it_begins_is_a_usage_error(on_ledger: Run) -> None:
    times = ("--since", "1d", "--until", "2d")
    for command in (("deliveries",), ("events",), ("replay", "--status", "dead"), ("replay", "--to", "sandbox")):
        result = on_ledger(*command, *times)
        assert result.exit_code == 2
        assert "lies before --since" in result.stderr


def test_a_list_of_incidents_that_is_empty_says_so(on_ledger: Run) -> None:
    assert on_ledger("alerts").stdout.splitlines()[0] == "No incidents."
    assert on_ledger("alerts", "--state", "open").stdout.splitlines()[0] == "No incident matches."


def test_prune_says_that_there_was_nothing_to_remove(on_ledger: Run) -> None:
    for option in ((), ("--dry-run",)):
        assert on_ledger("prune", *option).stdout == "Nothing is old enough to be removed.\n"
