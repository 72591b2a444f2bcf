"""A forgotten destination: roles refuse to start, doctor names what went to the sandbox, replay --to brings it where it belongs."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.bootstrap import check_has_destination
from app.cli import main
from app.config.settings import Settings
from app.errors import ConfigurationError
from app.ledger.actions.replay import BLANK_PAYLOAD
from app.ledger.engine import Ledger
from app.web.factory import create_app
from tests.conftest import PYTHON
from tests.support.makers import change, checkout, count, settle, signed

MAIN = {"DESTINATION_URL": "https://destination.example", "DESTINATION_TOKEN": "token-of-the-tests"}
TOML = """
[destinations.crm]
url = "https://crm.example"
token_env = "CRM_TOKEN"
kinds = ["lead"]
"""


@pytest.fixture
def bridge(make_settings: Callable[..., Settings], ledger_url: str) -> Callable[..., Result]:
    """Runs a command on the ledger of the test, as if DESTINATION_URL had been set by now."""

    def run(*arguments: object, **variables: str) -> Result:
        make_settings(**{"DATABASE_URL": ledger_url, **MAIN, **variables})
        return CliRunner().invoke(main, [str(one) for one in arguments])

    return run


@pytest.fixture
def post(make_settings: Callable[..., Settings], ledger: Ledger) -> Iterator[Callable[[bytes], None]]:
    """Posts a signed body to a web that forwards to its sandbox."""
    app = create_app(make_settings(STRIPE_ALLOW_TEST_EVENTS="1"), ledger)

    def send(body: bytes) -> None:
        assert app.test_client().post("/webhooks/stripe", **signed(body)).status_code == 200

    yield send
    app.extensions["writer"].stop()


def live(number: int, **session: Any) -> bytes:
    return json.dumps(json.loads(checkout(number, **session)) | {"livemode": True}).encode()


def rows(ledger: Ledger, columns: str = "destination, status, dedupe_key") -> list[tuple[Any, ...]]:
    with ledger.read() as tx:
        return [tuple(row) for row in tx.run(f"SELECT {columns} FROM deliveries ORDER BY id").all()]


def to_main(ledger: Ledger) -> list[tuple[Any, ...]]:
    return [(status, key) for name, status, key in rows(ledger) if name == "main"]


# roles


@pytest.mark.parametrize(
    ("variables", "starts"),
    [
        ({"SANDBOX": ""}, False),
        ({"SANDBOX": "0"}, False),
        ({"SANDBOX": "", "DESTINATION_URL": ""}, False),
        ({"SANDBOX": "1"}, True),
        ({"SANDBOX": "", **MAIN}, True),
    ],
)
def test_a_role_needs_a_destination_or_leave_to_use_the_sandbox(
    make_settings: Callable[..., Settings], variables: dict[str, str], starts: bool
) -> None:
    settings = make_settings(**variables)
    if starts:
        check_has_destination(settings)
        return
    with pytest.raises(ConfigurationError, match=r"set DESTINATION_URL and DESTINATION_TOKEN .* or SANDBOX=1"):
        check_has_destination(settings)


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "arguments", [["-m", "app", "web"], ["-m", "workers"], ["-c", "from app.web.factory import wsgi; wsgi()"]]
)
def test_web_and_worker_refuse_to_start_without_a_destination(
    make_settings: Callable[..., Settings], ledger_url: str, arguments: list[str]
) -> None:
    make_settings(SANDBOX="", DATABASE_URL=ledger_url, REDIS_URL="redis://127.0.0.1:9/0")
    done = subprocess.run([PYTHON, *arguments], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 1
    assert "no destination is set" in done.stderr


# doctor


def doctor(bridge: Callable[..., Result], **variables: str) -> list[str]:
    lines = bridge("doctor", **variables).stdout.splitlines()
    return [line for line in lines if "WRONG" in line and "sandbox and nowhere else" in line]


def test_doctor_says_that_live_events_went_to_the_sandbox_until_they_are_sent(
    bridge: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    post(live(1))
    post(live(2))
    post(checkout(3))
    assert doctor(bridge) == [], "nothing was sent yet"
    settle(ledger, "delivered")
    (line,) = doctor(bridge)
    assert "2 conversions of live Stripe events" in line
    assert "bridge replay --to main --since 2" in line
    (unset,) = doctor(bridge, DESTINATION_URL="", DESTINATION_TOKEN="")
    assert "Set DESTINATION_URL and DESTINATION_TOKEN, then" in unset
    since = line.split("--since ")[1].split("`")[0]
    assert bridge("replay", "--to", "main", "--since", since).exit_code == 0
    assert doctor(bridge) == []


# replay --to


def test_what_went_to_the_sandbox_is_sent_to_main_once(
    bridge: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    for number in (1, 2):
        post(live(number))
    settle(ledger, "delivered")
    result = bridge("replay", "--to", "main", "--since", "1h")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "2 due now, 0 skipped.")
    assert to_main(ledger) == [("pending", "sale:stripe:pi_1"), ("pending", "sale:stripe:pi_2")]
    again = bridge("replay", "--to", "main", "--since", "1h")
    assert (again.exit_code, again.stdout.splitlines()[-1]) == (0, "0 due now, 2 skipped.")
    settle(ledger, "delivered", destination="main")
    assert "0 due now, 2 skipped." in bridge("replay", "--to", "main", "--since", "1h").stdout
    assert "2 due now, 0 skipped." in bridge("replay", "--to", "main", "--since", "1h", "--force").stdout
    assert count(ledger, "deliveries") == 4


def test_the_payload_is_what_the_destinations_format_makes_of_all_that_is_known_now(
    bridge: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    post(live(1))
    settle(ledger, "delivered")
    change(ledger, "UPDATE persons SET click_first = 'clk_learned_later', click_last = 'clk_learned_later'")
    bridge("replay", "--to", "main", "--since", "1h", DESTINATION_FORMAT="track")
    (sandbox,), (main_,) = rows(ledger, "payload")
    assert "clk_learned_later" in main_
    assert "clk_learned_later" not in sandbox
    assert "event_name" not in json.loads(main_) or json.loads(main_) != json.loads(sandbox)


def test_it_chooses_by_id_kind_source_and_time(
    bridge: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    for number in range(1, 5):
        post(live(number))
    settle(ledger, "delivered")
    ids = [identity for (identity,) in rows(ledger, "id")]
    assert bridge("replay", "--to", "main", "--id", ids[0], ids[2]).exit_code == 0
    assert [key for _, key in to_main(ledger)] == ["sale:stripe:pi_1", "sale:stripe:pi_3"]
    assert bridge("replay", "--to", "main", "--id", ids[0]).exit_code == 1, "it is on its way"
    for nothing in (["--kind", "lead"], ["--source", "typeform"], ["--until", "2001-01-01"]):
        result = bridge("replay", "--to", "main", "--since", "2000-01-01", *nothing)
        assert (result.exit_code, result.stdout) == (0, "Nothing matches.\n")
    bridge("replay", "--to", "main", "--since", "1h", "--kind", "sale", "--source", "stripe")
    assert len(to_main(ledger)) == 4


def test_what_must_not_be_sent_is_left_alone(
    bridge: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    for number in range(1, 5):
        post(live(number))
    settle(ledger, "delivered")
    (discarded,), (forgotten,), (unknown,), _ = rows(ledger, "id")
    change(ledger, "UPDATE deliveries SET status = 'discarded' WHERE id = ?", discarded)
    blank = '{"click_id":null,"email":null,"name":null,"phone":null,"sale":null,"lead":null}'
    change(ledger, "UPDATE deliveries SET payload = ? WHERE id = ?", BLANK_PAYLOAD, forgotten)
    statement = "UPDATE conversions SET facts = ? WHERE id = (SELECT conversion_id FROM deliveries WHERE id = ?)"
    change(ledger, statement, blank, forgotten)
    change(ledger, "DELETE FROM deliveries WHERE id = ?", unknown)  # retention did so
    result = bridge("replay", "--to", "main", "--since", "1h")
    assert "1 due now, 3 skipped." in result.stdout
    assert [key for _, key in to_main(ledger)] == ["sale:stripe:pi_4"]
    for reason in ("it is discarded", "its person was forgotten", "retention may have removed"):
        assert reason in result.stdout


def test_dead_ones_of_that_destination_are_replayed_and_discarded_ones_only_by_id(
    bridge: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    post(live(1))
    post(live(2))
    settle(ledger, "delivered")
    bridge("replay", "--to", "main", "--since", "1h")
    dead, dropped = settle(ledger, "permanent", status=400, destination="main")
    change(ledger, "UPDATE deliveries SET status = 'discarded' WHERE id = ?", dropped)
    bridge("replay", "--to", "main", "--since", "1h")
    assert [
        (identity, status) for identity, name, status in rows(ledger, "id, destination, status") if name == "main"
    ] == [
        (dead, "pending"),
        (dropped, "discarded"),
    ]
    assert bridge("replay", "--to", "main", "--id", dropped).exit_code == 0
    assert [status for status, _ in to_main(ledger)] == ["pending", "pending"]


def test_a_destination_gets_only_what_it_takes(
    bridge: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger, tmp_path: Path
) -> None:
    post(live(1))
    settle(ledger, "delivered")
    (tmp_path / "bridge.toml").write_text(TOML, encoding="utf-8")
    variables = {"BRIDGE_CONFIG": str(tmp_path / "bridge.toml"), "CRM_TOKEN": "token-of-the-crm"}
    result = bridge("replay", "--to", "crm", "--since", "1h", **variables)
    assert "crm does not take a sale of stripe" in result.stdout
    assert count(ledger, "deliveries") == 1


def test_they_go_in_the_order_in_which_they_were_recorded(
    bridge: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    """So that a Sale waits for its Lead."""
    for number in range(1, 451):  # more than two batches
        post(live(number))
    settle(ledger, "delivered")
    bridge("replay", "--to", "main", "--since", "1h")
    keys = [key for _, key in to_main(ledger)]
    assert keys == [f"sale:stripe:pi_{number}" for number in range(1, 451)]


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "nowhere", "--since", "1h"], "there is no destination called nowhere"),
        (["--to", "main"], "--to takes either --id or --since"),
        (["--to", "main", "--id", "1", "--since", "1h"], "--to takes either --id or --since"),
        (["--to", "main", "--status", "dead"], "--to takes either --id or --since"),
        (["--to", "main", "--parked"], "--to takes either --id or --since"),
        (["--to", "main", "--id", "1", "--kind", "sale"], "go with --since"),
        (["--to", "main", "--since", "yesterday"], "--since"),
        (["--to", "main", "--since", "1h", "--source", "nobody"], "there is no source"),
        (["--until", "1h", "--id", "1"], "go with --status or --to"),
    ],
)
def test_it_refuses_what_it_cannot_mean(
    bridge: Callable[..., Result], ledger: Ledger, arguments: list[str], said: str
) -> None:
    result = bridge("replay", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_an_id_that_is_not_there_is_said(bridge: Callable[..., Result], ledger: Ledger) -> None:
    result = bridge("replay", "--to", "main", "--id", 4711, 2**70)
    assert result.exit_code == 1
    assert "there is no delivery 4711" in result.stdout
