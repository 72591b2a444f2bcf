"""`bridge up`: the whole stack out of one command, wherever it is started, however the last run ended."""

import time
from collections.abc import Callable

import pytest

from tests.conftest import FakeDestination, wait_for
from tests.support.up import Up, gone

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("folder", ["50%25 of #1? ü's", "x" * 120])
def test_what_is_sent_arrives_once_wherever_the_folder_lies(make_up: Callable[..., Up], folder: str) -> None:
    up = make_up(folder)
    up.start()
    sent = up.bridge("send", "stripe", "--duplicate", "3") + up.bridge("send", "typeform", "--duplicate", "3")
    assert [line.split()[3].strip(":") for line in sent.splitlines()] == (
        ["sale", "duplicate", "duplicate", "lead", "duplicate", "duplicate"]
    )
    wait_for(lambda: up.statuses() == ["delivered"] * 2)
    assert f"  Receives     stripe    http://127.0.0.1:{up.port}/webhooks/stripe\n" in up.said()
    assert f"               typeform  http://127.0.0.1:{up.port}/webhooks/typeform\n" in up.said()
    assert "Traceback" not in up.said()
    assert "part.died" not in up.said()
    assert (up.home / "ledger.db").stat().st_size
    parts = up.parts()
    assert len(parts) == 4  # Valkey, web, worker, and what watches over them
    assert [d["status"] for d in up.deliveries()] == ["delivered"] * 2
    up.bridge("doctor")
    assert up.interrupt() == 0
    assert gone(parts)


def test_after_a_sigkill_the_next_start_replaces_what_was_left(make_up: Callable[..., Up]) -> None:
    up = make_up()
    up.start()
    valkey = up.parts()[0]
    assert up.process is not None
    up.process.kill()
    up.process.wait()
    time.sleep(0.5)
    assert not gone([valkey]), "nothing asked it to end"
    up.start()
    assert "that an earlier run had left behind" in up.said()
    assert gone([valkey])
    up.bridge("send", "stripe")
    wait_for(lambda: up.statuses() == ["delivered"])


def test_the_greeting_says_what_is_received_where_and_shows_no_token(make_up: Callable[..., Up]) -> None:
    up = make_up()
    up.environment |= {
        "JOTFORM_PATH_TOKEN": "0123456789abcdef",
        "PUBLIC_URL": "https://bridge.example",
        "TALY_WEBHOOK_SECRET": "x",
    }
    up.start()
    assert "  https://bridge.example/webhooks/jotform/<JOTFORM_PATH_TOKEN>\n" in up.said()
    assert "0123456789abcdef" not in up.said()
    assert "  Note         TALY_WEBHOOK_SECRET names no source; did you mean TALLY_WEBHOOK_SECRET?\n" in up.said()


def test_with_a_real_destination_and_no_source_the_greeting_says_that_nothing_can_come_in(
    make_up: Callable[..., Up], destination: FakeDestination
) -> None:
    up = make_up()
    real = {"DESTINATION_URL": destination.url, "DESTINATION_TOKEN": "a-token", "DESTINATION_ALLOW_PRIVATE": "1"}
    up.environment |= real
    up.start()
    assert "  Receives     nothing yet: set STRIPE_WEBHOOK_SECRET" in up.said()
    assert f"  Forwards to  {destination.url}\n" in up.said()
    assert " doctor\n" in up.said()
    for name in real:
        up.environment.pop(name)
    assert (
        "differ from those of the running bridge: DESTINATION_ALLOW_PRIVATE, DESTINATION_TOKEN, DESTINATION_URL"
        in up.bridge("doctor", status=1)
    )
