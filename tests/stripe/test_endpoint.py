"""The webhook endpoint at Stripe: found again, changed where it differs, and its secret handed over once."""

import functools
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.config.settings import Settings
from app.model import Rules
from app.sources.stripe.source import MAPPERS
from app.stripe_api.backfill import MOST_TYPES
from app.stripe_api.endpoint import MARK
from app.stripe_api.event_types import CHARGE_EVENTS, wanted_events
from tests.stripe.test_stripe_api import KEY, URL, FakeStripe, endpoint

ALL = Rules(sale_events=frozenset({"checkout", "invoice", "payment_intent", "charge"}))


@pytest.fixture
def stripe() -> Iterator[FakeStripe]:
    server = FakeStripe()
    yield server
    server.close()


@pytest.fixture
def command(make_settings: Callable[..., Settings], stripe: FakeStripe) -> Callable[..., Result]:
    def run(*arguments: object, **variables: str) -> Result:
        make_settings(**{"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url, **variables})
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


@pytest.fixture
def sync(command: Callable[..., Result]) -> Callable[..., Result]:
    return functools.partial(command, "stripe-endpoint", "sync")


def test_every_wanted_event_means_something_to_the_mapping_and_all_fit_one_request() -> None:
    assert set(wanted_events(ALL)) <= set(MAPPERS)
    assert len(wanted_events(ALL)) <= MOST_TYPES
    assert set(wanted_events(ALL)) - set(wanted_events(Rules())) == set(CHARGE_EVENTS)


def test_the_charge_opt_in_adds_its_events(sync: Callable[..., Result], stripe: FakeStripe) -> None:
    sync("--url", URL)
    assert not set(CHARGE_EVENTS) & set(stripe.lists["/v1/webhook_endpoints"][0]["enabled_events"])
    result = sync("--url", URL, STRIPE_SALE_EVENTS="checkout,invoice,charge")
    assert result.stdout.count("+ event") == 2
    assert set(CHARGE_EVENTS) < set(stripe.lists["/v1/webhook_endpoints"][0]["enabled_events"])


def test_public_url_is_the_default(sync: Callable[..., Result], stripe: FakeStripe) -> None:
    assert sync().exit_code == 1
    assert "--url" in sync().stderr
    sync(PUBLIC_URL="https://bridge.example.com")
    assert [each["url"] for each in stripe.lists["/v1/webhook_endpoints"]] == [URL]


def test_an_endpoint_for_all_events_is_narrowed(sync: Callable[..., Result], stripe: FakeStripe) -> None:
    stripe.lists["/v1/webhook_endpoints"] = [endpoint("we_1", URL, ["*"])]
    assert "- event *" in sync("--url", URL).stdout
    assert stripe.lists["/v1/webhook_endpoints"][0]["enabled_events"] == list(wanted_events(Rules()))


def test_an_endpoint_that_another_installation_made_is_not_taken_for_ours(
    sync: Callable[..., Result], stripe: FakeStripe
) -> None:
    expected = list(wanted_events(Rules()))
    stripe.lists["/v1/webhook_endpoints"] = [
        endpoint("we_1", "https://staging.example.com/webhooks/stripe", expected, metadata={MARK: "f" * 16})
    ]
    sync("--url", URL)
    assert [path for _, path, _ in stripe.changes] == ["/v1/webhook_endpoints"]


def test_another_url_gets_an_endpoint_of_its_own(sync: Callable[..., Result], stripe: FakeStripe) -> None:
    sync("--url", "https://old.example.com/webhooks/stripe")
    sync("--url", URL)
    assert [each["url"] for each in stripe.lists["/v1/webhook_endpoints"]] == [
        "https://old.example.com/webhooks/stripe",
        URL,
    ]


def test_a_second_endpoint_of_the_same_url_is_told_of_and_left(sync: Callable[..., Result], stripe: FakeStripe) -> None:
    expected = list(wanted_events(Rules()))
    stripe.lists["/v1/webhook_endpoints"] = [endpoint("we_1", URL, expected), endpoint("we_2", URL, ["*"])]
    sync("--url", URL)
    result = sync("--url", URL)
    assert "we_2 has the same URL" in result.stdout
    assert stripe.lists["/v1/webhook_endpoints"][1] == endpoint("we_2", URL, ["*"])


def test_the_secret_goes_into_a_file_of_its_owners_and_not_on_the_screen(
    sync: Callable[..., Result], tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    result = sync("--url", URL, "--secret-file", path)
    assert path.read_text() == "whsec_told_only_once\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "whsec_told" not in result.output


def test_a_secret_file_that_is_there_is_not_overwritten_and_nothing_is_created(
    sync: Callable[..., Result], stripe: FakeStripe, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("mine")
    assert sync("--url", URL, "--secret-file", tmp_path / "secret").exit_code == 2
    assert stripe.changes == []


def test_a_secret_that_cannot_be_written_is_shown_after_all(sync: Callable[..., Result], tmp_path: Path) -> None:
    result = sync("--url", URL, "--secret-file", tmp_path / "no" / "folder")
    assert "whsec_told_only_once" in result.stdout


@pytest.mark.parametrize("url", ["bridge.example.com", "ftp://a.example/webhooks/stripe", "https://"])
def test_what_is_no_url_is_refused(sync: Callable[..., Result], stripe: FakeStripe, url: str) -> None:
    assert sync("--url", url).exit_code == 2
    assert stripe.requests == []


@pytest.mark.parametrize(
    "near", [f"{URL}/", "https://BRIDGE.example.com/webhooks/stripe", "https://bridge.example.com:443/webhooks/stripe"]
)
def test_an_endpoint_whose_url_only_looks_another_is_told_of_before_a_second_is_made(
    command: Callable[..., Result], stripe: FakeStripe, near: str
) -> None:
    stripe.lists["/v1/webhook_endpoints"] = [endpoint("we_1", near, list(wanted_events(Rules())))]
    for subcommand in (("sync", "--url", URL, "--dry-run"), ("show", "--url", URL)):
        message = command("stripe-endpoint", *subcommand).stdout
        assert f"Note: we_1 is for {near}, which leads to the same place" in message
    assert "we_1 is for" in command("doctor", PUBLIC_URL="https://bridge.example.com").stdout
    assert stripe.changes == []


@pytest.mark.parametrize(
    "other", ["http://bridge.example.com/webhooks/stripe", "https://b.example.com/webhooks/stripe"]
)
def test_an_endpoint_elsewhere_is_not_told_of(command: Callable[..., Result], stripe: FakeStripe, other: str) -> None:
    stripe.lists["/v1/webhook_endpoints"] = [endpoint("we_1", other, ["*"])]
    assert "Note" not in command("stripe-endpoint", "sync", "--url", URL, "--dry-run").stdout


def test_show_says_what_there_is_in_plain_words(command: Callable[..., Result], stripe: FakeStripe) -> None:
    empty = command("stripe-endpoint", "show")
    assert "no webhook endpoint in test mode" in empty.stdout
    assert f"So there is none for {URL}" in command("stripe-endpoint", "show", "--url", URL).stdout
    stripe.lists["/v1/webhook_endpoints"] = [
        endpoint("we_1", "https://a.example.com/", ["*"]),
        endpoint("we_2", "https://b.example.com/", ["invoice.paid"]),
    ]
    message = command("stripe-endpoint", "show", "--url", URL).stdout
    assert "all events  https://a.example.com/" in message
    assert "1 event  https://b.example.com/" in message
    assert f"None of them is for {URL}: `bridge stripe-endpoint sync --url {URL}` creates one" in message
    assert "+ event" not in message


def test_enabling_an_endpoint_names_what_fetches_the_events_it_missed(
    command: Callable[..., Result], stripe: FakeStripe
) -> None:
    stripe.lists["/v1/webhook_endpoints"] = [endpoint("we_1", URL, list(wanted_events(Rules())), status="disabled")]
    message = command("stripe-endpoint", "sync", "--url", URL, "--enable").stdout
    assert "bridge backfill stripe --since" in message
    assert "backfill" not in command("stripe-endpoint", "sync", "--url", URL, "--enable").stdout


# Connect


def endpoints_of(stripe: FakeStripe) -> list[tuple[str, bool]]:
    return [(each["url"], each.get("application") is not None) for each in stripe.lists["/v1/webhook_endpoints"]]


def test_connected_accounts_get_an_endpoint_of_their_own_beside_that_of_the_account(
    sync: Callable[..., Result], stripe: FakeStripe
) -> None:
    sync("--url", URL)
    made = sync("--url", URL, "--connect", STRIPE_WEBHOOK_SECRET="whsec_of_the_account")
    assert endpoints_of(stripe) == [(URL, False), (URL, True)]
    assert "+ connect true" in made.stdout
    assert "add it to STRIPE_WEBHOOK_SECRET, after a comma" in made.stdout
    for option in ((), ("--connect",)):
        again = sync("--url", URL, *option)
        assert "nothing to change" in again.stdout
        assert "same URL" not in again.stdout, "they get different events"
    assert len(stripe.changes) == 2


def test_each_of_the_two_is_updated_by_itself(sync: Callable[..., Result], stripe: FakeStripe) -> None:
    stripe.lists["/v1/webhook_endpoints"] = [
        endpoint("we_1", URL, ["invoice.paid"]),
        endpoint("we_2", URL, ["invoice.paid"], application="ca_1"),
    ]
    sync("--url", URL, "--connect")
    assert [path for _, path, _ in stripe.changes] == ["/v1/webhook_endpoints/we_2"]
    assert "connect" not in stripe.changes[0][2], "Stripe refuses it in a change"
    sync("--url", URL)
    assert [path for _, path, _ in stripe.changes][1:] == ["/v1/webhook_endpoints/we_1"]


def test_a_connect_endpoint_made_here_is_found_by_its_metadata_alone(
    sync: Callable[..., Result], stripe: FakeStripe
) -> None:
    sync("--url", URL, "--connect")
    stripe.lists["/v1/webhook_endpoints"][0]["application"] = None
    assert "nothing to change" in sync("--url", URL, "--connect").stdout
    sync("--url", URL)
    assert len(stripe.lists["/v1/webhook_endpoints"]) == 2


def test_a_dry_run_for_connected_accounts_changes_nothing(sync: Callable[..., Result], stripe: FakeStripe) -> None:
    assert "a new endpoint for connected accounts" in sync("--url", URL, "--connect", "--dry-run").stdout
    assert stripe.changes == []


def test_an_enabled_connect_endpoint_is_not_promised_a_backfill_that_cannot_reach_it(
    sync: Callable[..., Result], stripe: FakeStripe
) -> None:
    expected = list(wanted_events(Rules()))
    stripe.lists["/v1/webhook_endpoints"] = [endpoint("we_2", URL, expected, application="ca_1", status="disabled")]
    assert "resent in Stripe's Dashboard" in sync("--url", URL, "--connect").stdout
    assert "backfill" not in sync("--url", URL, "--connect", "--enable").stdout
    assert stripe.lists["/v1/webhook_endpoints"][0]["status"] == "enabled"


def test_show_tells_the_two_apart(command: Callable[..., Result], stripe: FakeStripe) -> None:
    expected = list(wanted_events(Rules()))
    stripe.lists["/v1/webhook_endpoints"] = [endpoint("we_1", URL, expected)]
    assert "sync --url" in command("stripe-endpoint", "show", "--url", URL, "--connect").stdout
    assert "--connect` creates one" in command("stripe-endpoint", "show", "--url", URL, "--connect").stdout
    stripe.lists["/v1/webhook_endpoints"].append(endpoint("we_2", URL, ["*"], application="ca_1"))
    shown = command("stripe-endpoint", "show", "--url", URL, "--connect").stdout
    assert "* we_2" in shown
    assert "connected accounts" in shown
    assert "* we_1" in command("stripe-endpoint", "show", "--url", URL).stdout


def test_doctor_checks_the_connect_endpoint_where_there_is_one(
    command: Callable[..., Result], stripe: FakeStripe
) -> None:
    expected = list(wanted_events(Rules()))
    base = URL.removesuffix("/webhooks/stripe")
    stripe.lists["/v1/webhook_endpoints"] = [endpoint("we_1", URL, expected)]
    message = command("doctor", PUBLIC_URL=base).stdout
    assert f"we_1 is subscribed to all {len(expected)} wanted events" in message
    assert "connected accounts" not in message
    short = endpoint("we_2", URL, expected[:-1], application="ca_1")
    stripe.lists["/v1/webhook_endpoints"].append(short)
    message = command("doctor", PUBLIC_URL=base).stdout
    assert f"we_2 for connected accounts is not sent {expected[-1]}" in message
    assert f"sync --url {URL} --connect" in message
    short["status"] = "disabled"
    assert "resend what was missed in Stripe's Dashboard" in command("doctor", PUBLIC_URL=base).stdout


def test_doctor_finds_the_endpoint_without_public_url_where_only_one_leads_to_a_bridge(
    command: Callable[..., Result], stripe: FakeStripe
) -> None:
    stripe.lists["/v1/webhook_endpoints"] = [endpoint("we_1", URL, ["invoice.paid"])]
    assert "we_1 is not sent checkout.session.completed" in command("doctor").stdout
    other = endpoint("we_2", "https://staging.example.com/webhooks/stripe", ["*"])
    stripe.lists["/v1/webhook_endpoints"].append(other)
    assert "set PUBLIC_URL, so that this can tell" in command("doctor").stdout
