"""bridge send: it follows the bridge that runs, asks before an invented person reaches a real destination, and marks its tests."""

import os
import pty
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from click.testing import Result
from werkzeug.serving import make_server

from app.config.settings import Settings
from app.intake.marked_test import HEADER, mark_of
from app.ledger.engine import Ledger
from app.reloading.comparison import compared_values
from app.sources.catalog import SOURCES, example
from app.stack.home import as_json, describe_run, write_run_file
from app.web.factory import create_app
from tests.conftest import PATIENCE_SECONDS, PYTHON, STRIPE_SECRET
from tests.support.makers import checkout, count, one, signed

sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
REAL = {"DESTINATION_URL": "https://destination.example", "DESTINATION_TOKEN": "a-token"}


class Web:
    """A web that takes posts, and how the commands beside it are configured."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.app.extensions["writer"].stop()


@pytest.fixture
def make_web(make_settings: Callable[..., Settings], ledger: Ledger) -> Iterator[Callable[..., Web]]:
    made: list[Web] = []

    def make(**variables: str) -> Web:
        made.append(Web(create_app(make_settings(**variables), ledger)))
        return made[-1]

    yield make
    for web in made:
        web.close()


@pytest.fixture
def runs(make_settings: Callable[..., Settings], tmp_path: Path) -> Callable[..., None]:
    """Leaves a run file, as `bridge up` with these settings would."""

    def leave(url: str, **variables: str) -> None:
        settings = make_settings(**variables)
        settings.bridge_home.mkdir(exist_ok=True)
        running = describe_run(url, "1", compared_values(settings), is_sandbox=settings.is_sandbox)
        write_run_file(settings.bridge_home, as_json(running))

    return leave


@sqlite_alone
def test_send_follows_the_bridge_that_runs_on_another_port(
    bridge: Callable[..., Result], make_web: Callable[..., Web], runs: Callable[..., None]
) -> None:
    web = make_web()
    runs(web.url)
    result = bridge("send", "stripe", PORT="9")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "200 sale" in result.stdout


def test_no_answer_names_where_nobody_answered(bridge: Callable[..., Result]) -> None:
    result = bridge("send", "stripe", PORT="9")
    assert result.exit_code == 1
    assert "no answer from http://127.0.0.1:9/webhooks/stripe" in result.stderr
    tokens = {"WPFORMS_PATH_TOKEN": "0123456789abcdef", "PORT": "9"}
    assert "0123456789abcdef" not in bridge("send", "wpforms", **tokens).stderr


@sqlite_alone
def test_a_refusal_names_the_settings_that_differ_from_the_running_bridge_s(
    bridge: Callable[..., Result], make_web: Callable[..., Web], runs: Callable[..., None]
) -> None:
    web = make_web()
    runs(web.url)
    result = bridge("send", "stripe", STRIPE_WEBHOOK_SECRET="whsec_of_another_shell", PHONE_REGION="DE")
    assert result.exit_code == 1
    assert " 401 " in result.stdout
    assert "differ from those of the running bridge: PHONE_REGION, STRIPE_WEBHOOK_SECRET." in result.stderr


@sqlite_alone
@pytest.mark.parametrize("ending", ["", "/", "/webhooks/stripe", "/webhooks/stripe/"])
def test_a_base_url_and_a_whole_webhook_url_are_the_same(
    bridge: Callable[..., Result], make_web: Callable[..., Web], ending: str
) -> None:
    web = make_web()
    assert "200 sale" in bridge("send", "stripe", "--to", f"{web.url}{ending}").stdout


@sqlite_alone
def test_an_example_reaches_a_real_destination_only_when_that_is_meant(
    bridge: Callable[..., Result], make_web: Callable[..., Web], ledger: Ledger
) -> None:
    web = make_web(**REAL)
    port = {"PORT": web.url.rpartition(":")[2], **REAL}
    unasked = bridge("send", "stripe", **port)
    assert (unasked.exit_code, unasked.stdout) == (1, "")
    assert "invented person" in unasked.stderr
    assert "--yes" in unasked.stderr
    assert count(ledger, "events") == 0
    assert "200 sale: test: a paid checkout session" in bridge("send", "stripe", "--yes", **port).stdout
    assert count(ledger, "deliveries") == 1


@sqlite_alone
@pytest.mark.parametrize(("answer", "events"), [("n\n", 0), ("y\n", 1)])
def test_on_a_terminal_it_asks(make_web: Callable[..., Web], ledger: Ledger, answer: str, events: int) -> None:
    web = make_web(**REAL)
    environment = {**os.environ, "PORT": web.url.rpartition(":")[2]}
    ours, theirs = pty.openpty()
    command = [PYTHON, "-m", "app", "send", "stripe"]
    with subprocess.Popen(command, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while b"Continue?" not in shown:
            shown += os.read(ours, 1000)
        os.write(ours, answer.encode())
        process.wait(PATIENCE_SECONDS)
    os.close(ours)
    assert count(ledger, "events") == events


@sqlite_alone
def test_the_bridge_that_runs_says_whether_its_destination_is_real(
    bridge: Callable[..., Result], make_web: Callable[..., Web], runs: Callable[..., None]
) -> None:
    web = make_web(**REAL)
    runs(web.url, **REAL)
    forgotten = dict.fromkeys(REAL, "")
    assert "--yes" in bridge("send", "stripe", **forgotten).stderr
    runs(web.url, **forgotten)
    assert "200 " in bridge("send", "stripe", **REAL).stdout


@sqlite_alone
def test_a_test_that_is_sent_on_purpose_counts_where_other_test_events_do_not(
    bridge: Callable[..., Result], make_web: Callable[..., Web], ledger: Ledger
) -> None:
    web = make_web(**REAL)
    port = {"PORT": web.url.rpartition(":")[2], **REAL}
    assert "200 sale: test: " in bridge("send", "stripe", "--yes", **port).stdout
    assert '"metadata":{"test":true}' in one(ledger, "SELECT payload FROM deliveries")[0].replace(" ", "")
    assert "200 lead: test: " in bridge("send", "typeform", "--yes", **port).stdout
    unmarked = web.app.test_client().post("/webhooks/stripe", **signed(checkout(5)))
    assert unmarked.get_json()["outcome"] == "ignored"


@sqlite_alone
@pytest.mark.parametrize(
    "mark", ["", "0" * 64, "é", mark_of(b"another body", STRIPE_SECRET)[HEADER], mark_of(b"", "x")[HEADER]]
)
def test_only_the_secret_s_owner_can_mark_a_test(make_web: Callable[..., Web], mark: str) -> None:
    web = make_web(**REAL)
    body, _ = example("stripe")
    headers = SOURCES["stripe"].sign(body, STRIPE_SECRET, datetime.now(UTC))
    client = web.app.test_client()
    message = client.post(
        "/webhooks/stripe", data=body, headers={**headers, "Bridge-Test": mark}, content_type="application/json"
    )
    assert (message.status_code, message.get_json()["outcome"]) == (200, "ignored")
    right = {**headers, "Bridge-Test": mark_of(body, STRIPE_SECRET)[HEADER]}
    body_again = body.replace(b"evt_example", b"evt_other")
    other = {
        **SOURCES["stripe"].sign(body_again, STRIPE_SECRET, datetime.now(UTC)),
        "Bridge-Test": right["Bridge-Test"],
    }
    again = client.post("/webhooks/stripe", data=body_again, headers=other, content_type="application/json")
    assert again.get_json()["outcome"] == "ignored", "a mark is of one body alone"


@sqlite_alone
def test_bodies_of_one_s_own_are_posted_as_they_are(
    bridge: Callable[..., Result], make_web: Callable[..., Web], tmp_path: Path, ledger: Ledger
) -> None:
    web = make_web(**REAL)
    path = tmp_path / "body.json"
    path.write_bytes(checkout(1))
    result = bridge("send", "stripe", path, PORT=web.url.rpartition(":")[2], **REAL)
    assert " 200 " in result.stdout
    assert "test:" not in result.stdout


def test_a_name_that_is_nearly_right_gets_the_right_one(bridge: Callable[..., Result], tmp_path: Path) -> None:
    assert "did you mean stripe?" in bridge("send", "stirpe").stderr
    assert len(bridge("send", "stirpe").stderr) < 100
    assert "did you mean typeform?" in bridge("map", "Typefrom", tmp_path).stderr
    assert "choose from auth0, basin, calcom," in bridge("send", "xyzzy").stderr
    wrong = bridge("deliverys")
    assert (wrong.exit_code, "did you mean deliveries?" in wrong.stderr) == (2, True)


@sqlite_alone
def test_replay_of_a_source_that_does_not_exist_is_a_wrong_call(bridge: Callable[..., Result], ledger_url: str) -> None:
    result = bridge("replay", "--status", "dead", "--source", "nope", DATABASE_URL=ledger_url)
    assert result.exit_code == 2
    assert "there is no source called nope" in result.stderr
    near = bridge("replay", "--status", "dead", "--source", "stirpe", DATABASE_URL=ledger_url)
    assert "did you mean stripe?" in near.stderr
    gone = bridge("replay", "--id", "9999", DATABASE_URL=ledger_url)
    assert "delivery 9999 does not exist" in gone.stdout
