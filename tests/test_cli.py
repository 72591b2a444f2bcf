"""The commands: what they print, what they change, and how they end."""

import base64
import json
import os
import pty
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import make_url

from app.config.settings import Settings
from app.ledger.engine import Ledger
from app.ledger.reading.deliveries import attempts
from app.ledger.schema import HEAD
from app.sources.catalog import SOURCES
from app.web.factory import create_app
from tests.conftest import PYTHON, Valkey
from tests.support.makers import away, begin, change, checkout, count, one, settle, signed
from workers.retry import due_after

FIXTURES = Path(__file__).parents[1] / "app" / "sources" / "stripe" / "fixtures"
LINE = ["file", "outcome", "reason", "event_id", "event_type", "dedupe_keys", "payload"]
sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@pytest.fixture
def on_ledger(bridge: Callable[..., Result], ledger_url: str) -> Callable[..., Result]:
    """Runs a command on the ledger of the test."""
    return lambda *arguments, **variables: bridge(*arguments, **{"DATABASE_URL": ledger_url, **variables})


@pytest.fixture
def post(make_settings: Callable[..., Settings], ledger: Ledger) -> Iterator[Callable[[bytes], None]]:
    """Posts a signed body to a web on the ledger."""
    app = create_app(make_settings(), ledger)

    def send(body: bytes) -> None:
        assert app.test_client().post("/webhooks/stripe", **signed(body)).status_code == 200

    yield send
    app.extensions["writer"].stop()


def lines(result: Result) -> list[dict[str, Any]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def complaint(stderr: str) -> str:
    """What a command says, without the line of the log with which a role begins."""
    return "".join(line for line in stderr.splitlines(keepends=True) if '"process.started"' not in line)


# map


def test_map_shows_the_request_that_a_destination_would_be_sent(bridge: Callable[..., Result], tmp_path: Path) -> None:
    files = [FIXTURES / name for name in ("checkout_payment.json", "product_created.json")]
    table = '[destinations.dub]\nurl = "https://dub.example"\ntoken_env = "CRM_TOKEN"\nformat = "dub"\n'
    (tmp_path / "bridge.toml").write_text(table)
    settings = {"BRIDGE_CONFIG": str(tmp_path / "bridge.toml"), "CRM_TOKEN": "a-secret-token"}
    result = bridge("map", "stripe", *files, "--destination", "dub", **settings)
    sale, ignored = lines(result)
    assert list(sale) == [*LINE, "request"]
    request = sale["request"]
    assert (request["method"], request["url"]) == ("POST", "https://dub.example/track/sale")
    assert request["headers"]["Authorization"] == "Bearer ***"
    assert request["headers"]["Idempotency-Key"] == sale["dedupe_keys"][0]
    assert request["body"]["amount"] == round(sale["payload"]["amount"] * 100)
    assert ignored["request"] is None
    assert "a-secret-token" not in result.output
    unknown = bridge("map", "stripe", *files, "--destination", "crm", **settings)
    assert (unknown.exit_code, "choose from dub" in unknown.output) == (2, True)


def test_map_shows_the_request_of_a_template_and_why_it_would_not_be_sent(
    bridge: Callable[..., Result], tmp_path: Path
) -> None:
    table = (
        '[destinations.ga]\nformat = "ga4"\nmeasurement_id = "G-ABC"\napi_secret_env = "GA_SECRET"\n'
        '[destinations.hook]\nformat = "template"\nurl = "https://hook.example"\n'
        '[destinations.hook.sale]\npath = "/in"\nheaders = {X-Source = "source"}\n'
        'body = {id = "sale.invoice_id", paid = "whole(sale.amount)", key = "secret(\'key\')"}\n'
        '[destinations.hook.secrets]\nkey = "HOOK_KEY"\n'
        '[destinations.hook.signature]\nsecret_env = "HOOK_SIGNING"\n'
    )
    (tmp_path / "bridge.toml").write_text(table)
    secrets = {"GA_SECRET": "hunter2-of-ga", "HOOK_KEY": "hunter2-of-hook", "HOOK_SIGNING": f"whsec_{'a' * 43}="}
    settings = {"BRIDGE_CONFIG": str(tmp_path / "bridge.toml"), **secrets}
    sale = FIXTURES / "checkout_payment.json"
    analytics = bridge("map", "stripe", sale, "--destination", "ga", **settings)
    (line,) = lines(analytics)
    assert line["request"]["url"].endswith("/mp/collect?measurement_id=G-ABC&api_secret=***")
    assert line["request"]["body"]["events"][0]["name"] == "purchase"
    assert line["not_sent"] == "not sent: this destination needs click.ga_client_id, which is not known"
    hook = bridge("map", "stripe", sale, "--destination", "hook", **settings)
    (line,) = lines(hook)
    assert list(line) == [*LINE, "request"]
    assert line["request"]["headers"]["X-Source"] == "stripe"
    assert line["request"]["headers"]["webhook-signature"] == "***"
    assert line["request"]["body"] == {
        "id": line["payload"]["invoiceId"],
        "paid": round(line["payload"]["amount"] * 100),
        "key": "***",
    }
    assert "hunter2" not in analytics.output + hook.output


def test_map_prints_one_line_a_file_in_their_order_and_stores_nothing(
    bridge: Callable[..., Result], tmp_path: Path
) -> None:
    files = [FIXTURES / name for name in ("checkout_payment.json", "product_created.json")]
    result = bridge("map", "stripe", *files, BRIDGE_HOME=str(tmp_path / "none"), STRIPE_WEBHOOK_SECRET="")
    assert result.exit_code == 0
    first, second = lines(result)
    assert list(first) == LINE
    assert (first["file"], first["outcome"]) == (str(files[0]), "sale")
    assert first["payload"]["event"] == "sale"
    assert first["dedupe_keys"][0].startswith("sale:stripe:")
    assert (second["outcome"], second["payload"]) == ("ignored", None)
    assert not (tmp_path / "none").exists()


def test_map_goes_on_past_a_file_that_cannot_be_opened_and_ends_with_1(
    bridge: Callable[..., Result], tmp_path: Path
) -> None:
    there = FIXTURES / "checkout_payment.json"
    result = bridge("map", "stripe", tmp_path / "none.json", there, tmp_path)
    assert result.exit_code == 1
    assert [line["outcome"] for line in lines(result)] == ["sale"]
    assert "none.json: No such file" in result.stderr
    assert f"{tmp_path}: Is a directory" in result.stderr


def test_map_says_that_a_body_is_rejected_and_ends_with_0(bridge: Callable[..., Result], tmp_path: Path) -> None:
    bodies = {"empty": b"", "text": b"hello", "utf16": "{}".encode("utf-16"), "deep": b"[" * 10_000, "array": b"[]"}
    for name, body in bodies.items():
        (tmp_path / f"{name}.json").write_bytes(body)
    result = bridge("map", "stripe", *sorted(tmp_path.glob("*.json")))
    assert result.exit_code == 0
    found = lines(result)
    assert len(found) == len(bodies)
    for line in found:
        assert list(line) == LINE
        assert line["outcome"] == "rejected"
        assert line["reason"]
        assert [line[name] for name in LINE[3:]] == [None, None, [], None]


def test_map_reads_a_body_by_the_name_of_its_file(bridge: Callable[..., Result], tmp_path: Path) -> None:
    fields = {"email": "ada@example.com", "name": "Ada"}
    parts = "".join(f'--XY\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items())
    (tmp_path / "a.json").write_text(json.dumps(fields))
    (tmp_path / "b.form.txt").write_text("email=ada%40example.com&name=Ada")
    (tmp_path / "c.multipart.txt").write_bytes(f"{parts}--XY--\r\n".encode())
    result = bridge("map", "framer", *sorted(tmp_path.iterdir()))
    assert [line["outcome"] for line in lines(result)] == ["lead"] * 3
    assert {line["payload"]["email"] for line in lines(result)} == {"ada@example.com"}


def test_map_takes_content_type_and_headers_as_they_came(bridge: Callable[..., Result], tmp_path: Path) -> None:
    path = tmp_path / "body.txt"
    path.write_text("email=ada%40example.com")
    form = "application/x-www-form-urlencoded"
    assert lines(bridge("map", "framer", path))[0]["outcome"] == "rejected"
    assert lines(bridge("map", "framer", path, "--content-type", form))[0]["outcome"] == "lead"
    assert lines(bridge("map", "framer", path, "-H", f"Content-Type: {form}"))[0]["outcome"] == "lead"
    named = bridge("map", "framer", path, "--content-type", form, "-H", "Framer-Webhook-Submission-Id:  sub_1 ")
    assert lines(named)[0]["dedupe_keys"] == ["lead:framer:sub_1"]
    assert bridge("map", "framer", path, "-H", "no colon").exit_code == 2


def test_map_of_a_source_that_is_not_there_lists_those_that_are(bridge: Callable[..., Result], tmp_path: Path) -> None:
    result = bridge("map", "xyzzy", tmp_path)
    assert result.exit_code == 1
    assert "stripe" in result.stderr
    assert "typeform" in result.stderr


# deliveries and events


@sqlite_alone
def test_lists_in_json_are_everything_unless_limited(on_ledger: Callable[..., Result], ledger: Ledger) -> None:
    with ledger.write() as tx:
        rows = [(n, f"k{n}", "stripe", f"evt_{n}", "t", "ignored", "naïve", 1, 1, "{}", b"") for n in range(1, 1202)]
        columns = (
            "id, event_key, source, event_id, event_type, outcome, reason, received_at, last_received_at, headers, body"
        )
        tx.run_many(f"INSERT INTO events ({columns}) VALUES ({', '.join('?' * 11)})", rows)
    ids = [line["id"] for line in lines(on_ledger("events", "--json"))]
    assert ids == list(range(1201, 0, -1))
    assert [line["id"] for line in lines(on_ledger("events", "--json", "--limit", 3))] == [1201, 1200, 1199]
    assert len(lines(on_ledger("events", "--json", "--limit", 700))) == 700
    assert lines(on_ledger("events", "--json", "--outcome", "sale")) == []
    table = on_ledger("events").stdout
    assert "naïve" in table
    assert table.count("ignored") == 1201
    assert on_ledger("events", "--limit", 700).stdout.count("ignored") == 700


def test_a_delivery_in_json_has_what_the_contract_names(
    on_ledger: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    post(checkout(1))
    settle(ledger, "transient", retry=True, status=503, error="answered 503")
    post(checkout(2))
    newest, oldest = lines(on_ledger("deliveries", "--json"))
    names = "id status kind dedupe_key destination payload attempts next_attempt_at created_at delivered_at last_error source"
    assert set(names.split()) | {"event_id"} <= set(newest)
    assert (oldest["status"], oldest["attempts"], oldest["last_error"]) == ("retrying", 1, "answered 503")
    assert (oldest["source"], oldest["event_id"]) == ("stripe", "evt_1")
    assert [line["event_id"] for line in lines(on_ledger("deliveries", "--json", "--status", "pending"))] == ["evt_2"]
    assert "answered 503" in on_ledger("deliveries").stdout
    (event,) = lines(on_ledger("events", "--json", "--limit", 1))
    assert (event["event_id"], event["outcome"], event["received_count"]) == ("evt_2", "sale", 1)


@sqlite_alone
def test_lists_of_nothing_say_so_and_wrong_filters_are_refused(on_ledger: Callable[..., Result]) -> None:
    assert "No delivery matches." in on_ledger("deliveries", "--status", "dead").stdout
    assert "No event has arrived." in on_ledger("events").stdout
    assert on_ledger("deliveries", "--json").stdout == ""
    for arguments in (("deliveries", "--status", "lost"), ("events", "--outcome", "x"), ("events", "--limit", "0")):
        assert on_ledger(*arguments).exit_code == 2


@sqlite_alone
@pytest.mark.parametrize(("columns", "lines_a_row"), [(80, 2), (200, 1)])
def test_a_table_on_a_terminal_cuts_nothing_off(
    post: Callable[[bytes], None], ledger_url: str, ledger: Ledger, columns: int, lines_a_row: int
) -> None:
    post(checkout(1))
    why = "answered 422: the currency is not one in which this account may sell"
    settle(ledger, "permanent", status=422, error=why)
    environment = {**os.environ, "DATABASE_URL": ledger_url, "COLUMNS": str(columns)}
    ours, theirs = pty.openpty()
    subprocess.run([PYTHON, "-m", "app", "deliveries"], env=environment, stdout=theirs, stderr=theirs, check=True)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    message = re.sub(r"\x1b\[\d*m", "", shown).splitlines()
    assert len(message) == 2 * lines_a_row
    assert "next attempt or last error" in message[lines_a_row - 1]
    assert "dead" in message[lines_a_row]
    assert "sale:stripe:" in message[lines_a_row]
    assert message[-1].endswith(why)


@sqlite_alone
def test_a_list_whose_reader_goes_away_ends_quietly_and_one_on_a_full_disk_says_so(
    post: Callable[[bytes], None], ledger_url: str, ledger: Ledger
) -> None:
    for number in range(40):
        post(checkout(number))
    environment = {**os.environ, "DATABASE_URL": ledger_url}
    command = f"{PYTHON} -m app events --json | head -n 1"
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=True)
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""
    command = f"{PYTHON} -m app events --json > /dev/full"
    full = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert full.returncode == 1
    assert full.stderr == "bridge: the output cannot be written: No space left on device\n"


def test_ctrl_c_while_a_command_still_loads_shows_no_traceback() -> None:
    interrupt = (
        "import runpy, sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'app.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())\n"
        "runpy.run_module('app', run_name='__main__')\n"
    )
    done = subprocess.run([PYTHON, "-c", interrupt], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "Aborted!\n")


# replay


def row(ledger: Ledger, delivery: int) -> tuple[Any, ...]:
    return tuple(one(ledger, "SELECT status, attempts, schedule_start, due_at FROM deliveries WHERE id = ?", delivery))


def clock(ledger: Ledger) -> int:
    with ledger.read() as tx:
        return tx.now()


def is_due(ledger: Ledger, delivery: int) -> bool:
    return bool(abs(row(ledger, delivery)[3] - clock(ledger)) < 60_000)


def test_a_dead_delivery_is_pending_again_with_its_schedule_afresh_and_its_attempts_counted_on(
    on_ledger: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    post(checkout(1))
    for _ in range(3):
        (delivery,) = settle(ledger, "transient", retry=True, status=500, error="down")
        change(ledger, "UPDATE deliveries SET due_at = 1")
    settle(ledger, "permanent", status=422, error="no")
    assert row(ledger, delivery)[:2] == ("dead", 4)
    result = on_ledger("replay", "--id", delivery)
    assert result.exit_code == 0
    assert f"delivery {delivery}: it was dead and is due now" in result.stdout
    assert "1 due now, 0 skipped." in result.stdout
    assert row(ledger, delivery)[:3] == ("pending", 4, 4)
    assert is_due(ledger, delivery)
    (claimed,) = begin(ledger)
    tries = claimed.attempts + 1 - claimed.schedule_start
    assert due_after("transient", tries, (5, 30), now_ms=0, dice=0.5) == 5000
    settle(ledger, "transient", claimed=[claimed], retry=True, status=500)
    assert row(ledger, delivery)[:3] == ("retrying", 5, 4)
    with ledger.read() as tx:
        made = attempts(tx, delivery)
    assert [a["number"] for a in made] == [1, 2, 3, 4, 5]
    assert [a["by_hand"] for a in made] == [False, False, False, False, True]
    assert one(ledger, "SELECT actor, action, detail FROM audit") == ("cli", "replay", "was dead")


def test_a_discarded_delivery_is_pending_again(
    on_ledger: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    post(checkout(1))
    (delivery,) = settle(ledger, "transient", retry=True, status=500)
    change(ledger, "UPDATE deliveries SET status = 'discarded', due_at = NULL")
    assert on_ledger("replay", "--id", delivery).exit_code == 0
    assert row(ledger, delivery)[:3] == ("pending", 1, 1)
    assert is_due(ledger, delivery)


@pytest.mark.parametrize("status", ["pending", "retrying"])
def test_one_that_waits_is_due_now_and_goes_on_in_its_schedule(
    on_ledger: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger, status: str
) -> None:
    post(checkout(1))
    (delivery,) = one(ledger, "SELECT id FROM deliveries")
    if status == "retrying":
        settle(ledger, "transient", retry=True, status=500)
    change(ledger, "UPDATE deliveries SET due_at = ?, held = 1", clock(ledger) + 3_600_000)
    before = row(ledger, delivery)
    assert on_ledger("replay", "--id", delivery).exit_code == 0
    assert row(ledger, delivery)[:3] == before[:3]
    assert is_due(ledger, delivery)
    assert len(begin(ledger)) == 1


def test_a_delivered_one_is_sent_again_only_by_force(
    on_ledger: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    post(checkout(1))
    (delivery,) = settle(ledger, "delivered")
    refused = on_ledger("replay", "--id", delivery)
    assert refused.exit_code == 1
    assert "use --force" in refused.stdout
    assert row(ledger, delivery)[0] == "delivered"
    assert on_ledger("replay", "--id", delivery, "--force").exit_code == 0
    assert row(ledger, delivery)[:3] == ("pending", 1, 1)
    settle(ledger, "delivered")
    assert row(ledger, delivery)[:2] == ("delivered", 2)


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_one_that_is_being_sent_is_left_alone(
    on_ledger: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger, force: tuple[str, ...]
) -> None:
    post(checkout(1))
    (claimed,) = begin(ledger)
    before = one(ledger, "SELECT * FROM deliveries")
    result = on_ledger("replay", "--id", claimed.id, *force)
    assert result.exit_code == 1
    assert "being sent: skipped" in result.stdout
    assert one(ledger, "SELECT * FROM deliveries") == before
    settle(ledger, "delivered", claimed=[claimed])
    assert row(ledger, claimed.id)[:2] == ("delivered", 1)


def test_replay_chooses_by_status_source_and_time(
    on_ledger: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    for number in range(5):
        post(checkout(number))
    settle(ledger, "permanent", claimed=begin(ledger)[:3], status=400)
    change(ledger, "UPDATE deliveries SET claim = NULL, claimed_until = NULL")
    change(ledger, "UPDATE deliveries SET source = 'typeform' WHERE id = (SELECT MIN(id) FROM deliveries)")
    assert "Nothing matches." in on_ledger("replay", "--status", "dead", "--since", "2999-01-01").stdout
    assert "Nothing matches." in on_ledger("replay", "--status", "dead", "--source", "tally").stdout
    assert "Nothing matches." in on_ledger("replay", "--status", "discarded").stdout
    assert "2 due now" in on_ledger("replay", "--status", "dead", "--source", "stripe", "--since", "1h").stdout
    assert "1 due now" in on_ledger("replay", "--status", "dead").stdout
    assert one(ledger, "SELECT COUNT(*) FROM deliveries WHERE status = 'pending'") == (5,)


@sqlite_alone
def test_replay_takes_several_ids_after_one_option(
    on_ledger: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    for number in range(3):
        post(checkout(number))
    one, two, three = settle(ledger, "permanent", status=400)
    assert "2 due now" in on_ledger("replay", "--id", one, three).stdout
    assert "2 due now" in on_ledger("replay", "--id", one, "--id", two).stdout


@sqlite_alone
def test_replay_goes_through_more_than_one_batch(
    on_ledger: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    post(checkout(0))
    settle(ledger, "permanent", status=400)
    with ledger.write() as tx:
        columns = (
            "conversion_id, person_id, event_id, source, kind, destination, dedupe_key, status, payload, created_at"
        )
        for number in range(1000, 1450):
            statement = f"INSERT INTO deliveries (id, {columns}) SELECT ?, ?, {columns.split(', ', 1)[1]} FROM deliveries LIMIT 1"
            tx.run(statement, number, number)
    assert "451 due now, 0 skipped." in on_ledger("replay", "--status", "dead").stdout


@sqlite_alone
def test_replay_refuses_what_it_cannot_mean(
    on_ledger: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    post(checkout(1))
    settle(ledger, "permanent", status=400)
    for arguments in (
        (),
        ("--id", "1", "--status", "dead"),
        ("--id", "x"),
        ("--id", "1", "--since", "1h"),
        ("--status", "delivered"),
        ("--status", "dead", "--since", "yesterday"),
        ("--status", "dead", "--force"),
        ("--parked", "--force"),
        ("--parked", "--kind", "sale"),
        ("--parked", "1"),
        ("1",),
    ):
        assert on_ledger("replay", *arguments).exit_code == 2, arguments
    for number in ("0", "424242", str(2**63), "-1"):
        result = on_ledger("replay", "--id", number)
        assert result.exit_code == 1
        assert f"delivery {number} does not exist" in result.output
    assert one(ledger, "SELECT status FROM deliveries") == ("dead",)


@sqlite_alone
def test_replay_wakes_a_worker_and_does_without_where_redis_is_away(
    on_ledger: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger, valkey: Valkey
) -> None:
    from app.queue import connect

    post(checkout(1))
    (delivery,) = settle(ledger, "permanent", status=400)
    redis = connect(valkey.url)
    assert on_ledger("replay", "--id", delivery, REDIS_URL=valkey.url).exit_code == 0
    assert redis.llen("rq:queue:bridge") == 1
    valkey.kill()
    result = on_ledger("replay", "--id", delivery, REDIS_URL=valkey.url)
    assert result.exit_code == 0
    assert "Redis did not answer" in result.stderr


# db and what needs a current schema


def test_db_commands_that_look_make_no_ledger(bridge: Callable[..., Result], tmp_path: Path) -> None:
    home = tmp_path / "another folder"
    for command in (("db", "current"), ("db", "downgrade")):
        result = bridge(*command, BRIDGE_HOME=str(home), DATABASE_URL="")
        assert result.exit_code == 1
        assert f"there is no ledger at {home / 'ledger.db'}" in result.stderr
        assert not home.exists()


def test_db_brings_an_empty_ledger_to_the_newest_schema(bridge: Callable[..., Result], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    current = bridge("db", "current", DATABASE_URL=url)
    assert (current.exit_code, current.stdout) == (1, f"empty (newest: {HEAD})\n")
    assert f"from empty to {HEAD}" in bridge("db", "upgrade", DATABASE_URL=url).stdout
    assert f"The ledger is at {HEAD}." in bridge("db", "upgrade", DATABASE_URL=url).stdout
    current = bridge("db", "current", DATABASE_URL=url)
    assert (current.exit_code, current.stdout) == (0, f"{HEAD} (newest: {HEAD})\n")
    assert f"from {HEAD} to 0" in bridge("db", "downgrade", DATABASE_URL=url).stdout
    again = bridge("db", "downgrade", DATABASE_URL=url)
    assert (again.exit_code, "there is nothing for this version" in again.stderr) == (1, True)


NEED_SCHEMA = [("deliveries",), ("events", "--json"), ("replay", "--status", "dead"), ("replay", "--parked"), ("web",)]
REDIS = {"REDIS_URL": "unix:///nowhere.sock"}


@pytest.mark.parametrize("command", NEED_SCHEMA, ids=lambda tx: " ".join(tx))
def test_an_empty_ledger_is_refused_with_the_remedy(
    bridge: Callable[..., Result], tmp_path: Path, command: tuple[str, ...]
) -> None:
    result = bridge(*command, DATABASE_URL=f"sqlite:///{tmp_path / 'new.db'}", **REDIS)
    assert result.exit_code == 1
    assert (
        complaint(result.stderr) == f"bridge: the ledger is empty; this version needs {HEAD}: run `bridge db upgrade`\n"
    )


def test_another_schema_is_refused_with_the_remedy(on_ledger: Callable[..., Result], ledger: Ledger) -> None:
    revision = "0000"
    change(ledger, "UPDATE alembic_version SET version_num = ?", revision)
    for command in NEED_SCHEMA:
        result = on_ledger(*command, **REDIS)
        assert result.exit_code == 1
        assert f"at {revision}" in result.stderr
        assert "bridge db upgrade" in result.stderr


@pytest.mark.parametrize("missing", ["REDIS_URL", "DASHBOARD_PASSWORD", "SECRET_KEY"])
def test_web_refuses_to_start_without_what_it_needs(bridge: Callable[..., Result], missing: str) -> None:
    result = bridge("web", **{**REDIS, missing: ""})
    assert result.exit_code == 1
    assert f"set {missing} " in result.stderr


def test_web_names_all_that_is_missing_at_once(bridge: Callable[..., Result]) -> None:
    result = bridge("web", REDIS_URL="", DASHBOARD_PASSWORD="", SECRET_KEY="")
    assert "set REDIS_URL, DASHBOARD_PASSWORD, SECRET_KEY" in result.stderr


@pytest.mark.parametrize(
    ("variables", "table", "remedy"),
    [
        ({"WPFORMS_PATH_TOKEN": "short"}, "", "WPFORMS_PATH_TOKEN must be 16 or more"),
        ({"DESTINATION_URL": "http://127.0.0.1:9", "DESTINATION_TOKEN": "t"}, "", "DESTINATION_ALLOW_PRIVATE=1"),
        (
            {"DESTINATION_URL": "https://x.example/?a=1", "DESTINATION_TOKEN": "t"},
            "",
            "DESTINATION_URL: must hold no ?",
        ),
        ({"DASHBOARD_PASSWORD": "short"}, "", "DASHBOARD_PASSWORD: must be 8 characters or more"),
        ({"CLERK_WEBHOOK_SECRET": "whsec_é"}, "", "CLERK_WEBHOOK_SECRET"),
        ({}, "[sources.shop]\nkind = 'refund'", "sources.shop.kind"),
        ({}, "[retention]\nbodies_days = 0", "retention.bodies_days"),
        ({}, "[alerts]\nkinds = ['fire']", "alerts.kinds"),
        ({}, "[retenton]\nbodies_days = 9", "retenton: is not known; known are the tables"),
    ],
)
@sqlite_alone
def test_nothing_starts_on_a_configuration_that_is_wrong(
    on_ledger: Callable[..., Result],
    bridge: Callable[..., Result],
    tmp_path: Path,
    variables: dict[str, Any],
    table: str,
    remedy: str,
) -> None:
    (tmp_path / "bridge.toml").write_text(table, encoding="utf-8")
    variables = {**REDIS, "BRIDGE_CONFIG": str(tmp_path / "bridge.toml"), "PORT": "9", **variables}
    for command in ("web", "up"):
        result = on_ledger(command, **variables)
        assert (result.exit_code, complaint(result.stderr).count("\n")) == (1, 1)
        assert remedy in result.stderr
    done = worker()
    assert (done.returncode, complaint(done.stderr).count("\n")) == (1, 1)
    assert remedy in done.stderr


def worker(**variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run([PYTHON, "-m", "workers"], env=environment, capture_output=True, text=True, timeout=100)


@sqlite_alone
def test_a_worker_refuses_to_start_without_what_it_needs(
    make_settings: Callable[..., Settings], ledger_url: str, tmp_path: Path
) -> None:
    make_settings(DATABASE_URL=ledger_url, REDIS_URL="")
    done = worker()
    assert (done.returncode, complaint(done.stderr).count("\n")) == (1, 1)
    assert "set REDIS_URL" in done.stderr
    done = worker(DATABASE_URL=f"sqlite:///{tmp_path / 'new.db'}", **REDIS)
    assert done.returncode == 1
    assert "run `bridge db upgrade`" in done.stderr


def test_a_ledger_that_is_away_is_one_line_with_what_to_look_at(
    on_ledger: Callable[..., Result], ledger: Ledger, ledger_url: str
) -> None:
    with away(ledger, ledger_url):
        for command in (("deliveries",), ("replay", "--status", "dead"), ("db", "current"), ("db", "upgrade")):
            result = on_ledger(*command)
            assert result.exit_code == 1
            assert complaint(result.stderr).count("\n") == 1
            assert "DATABASE_URL" in result.stderr


def test_a_configuration_that_is_wrong_is_one_line_without_the_value(bridge: Callable[..., Result]) -> None:
    result = bridge("deliveries", DATABASE_URL="mysql://user:hidden@host")
    assert result.exit_code == 1
    assert result.stderr == "bridge: DATABASE_URL: must begin with postgresql:// or sqlite:///\n"
    result = bridge("deliveries", DATABASE_URL="postgresql://user:hidden@host:port/x")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "DATABASE_URL" in result.stderr
    assert "hidden" not in result.stderr


# send


@sqlite_alone
def test_send_signs_what_the_web_accepts_and_duplicates_it(
    bridge: Callable[..., Result], make_settings: Callable[..., Settings], ledger: Ledger, ledger_url: str
) -> None:
    from threading import Thread

    from werkzeug.serving import make_server

    app = create_app(make_settings(), ledger)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    to = f"http://127.0.0.1:{server.server_port}"
    result = bridge("send", "stripe", "--to", to, "--duplicate", 3)
    assert result.exit_code == 0
    outcomes = re.findall(r"^example stripe: 200 (\w+): ", result.stdout, re.MULTILINE)
    assert outcomes == ["sale", "duplicate", "duplicate"]
    assert bridge("send", "typeform", "--to", to, "--count", 2).stdout.count("200 lead") == 2
    body = FIXTURES / "checkout_payment.json"
    assert " 200 " in bridge("send", "stripe", body, "--to", to).stdout
    refused = bridge("send", "stripe", "--to", to, STRIPE_WEBHOOK_SECRET="whsec_another")
    assert (refused.exit_code, refused.stdout.count(" 401 ")) == (1, 1)
    assert bridge("send", "tally", body, "--to", to, TALLY_WEBHOOK_SECRET="secret of tally").exit_code == 1
    server.shutdown()
    app.extensions["writer"].stop()
    assert count(ledger, "deliveries") == 4
    assert one(ledger, "SELECT MAX(received_count) FROM events") == (3,)


def test_send_says_what_is_missing(bridge: Callable[..., Result]) -> None:
    result = bridge("send", "stripe", STRIPE_WEBHOOK_SECRET="")
    assert result.exit_code == 1
    assert "set STRIPE_WEBHOOK_SECRET" in result.stderr
    result = bridge("send", "stripe", "--to", "127.0.0.1:8000")
    assert (result.exit_code, "--to: must be a URL" in result.stderr) == (2, True)
    result = bridge("send", "elementor")
    assert "ELEMENTOR_PATH_TOKEN" in result.stderr
    result = bridge("send", "stripe", "--to", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "no answer" in result.stderr


def test_the_commands_of_the_contract_are_all_there_and_said_in_full(bridge: Callable[..., Result]) -> None:
    listed = bridge("--help").stdout
    names = (
        "up web worker map send deliveries events replay backfill reconcile stripe-endpoint doctor forget prune db alert-test"
        " status tail pause resume export"
    )
    for name in names.split():
        assert f"\n  {name} " in listed
    assert "..." not in listed.split("Commands:")[1]
    assert bridge("--version").stdout.startswith("Conversion Bridge ")


def test_a_command_far_from_the_ledger_says_so_and_makes_nothing(bridge: Callable[..., Result], tmp_path: Path) -> None:
    home = tmp_path / "elsewhere"
    for command in (("deliveries",), ("events",), ("replay", "--parked"), ("forget", "ada@example.com"), ("doctor",)):
        result = bridge(*command, BRIDGE_HOME=str(home))
        assert result.exit_code == 1
        assert f"there is no ledger at {home / 'ledger.db'}" in result.output
    assert not home.exists()


def test_up_says_why_it_cannot_listen(bridge: Callable[..., Result]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        options = {"HOST": "", "PORT": ""}  # named, so that what `up` puts there is taken back after the test
        result = bridge("up", "--port", port, **options)
        assert (result.exit_code, complaint(result.stderr)) == (
            1,
            f"bridge: port {port} on 127.0.0.1 is taken by another process: choose another with --port or PORT\n",
        )
        assert (
            "HOST: 192.0.2.1 is not an address of this machine" in bridge("up", "--host", "192.0.2.1", **options).stderr
        )
        assert (
            "HOST: must be an address or host name alone" in bridge("up", "--host", "a name.invalid", **options).stderr
        )


def test_up_says_which_home_it_cannot_use(bridge: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "deeper", Path("/proc/none")):
        result = bridge("up", BRIDGE_HOME=str(home))
        assert result.exit_code == 1
        said = complaint(result.stderr)
        assert said.startswith(f"bridge: BRIDGE_HOME: {home}")
        assert said.count("\n") == 1


def test_the_folder_of_the_ledger_is_made_where_it_is_in_bridge_home(
    bridge: Callable[..., Result], tmp_path: Path
) -> None:
    home = tmp_path / "deep" / "home"
    assert bridge("db", "upgrade", BRIDGE_HOME=str(home)).exit_code == 0
    assert make_url(f"sqlite:///{home / 'ledger.db'}").database is not None
    assert (home / "ledger.db").stat().st_size > 0


def conversions_of(source: str) -> set[str]:
    """What its fixtures become, less what is ignored."""
    folder = Path(__file__).parents[1] / "app" / "sources" / source / "fixtures"
    found = {json.loads(path.read_text("utf-8"))["outcome"] for path in folder.glob("*.expected.json")}
    return found & {"sale", "lead"} or {"parked"}


EVERY_SECRET = {
    f"{name.upper()}_{'WEBHOOK_SECRET' if source.signed else 'PATH_TOKEN'}": (
        f"whsec_{base64.b64encode(name.encode() * 8).decode()}"
        if source.signed
        else f"secret-of-the-source-called-{name}"
    )
    for name, source in SOURCES.items()
}


@sqlite_alone
def test_send_has_an_example_of_every_source_that_the_web_takes_as_a_conversion(
    bridge: Callable[..., Result], make_settings: Callable[..., Settings], ledger: Ledger, ledger_url: str
) -> None:
    from threading import Thread

    from werkzeug.serving import make_server

    settings = {**EVERY_SECRET, "PUBLIC_URL": "https://bridge.example/below"}
    app = create_app(make_settings(**settings), ledger)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    here = {**settings, "PORT": str(server.server_port)}
    for name in SOURCES:
        message = bridge("send", name, "--duplicate", 2, **here).stdout
        kind, again = re.findall(rf"^example {name}: 200 (\w+): ", message, re.MULTILINE)
        assert (kind in conversions_of(name), again) == (True, "duplicate"), message
    server.shutdown()
    app.extensions["writer"].stop()
