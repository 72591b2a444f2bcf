"""The first-run checklist: each step ticks itself from real state."""

from collections.abc import Callable
from pathlib import Path

from app.config.generated_secrets import make_up_secrets
from app.config.settings import Settings
from app.destinations.target import destinations_of
from app.ledger.engine import Ledger
from app.setup.checklist import bring_back, checklist, dismiss, is_dismissed
from app.sources.catalog import all_sources
from tests.support.makers import change, checkout
from tests.support.stripe_recorder import Recorder


def steps(ledger: Ledger, settings: Settings) -> dict[str, tuple[bool, str]]:
    sources = all_sources(settings.config, settings.config_path)
    with ledger.read() as tx:
        found = checklist(tx, settings, sources.values(), destinations_of(settings))
    return {step.key: (step.is_done, step.text) for step in found}


def done(ledger: Ledger, settings: Settings) -> set[str]:
    return {key for key, (is_done, _) in steps(ledger, settings).items() if is_done}


def test_each_step_ticks_itself_from_what_is_so(
    ledger: Ledger, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    nothing = make_settings(STRIPE_WEBHOOK_SECRET="", TYPEFORM_WEBHOOK_SECRET="")
    assert done(ledger, nothing) == set()
    make_up_secrets(tmp_path / "home")
    sandbox = make_settings(STRIPE_WEBHOOK_SECRET="", TYPEFORM_WEBHOOK_SECRET="")
    assert sandbox.opens("stripe")
    assert "source" not in done(ledger, sandbox), "a generated secret connects no provider"
    config = tmp_path / "bridge.toml"
    config.write_text("[retention]\nbodies_days = 30\n")
    everything = make_settings(
        BRIDGE_CONFIG=str(config),
        STRIPE_WEBHOOK_SECRET="whsec_of_the_tests_0123456789",
        DESTINATION_URL="https://attribution.example/v1",
        DESTINATION_TOKEN="token",
        PUBLIC_URL="https://bridge.example",
        ALERT_WEBHOOK_URL="https://hooks.slack.example/services/secret",
    )
    assert done(ledger, everything) == {"destination", "source", "public_url", "alerts", "retention"}
    found = steps(ledger, everything)
    assert found["destination"][1] == "Conversions go to attribution.example."
    assert found["alerts"][1] == "Alerts go to hooks.slack.example."
    assert found["retention"][1] == "Bodies are kept 30 days, events 730 days."
    Recorder(ledger, accept_test_events=True).take(checkout(1))
    change(ledger, "UPDATE events SET reason = 'test: a paid checkout session'")
    assert "event" not in done(ledger, everything)
    Recorder(ledger, accept_test_events=True).take(checkout(2))
    assert "event" in done(ledger, everything)
    http = make_settings(PUBLIC_URL="http://bridge.example")
    assert "public_url" not in done(ledger, http)


def test_it_can_be_dismissed_and_brought_back(ledger: Ledger) -> None:
    for act, expected in ((dismiss, True), (dismiss, True), (bring_back, False), (bring_back, False)):
        with ledger.write() as tx:
            act(tx)
            assert is_dismissed(tx) is expected
