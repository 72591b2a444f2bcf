"""Alerts as they are configured, tried out and looked after: bridge.toml, `bridge alert-test`, `bridge doctor`, the overview."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.alerts.channel import AlertUnsent
from app.alerts.webhook import post
from app.cli import main
from app.config.proxies import Proxies
from app.config.settings import Settings
from app.errors import ConfigurationError
from app.ledger.engine import Ledger
from app.web.factory import create_app
from tests.conftest import FakeDestination
from tests.support.makers import change

ROW = (
    "INSERT INTO notifications (incident_id, what, channel, created_at, tries, next_try_at, problem)"
    " VALUES (1, 'alert', 'webhook', 1, 3, 9999999999999, 'the alert webhook answered 404')"
)


@pytest.fixture
def bridge(make_settings: Callable[..., Settings], ledger_url: str) -> Callable[..., Result]:
    def run(*arguments: str, **variables: str) -> Result:
        make_settings(DATABASE_URL=ledger_url, **variables)
        return CliRunner().invoke(main, list(arguments))

    return run


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "bridge.toml"
        path.write_text(text)
        return str(path)

    return write


sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@sqlite_alone
def test_a_test_alert_is_slack_s_json_and_says_whether_it_was_taken(
    bridge: Callable[..., Result], destination: FakeDestination
) -> None:
    result = bridge("alert-test", ALERT_WEBHOOK_URL=destination.url + "/hook", PUBLIC_URL="https://bridge.example")
    assert result.exit_code == 0
    (request,) = destination.requests
    assert request["path"] == "/hook"
    assert request["headers"]["content-type"] == "application/json"
    assert list(request["json"]) == ["text"]
    assert request["json"]["text"].endswith("https://bridge.example/")
    destination.answer = lambda _request: (302, {"Location": destination.url}, b"")
    result = bridge("alert-test", ALERT_WEBHOOK_URL=destination.url)
    assert result.exit_code == 1
    assert "answered 302" in result.output
    assert len(destination.requests) == 2  # and the redirect was not followed


@sqlite_alone
def test_without_a_webhook_it_says_which_variable_to_set(
    bridge: Callable[..., Result], config: Callable[[str], str]
) -> None:
    assert "set ALERT_WEBHOOK_URL" in bridge("alert-test").output
    path = config('[alerts]\nurl_env = "OUR_HOOK"\n')
    assert "set OUR_HOOK" in bridge("alert-test", BRIDGE_CONFIG=path).output


@sqlite_alone
def test_the_url_may_be_in_another_variable(
    bridge: Callable[..., Result], config: Callable[[str], str], destination: FakeDestination
) -> None:
    path = config('[alerts]\nurl_env = "OUR_HOOK"\n')
    assert bridge("alert-test", BRIDGE_CONFIG=path, OUR_HOOK=destination.url).exit_code == 0
    assert len(destination.requests) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/T0/secret", "http://no host/T0/secret", "http://[::1/secret"])
def test_what_fails_never_shows_the_url(url: str) -> None:
    with pytest.raises(AlertUnsent) as caught:
        post(url, {}, Proxies(None, {}), "the alert webhook")
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize("url", ["hooks.slack.example/x", "ftp://x.example/secret", "https://a:secret@x.example"])
def test_a_url_that_is_none_is_named_at_start_and_not_shown(make_settings: Callable[..., Settings], url: str) -> None:
    with pytest.raises(ConfigurationError, match="ALERT_WEBHOOK_URL") as caught:
        make_settings(ALERT_WEBHOOK_URL=url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[alerts]\nurl = 1", "alerts.url"),
        ("[alerts]\ndead = 0", "alerts.dead"),
        ('[alerts]\nkinds = ["all"]', "alerts.kinds.0"),
        ("[alerts]\nsilence_floor_minutes = 1", "alerts.silence_floor_minutes"),
        ("alerts = 7", "alerts"),
    ],
)
def test_a_table_that_means_nothing_is_named_with_its_key(
    make_settings: Callable[..., Settings], config: Callable[[str], str], text: str, key: str
) -> None:
    settings = make_settings(BRIDGE_CONFIG=config(text))
    with pytest.raises(ConfigurationError, match=rf"bridge.toml: {key}: "):
        _ = settings.alerts


def test_doctor_and_overview_tell_of_alerts_that_could_not_be_sent(
    bridge: Callable[..., Result], ledger: Ledger, make_settings: Callable[..., Settings]
) -> None:
    quiet = bridge("doctor")
    assert "alerts are off: set ALERT_WEBHOOK_URL" in quiet.output
    fine = bridge("doctor", ALERT_WEBHOOK_URL="https://hooks.example/secret")
    assert "alerts go to hooks.example" in fine.output
    assert "set PUBLIC_URL" in fine.output
    assert "secret" not in fine.output
    change(ledger, ROW)
    bad = bridge("doctor", ALERT_WEBHOOK_URL="https://discord.com/api/webhooks/1/secret")
    assert "append /slack" in bad.output
    assert "could not be sent: the alert webhook answered 404" in bad.output
    app = create_app(make_settings(ALERT_WEBHOOK_URL="https://hooks.example/secret"), ledger)
    client = app.test_client()
    client.post("/login", data={"password": "password of the tests", "name": "Grace"})
    page = client.get("/").text
    assert "1 alert could not be sent: the alert webhook answered 404" in page
    change(ledger, "DELETE FROM notifications")
    assert "could not be sent" not in client.get("/").text
    app.extensions["writer"].stop()


@sqlite_alone
def test_doctor_names_a_source_that_there_is_not(bridge: Callable[..., Result], config: Callable[[str], str]) -> None:
    path = config('[alerts]\nnot_sources = ["strype"]\n')
    result = bridge("doctor", BRIDGE_CONFIG=path, ALERT_WEBHOOK_URL="https://hooks.example/x")
    assert "there is no source called strype" in result.output
