"""Destinations that give access tokens for a while, against a refresh token."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from app.config.settings import Settings
from app.destinations.http import Answer
from app.destinations.target import Destination, DestinationClient, destinations_of
from app.errors import ConfigurationError, TransientDeliveryError
from tests.conftest import FakeDestination

NOW = datetime(2026, 4, 10, 13, tzinfo=UTC)
TABLE = """
[destinations.ads]
format = "google"
url = "{url}"
token_url = "{url}/token?tenant=1"
account_id = "123-456"
conversion_action_id = "9"
client_id = "the-client"
client_secret_env = "CLIENT_SECRET"
refresh_token_env = "REFRESH_TOKEN"
allow_private = true
"""


@pytest.fixture
def ads(make_settings: Callable[..., Settings], destination: FakeDestination, tmp_path: Path) -> Destination:
    path = tmp_path / "bridge.toml"
    path.write_text(TABLE.format(url=destination.url))
    settings = make_settings(BRIDGE_CONFIG=str(path), CLIENT_SECRET="the client's secret", REFRESH_TOKEN="1//refresh")
    (found,) = destinations_of(settings)
    return found


def send(ads: Destination, times: int = 1, *, at_once: bool = False) -> list[Any]:
    """Sends, and returns each answer or error."""

    async def all_of_them() -> list[Any]:
        client = DestinationClient(ads)
        try:
            sending = [client.send("sale", '{"events":[]}', "sale:stripe:in_1", NOW) for _ in range(times)]
            if at_once:
                return list(await asyncio.gather(*sending, return_exceptions=True))
            return [(await asyncio.gather(one, return_exceptions=True))[0] for one in sending]
        finally:
            client.close()

    return asyncio.run(all_of_them())


def serve(destination: FakeDestination, *, seconds: int = 3600, accepted: Callable[[str], bool] = bool) -> None:
    """Token 1, token 2, …, each good for so long; of which the API takes those that are `accepted`."""
    given = iter(range(1, 100))

    def answer(request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if request["path"] == "/token?tenant=1":
            return 200, {}, json.dumps({"access_token": f"token-{next(given)}", "expires_in": seconds}).encode()
        token = request["headers"]["authorization"].removeprefix("Bearer ")
        return (200, {}, f'{{"requestId":"r of {token}"}}'.encode()) if accepted(token) else (401, {}, b"{}")

    destination.answer = answer


def paths(destination: FakeDestination) -> list[str]:
    return [request["path"].partition("?")[0] for request in destination.requests]


def test_one_token_serves_all_requests_until_it_ends(ads: Destination, destination: FakeDestination) -> None:
    serve(destination)
    answers = send(ads, 5, at_once=True)
    assert [answer.status for answer in answers] == [200] * 5
    assert all(answer.body == b'{"requestId":"r of ***"}' for answer in answers), "the token is not kept"
    assert paths(destination).count("/token") == 1
    fields = parse_qs(destination.requests[0]["body"].decode())
    assert fields == {
        "grant_type": ["refresh_token"],
        "client_id": ["the-client"],
        "client_secret": ["the client's secret"],
        "refresh_token": ["1//refresh"],
    }
    assert destination.requests[1]["headers"]["authorization"] == "Bearer token-1"


def test_a_token_that_ends_soon_is_renewed(ads: Destination, destination: FakeDestination) -> None:
    serve(destination, seconds=30)
    send(ads, 2)
    assert paths(destination) == ["/token", "/v1/events:ingest"] * 2


def test_a_token_that_was_taken_back_is_renewed_at_once(ads: Destination, destination: FakeDestination) -> None:
    serve(destination, accepted=lambda token: token == "token-2")
    (answer,) = send(ads)
    assert answer.status == 200
    assert paths(destination) == ["/token", "/v1/events:ingest"] * 2


def test_a_token_that_is_never_accepted_is_a_401_after_two_tries(
    ads: Destination, destination: FakeDestination
) -> None:
    serve(destination, accepted=lambda token: False)
    (answer,) = send(ads)
    assert answer.status == 401
    assert len(destination.requests) == 4


@pytest.mark.parametrize("status", [400, 401])
def test_a_refresh_token_that_is_not_accepted_pauses_as_a_wrong_token_does(
    ads: Destination, destination: FakeDestination, status: int
) -> None:
    destination.answer = lambda request: (status, {}, b'{"error":"invalid_grant"}')
    (answer,) = send(ads)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (401, b'{"error":"invalid_grant"}')
    assert paths(destination) == ["/token"]


@pytest.mark.parametrize(
    ("status", "body"), [(503, b""), (200, b"<html>"), (200, b"{}"), (200, b'{"access_token":"a\\nb"}')]
)
def test_without_a_token_nothing_is_sent_and_it_is_tried_again(
    ads: Destination, destination: FakeDestination, status: int, body: bytes
) -> None:
    destination.answer = lambda request: (status, {}, body)
    (error,) = send(ads)
    assert type(error) is TransientDeliveryError
    assert "no access token" in str(error)
    assert paths(destination) == ["/token"]


def test_people_see_a_mask_and_a_changed_secret_is_seen(ads: Destination) -> None:
    shown = ads.shown_request("sale", '{"events":[]}', "sale:stripe:in_1", NOW)
    assert shown.headers["Authorization"] == "Bearer ***"
    assert "the client's secret" in ads.credentials.values
    assert "secret" not in repr(ads.credentials)


def test_an_access_token_that_something_else_renews_may_be_given(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    path = tmp_path / "bridge.toml"
    lines = [line for line in TABLE.format(url="https://ads.example").splitlines() if "client" not in line]
    path.write_text("\n".join(line for line in lines if "refresh" not in line) + '\ntoken_env = "TOKEN"\n')
    (found,) = destinations_of(make_settings(BRIDGE_CONFIG=str(path), TOKEN="ya29.token-of-the-tests"))
    assert (found.token, found.credentials.oauth) == ("ya29.token-of-the-tests", None)


def test_a_template_of_one_s_own_may_use_it(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    path = tmp_path / "bridge.toml"
    oauth = 'client_id = "c"\nclient_secret_env = "S"\nrefresh_token_env = "R"\n'
    head = '[destinations.crm]\nformat = "template"\nurl = "https://crm.example"\nsale.path = "/sale"\n[destinations.crm.oauth]\n'
    path.write_text(f'{head}token_url = "https://crm.example/oauth"\n{oauth}')
    (found,) = destinations_of(make_settings(BRIDGE_CONFIG=str(path), S="secret-1", R="refresh-1"))
    assert found.credentials.oauth is not None
    assert found.request("sale", "{}", "k", NOW, access_token="access").headers["Authorization"] == "Bearer access"
    path.write_text(f'{head}token_url = "crm.example"\ncolour = "red"\n{oauth.replace("client_id", "client")}')
    with pytest.raises(ConfigurationError, match=r"oauth\.client_id: is missing.*; .*colour: is not known") as caught:
        destinations_of(make_settings(BRIDGE_CONFIG=str(path), S="secret-1", R="refresh-1"))
    assert "token_url: must be a URL" in str(caught.value)
