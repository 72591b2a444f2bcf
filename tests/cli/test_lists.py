"""`bridge deliveries` and `bridge events`: the filters of the API and the pages, with time and destination shown."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from app.ledger.engine import Ledger
from app.web.factory import create_app
from tests.support.makers import begin, change, checkout, settle, signed

Run = Callable[..., Result]
TWO = '[destinations.crm]\nurl = "http://127.0.0.1:9/x"\ntoken_env = "CRM_TOKEN"\nallow_private = true\nkinds = ["sale"]\n'


@pytest.fixture
def on_ledger(bridge: Run, ledger_url: str, tmp_path: Path) -> Run:
    (tmp_path / "bridge.toml").write_text(TWO)
    variables = {
        "DATABASE_URL": ledger_url,
        "BRIDGE_CONFIG": str(tmp_path / "bridge.toml"),
        "CRM_TOKEN": "token-of-the-crm",
    }
    return lambda *arguments: bridge(*arguments, **variables)


@pytest.fixture
def recorded(make_settings: Callable[..., Any], ledger: Ledger) -> Iterator[None]:
    """Three purchases sent to the sandbox (dead with 422, delivered, pending), the last one also to the crm; one ignored event."""
    app = create_app(make_settings(), ledger)
    client = app.test_client()
    for number in (1, 2, 3):
        assert client.post("/webhooks/stripe", **signed(checkout(number))).status_code == 200
    client.post("/webhooks/stripe", **signed(b'{"id": "evt_x", "object": "event", "type": "x"}'))
    first, second, _ = claimed = begin(ledger)
    settle(ledger, "permanent", status=422, error="no such currency", claimed=[first])
    settle(ledger, "delivered", claimed=[second])
    change(ledger, "UPDATE deliveries SET claim = NULL, claimed_until = NULL")
    columns = "conversion_id, person_id, event_id, source, kind, dedupe_key, status, payload, created_at"
    change(
        ledger,
        f"INSERT INTO deliveries (id, destination, {columns}) SELECT 9000, 'crm', {columns} FROM deliveries WHERE id = ?",
        claimed[2].id,
    )
    yield
    app.extensions["writer"].stop()
    app.extensions["refusals"].stop()


def ids(result: Result) -> list[str]:
    assert result.exit_code == 0, result.output
    return sorted(json.loads(line)["event_id"] for line in result.stdout.splitlines())


def test_deliveries_are_chosen_by_every_filter(on_ledger: Run, recorded: None) -> None:
    for options, expected in (
        (("--source", "stripe"), ["evt_1", "evt_2", "evt_3", "evt_3"]),
        (("--source", "tally"), []),
        (("--destination", "crm"), ["evt_3"]),
        (("--destination", "sandbox", "--kind", "sale"), ["evt_1", "evt_2", "evt_3"]),
        (("--code", 422), ["evt_1"]),
        (("--q", "p2@example.com"), ["evt_2"]),
        (("--q", "user_", "--status", "dead"), ["evt_1"]),
        (("--since", "1h", "--until", "2999-01-01", "--status", "pending"), ["evt_3", "evt_3"]),
        (("--since", "2999-01-01"), []),
        (("--until", "2020-01-01"), []),
        (("--source", "stripe", "--limit", 1), ["evt_3"]),
    ):
        assert ids(on_ledger("deliveries", "--json", *options)) == expected, options


def test_events_are_chosen_by_every_filter(on_ledger: Run, recorded: None) -> None:
    for options, expected in (
        (("--source", "stripe", "--outcome", "sale"), ["evt_1", "evt_2", "evt_3"]),
        (("--destination", "crm"), ["evt_3"]),
        (("--destination", "sandbox", "--outcome", "ignored"), []),
        (("--destination", "sandbox", "--q", "pi_1"), ["evt_1"]),
        (("--q", "evt_x"), ["evt_x"]),
        (("--since", "1h", "--limit", 2), ["evt_3", "evt_x"]),
        (("--until", "2020-01-01"), []),
    ):
        assert ids(on_ledger("events", "--json", *options)) == expected, options


def test_tables_show_time_and_destination(on_ledger: Run, recorded: None) -> None:
    heading, newest, *_ = on_ledger("deliveries").stdout.splitlines()
    assert heading.split()[:5] == ["id", "kind", "status", "recorded", "destination"]
    assert newest.split()[4] == "crm"
    events = on_ledger("events", "--source", "stripe").stdout.splitlines()
    assert "sandbox, crm" in events[2]
    assert "T" in events[1].split()[2]


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_filter_that_names_nothing_there_is_is_a_usage_error_with_the_name_that_was_meant(
    on_ledger: Run, ledger: Ledger
) -> None:
    for options, hint in (
        (("--source", "strip"), "did you mean stripe?"),
        (("--destination", "cm"), "did you mean crm?"),
        (("--destination", "elsewhere"), "choose from"),
        (("--since", "yesterday"), "90m, 24h, 7d"),
    ):
        for command in ("deliveries", "events"):
            result = on_ledger(command, *options)
            assert result.exit_code == 2
            assert hint in result.stderr
